"""The iteration that all full-batch optimizers share."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from torchlogreg.optim.line_search import wolfe_search
from torchlogreg.optim.protocol import Line, Point, SmoothObjective


class FullBatchOptimizer(torch.optim.Optimizer):
    r"""Descent with a line search on a smooth convex objective.

    A call of :meth:`step` is one iteration: a direction, which is what subclasses are about,
    a line search, and the verdict whether the result is good enough. It differs from other
    optimizers of torch in one thing: the closure is not a function that returns a loss but a
    :class:`~torchlogreg.optim.protocol.SmoothObjective`, because a line search that does not
    read the data again needs more than values.

    An objective may come in stages, cheaper stand-ins first. Each is minimised until that stops
    paying; only the last one, the objective itself, decides about convergence.

    Parameters
    ----------
    params : iterable of one Parameter
        The parameter (B, R, D) of B problems, minimised in lockstep.
    lr : float, default=1.0
        First step that the line search tries, in units of the direction.
    tol : float, default=1e-4
        A problem has converged when :math:`\max_j |g_j| \le` ``tol``. The optimizer goes on a
        little further, see ``margin``, and until the estimate of :math:`f - f^*` is at most
        ``tol / 10`` times the larger of f and 0.01.

    Raises
    ------
    ValueError
        If there is more than one parameter, or if ``lr`` or ``tol`` is out of range.
    """

    patience = 100
    """Iterations without progress after which a problem counts as stalled."""

    stage_patience = 5
    """The same where waiting is not worth it: on a stand-in, or below ``tol``."""

    margin = 1.0
    """The part of ``tol`` that the gradient norm goes below before the optimizer stops."""

    c2 = 0.9
    """Curvature constant of the line search: how much of the initial slope may be left."""

    # What follows from parameter and data is on the class, not in torch's pickled state.
    is_finished = False
    """Whether every problem is solved or stalled."""

    optimality: tuple[float, ...] = (math.inf,)
    """Gradient norm of each problem after the last step: the largest absolute value."""

    suboptimality: tuple[float, ...] = (math.nan,)
    """Estimate of f - f* of each problem; nan before the gradient is small."""

    point: Point | None = None
    """The objective at the parameter after the last step."""

    _source: tuple[SmoothObjective, int] | None = None
    _objective: SmoothObjective | None = None
    _next_stages: tuple[SmoothObjective, ...] = ()

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
        """Whether the gradient of every problem is below ``tol``."""
        return all(norm <= self._tol for norm in self.optimality)

    @abstractmethod
    def _direction(
        self, objective: SmoothObjective, point: Point, memory: dict[str, Any]
    ) -> Tensor:
        """Descent direction (B, R, D) at ``point``."""

    @abstractmethod
    def _suboptimality(self, point: Point, memory: dict[str, Any]) -> Tensor:
        """Estimate (B,) of f - f* at ``point`` without a look at the data; nan if unknown."""

    def _start(self, objective: SmoothObjective, coef: Tensor, memory: dict[str, Any]) -> Point:
        """Return where to begin, given where one was asked to begin: there by default."""
        return objective.at(coef)

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
        param = self.param_groups[0]["params"][0]
        memory = self.state[param]
        if self.point is None or self._source != (closure, param._version):
            coef = closure.fix_gauge(param.detach().clone())
            self._enter(closure.stages(), coef, memory)
        if not self.is_finished:
            self._advance(memory)
        point = self._point
        param.copy_(point.coef)
        param.grad = point.grad.to(param.dtype)
        self._source = (closure, param._version)
        value: Tensor = param.new_tensor(sum(point.value))
        return value

    @property
    def _tol(self) -> float:
        return float(self.param_groups[0]["tol"])

    @property
    def _point(self) -> Point:
        assert self.point is not None
        return self.point

    def _enter(
        self, stages: Sequence[SmoothObjective], coef: Tensor, memory: dict[str, Any]
    ) -> None:
        """Go to the first of some stages that is worth it and was not left behind before."""
        n_left = min(memory.get("n_stages_left", len(stages)), len(stages))
        self._objective, *others = stages[len(stages) - n_left :]
        self._next_stages = tuple(others)
        memory["n_stages_left"] = n_left
        memory.pop("progress", None)
        for name, value in memory.items():
            if isinstance(value, Tensor):
                memory[name] = value.to(self._objective.dtype)
        self.point = self._start(self._objective, coef.to(self._objective.dtype), memory)
        self._judge(self.point, memory)
        overflows = not all(map(math.isfinite, self.point.value))
        if self._next_stages and (self.is_finished or overflows):
            memory["n_stages_left"] = n_left - 1
            self._enter(self._next_stages, coef if overflows else self.point.coef, memory)

    def _advance(self, memory: dict[str, Any]) -> None:
        """Make an iteration on the present stage, and leave it if that was the last."""
        objective, point = self._objective, self._point
        assert objective is not None
        line = self._line(objective, point, memory)
        trial = wolfe_search(line, self.param_groups[0]["lr"], c2=self.c2)
        self.point = line.point(trial)
        self._remember(memory, point, self.point)
        self._judge(self.point, memory)
        if self.is_finished and self._next_stages:
            memory["n_stages_left"] = len(self._next_stages)
            self._enter(self._next_stages, self.point.coef, memory)
        elif self.is_finished:
            # The linear predictor was updated, not recomputed: certify without its drift.
            self.point = objective.at(self.point.coef)
            self._judge(self.point, memory)

    def _line(self, objective: SmoothObjective, point: Point, memory: dict[str, Any]) -> Line:
        """Line along the direction, or along the gradient where the direction is uphill."""
        done = self._done(memory)
        # Rounding errors along the gauge would add up: nothing but the penalty resists them.
        direction = objective.fix_gauge(self._direction(objective, point, memory))
        if any(done):
            is_done = torch.tensor(done, device=direction.device)[:, None, None]
            direction = torch.where(is_done, 0, direction)
        line = objective.along(point, direction)
        is_downhill = [slope < 0 or over for slope, over in zip(line.slope, done, strict=True)]
        if all(is_downhill):
            return line
        downhill = torch.tensor(is_downhill, device=direction.device)[:, None, None]
        return objective.along(point, torch.where(downhill, direction, -point.grad))

    def _done(self, memory: dict[str, Any]) -> list[bool]:
        """Which problems are solved or stalled."""
        return [is_solved or n_left <= 0 for _, _, is_solved, n_left in memory["progress"]]

    def _judge(self, point: Point, memory: dict[str, Any]) -> None:
        """Note gradient norm and suboptimality, and whether they or the value have improved.

        An improvement is a lower value than ever, by more than rounding, or a gradient norm
        smaller than ever by a tenth.
        """
        norms = point.grad.abs().amax((-2, -1)).tolist()
        self.optimality, self.suboptimality = tuple(norms), (math.nan,) * len(norms)
        if min(norms) <= self._tol:
            self.suboptimality = tuple(self._suboptimality(point, memory).tolist())
        resolution = 2 * torch.finfo(point.grad.dtype).eps
        progress = memory.get("progress", [(math.inf, math.inf, False, 0)] * len(norms))
        memory["progress"] = []
        for value, norm, gap, (best_value, best_norm, _, n_left) in zip(
            point.value, norms, self.suboptimality, progress, strict=True
        ):
            is_small = norm <= self._tol
            allowed_gap = 0.1 * self._tol * max(abs(value), 0.01)
            is_solved = norm <= self.margin * self._tol and not gap > allowed_gap
            is_lower = value + resolution * abs(value) < best_value
            if is_lower or norm < 0.9 * best_norm:
                n_left = self.stage_patience if self._next_stages else self.patience
            n_left = min(n_left, self.stage_patience) if is_small else n_left
            memory["progress"].append(
                (
                    value if is_lower else best_value,
                    min(norm, best_norm),
                    is_solved,
                    n_left - (not is_solved),
                )
            )
        self.is_finished = all(self._done(memory))

    @torch.no_grad()
    def certify(self, objective: SmoothObjective) -> None:
        """Evaluate the gradient norm again if somebody else has changed the parameter."""
        param = self.param_groups[0]["params"][0]
        if self._source != (objective, param._version) or self._objective is not objective:
            grad = objective.at(param.detach()).grad
            self.optimality = tuple(grad.abs().amax((-2, -1)).tolist())
            self.suboptimality = (math.nan,) * len(self.optimality)

    def release(self) -> None:
        """Let go of the objective, and of the data behind it."""
        self.point = self._source = self._objective = None
        self._next_stages = ()
