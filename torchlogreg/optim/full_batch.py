"""The iteration that all full-batch optimizers share."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from torchlogreg.optim.line_search import wolfe_search
from torchlogreg.optim.protocol import Line, Point, SmoothObjective


class FullBatchOptimizer(torch.optim.Optimizer):
    r"""Descent with a line search on a smooth convex objective.

    A call of :meth:`step` is one iteration: a direction, which is what subclasses are about,
    a line search, and the verdict whether the gradient is small enough. It differs from other
    optimizers of torch in one thing: the closure is not a function that returns a loss but a
    :class:`~torchlogreg.optim.protocol.SmoothObjective`, because a line search that does not
    read the data again needs more than values.

    Parameters
    ----------
    params : iterable of one Parameter
        The parameter (B, R, D) of B problems, minimised in lockstep.
    lr : float, default=1.0
        First step that the line search tries, in units of the direction.
    tol : float, default=1e-4
        A problem is solved when :math:`\max_j |g_j| \le` ``tol``.

    Raises
    ------
    ValueError
        If there is more than one parameter, or if ``lr`` or ``tol`` is out of range.
    """

    patience = 100
    """Iterations without progress after which a problem counts as stalled."""

    c2 = 0.9
    """Curvature constant of the line search: how much of the initial slope may be left."""

    # What follows from parameter and data is on the class, not in torch's pickled state.
    is_finished = False
    """Whether every problem is solved or stalled."""

    optimality: tuple[float, ...] = (math.inf,)
    """Gradient norm of each problem after the last step: the largest absolute value."""

    point: Point | None = None
    """The objective at the parameter after the last step."""

    _source: tuple[SmoothObjective, int] | None = None

    def __init__(
        self, params: Iterable[Any], *, lr: float = 1.0, tol: float = 1e-4, **defaults: Any
    ) -> None:
        if not lr > 0:
            raise ValueError(f"lr={lr!r} must be positive: it is the first step that is tried.")
        if not tol >= 0:
            raise ValueError(f"tol={tol!r} must not be negative: it bounds the gradient norm.")
        super().__init__(params, {"lr": lr, "tol": tol, **defaults})
        if len(self.param_groups) != 1 or len(self.param_groups[0]["params"]) != 1:
            raise ValueError(
                f"{type(self).__name__} minimises over one parameter tensor, "
                f"got {sum(len(group['params']) for group in self.param_groups)}."
            )

    @property
    def is_converged(self) -> bool:
        """Whether every problem is solved to ``tol``."""
        return max(self.optimality) <= self._tol

    @abstractmethod
    def _direction(
        self, objective: SmoothObjective, point: Point, memory: dict[str, Any]
    ) -> Tensor:
        """Descent direction (B, R, D) at ``point``."""

    def _remember(self, memory: dict[str, Any], point: Point, new_point: Point) -> None:
        """Learn from the move from ``point`` to ``new_point``; nothing by default."""

    @torch.no_grad()
    def step(self, closure: SmoothObjective) -> Tensor:  # type: ignore[override]
        """Make one iteration.

        Parameters
        ----------
        closure : SmoothObjective
            The objective. While it stays the same object and nobody else changes the
            parameter, what is known from the last step is used again.

        Returns
        -------
        value : Tensor, scalar
            Sum of the B objectives after the step.
        """
        objective, param = closure, self.param_groups[0]["params"][0]
        memory = self.state[param]
        if self._source == (objective, param._version) and self.point is not None:
            point = self.point
        else:
            memory.pop("progress", None)
            point = objective.at(objective.fix_gauge(param.detach()))
            self._judge(point, memory)
        if not self.is_finished:
            line = self._line(objective, point, memory)
            trial = wolfe_search(line, self.param_groups[0]["lr"], c2=self.c2)
            new_point = line.point(trial)
            self._remember(memory, point, new_point)
            self._judge(new_point, memory)
            if self.is_finished:
                # The linear predictor was updated, not recomputed: certify without its drift.
                new_point = objective.at(new_point.coef)
                self._judge(new_point, memory)
            point = new_point
        param.copy_(point.coef)
        param.grad = point.grad
        self.point, self._source = point, (objective, param._version)
        return point.value.sum()

    @property
    def _tol(self) -> float:
        return float(self.param_groups[0]["tol"])

    def _line(self, objective: SmoothObjective, point: Point, memory: dict[str, Any]) -> Line:
        """Line along the direction, or along the gradient where the direction is uphill."""
        done = self._done(memory)
        direction = self._direction(objective, point, memory)
        if any(done):
            is_done = torch.tensor(done, device=direction.device)[:, None, None]
            direction = torch.where(is_done, 0, direction)
        line = objective.along(point, direction)
        slopes = line.slope.tolist()
        if all(slope < 0 or over for slope, over in zip(slopes, done, strict=True)):
            return line
        is_downhill = (line.slope <= 0)[:, None, None]
        return objective.along(point, torch.where(is_downhill, direction, -point.grad))

    def _done(self, memory: dict[str, Any]) -> list[bool]:
        """Which problems are solved or stalled."""
        return [
            optimality <= self._tol or n_stagnant >= self.patience
            for optimality, (_, _, n_stagnant) in zip(
                self.optimality, memory["progress"], strict=True
            )
        ]

    def _judge(self, point: Point, memory: dict[str, Any]) -> None:
        """Note the gradient norm, and for how long neither it nor the value has improved.

        An improvement is a lower value than ever, by more than rounding, or a gradient norm
        smaller than ever by a tenth.
        """
        values, norms = torch.stack((point.value, point.grad.abs().amax((-2, -1)))).tolist()
        resolution = 2 * torch.finfo(point.value.dtype).eps
        progress = memory.get("progress", [(math.inf, math.inf, 0)] * len(values))
        memory["progress"] = []
        for value, norm, (best_value, best_norm, n_stagnant) in zip(
            values, norms, progress, strict=True
        ):
            improves = value + resolution * abs(value) < best_value or norm < 0.9 * best_norm
            memory["progress"].append(
                (value, min(norm, best_norm), 0)
                if improves
                else (best_value, min(norm, best_norm), n_stagnant + 1)
            )
        self.optimality = tuple(norms)
        self.is_finished = all(self._done(memory))

    @torch.no_grad()
    def certify(self, objective: SmoothObjective) -> None:
        """Evaluate the gradient norm again if somebody else has changed the parameter."""
        param = self.param_groups[0]["params"][0]
        if self._source != (objective, param._version):
            grad = objective.at(param.detach()).grad
            self.optimality = tuple(grad.abs().amax((-2, -1)).tolist())

    def release(self) -> None:
        """Let go of the objective, and of the data behind it."""
        self.point = self._source = None
