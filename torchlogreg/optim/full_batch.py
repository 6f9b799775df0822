"""The iteration that all full-batch optimizers share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from torchlogreg.optim.line_search import wolfe_search
from torchlogreg.optim.protocol import Point, SmoothObjective


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

    optimality: Tensor = torch.tensor([torch.inf])
    """Gradient norm (B,) after the last step: the maximum of the absolute values."""

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
        return bool((self.optimality <= self._tol).all())

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
            point = objective.at(objective.fix_gauge(param.detach()))
            self._judge(point, memory)
        if not self.is_finished:
            direction = self._direction(objective, point, memory)
            slope = (point.grad * direction).sum((-2, -1))
            direction = torch.where((slope < 0)[:, None, None], direction, -point.grad)
            direction = direction * ~self._is_done(memory)[:, None, None]
            line = objective.along(point, direction)
            first_step = torch.full_like(point.value, self.param_groups[0]["lr"])
            trial = wolfe_search(line, first_step, c2=self.c2)
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

    def _is_done(self, memory: dict[str, Any]) -> Tensor:
        """Which problems (B,) are solved or stalled."""
        is_stalled: Tensor = memory["n_stagnant"] >= self.patience
        return is_stalled | (self.optimality <= self._tol)

    def _judge(self, point: Point, memory: dict[str, Any]) -> None:
        """Note the gradient norm and for how long neither it nor the value has improved."""
        self.optimality = point.grad.abs().amax((-2, -1))
        if "n_stagnant" not in memory:
            memory["best_value"] = torch.full_like(point.value, torch.inf)
            memory["best_optimality"] = torch.full_like(point.value, torch.inf)
            memory["n_stagnant"] = torch.zeros_like(point.value, dtype=torch.int64)
        best_value, best_optimality = memory["best_value"], memory["best_optimality"]
        resolution = 2 * torch.finfo(point.value.dtype).eps * point.value.abs()
        improves = (point.value < best_value - resolution) | (
            self.optimality < 0.9 * best_optimality
        )
        memory["best_value"] = torch.where(improves, point.value, best_value)
        memory["best_optimality"] = torch.minimum(self.optimality, best_optimality)
        memory["n_stagnant"] = torch.where(improves, 0, memory["n_stagnant"] + 1)
        self.is_finished = bool(self._is_done(memory).all())

    def release(self) -> None:
        """Let go of the objective, and of the data behind it."""
        self.point = self._source = None
