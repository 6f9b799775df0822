"""The iteration that all full-batch optimizers share."""

from __future__ import annotations

import inspect
import math
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from torchlogreg.optim.line_search import secant_search, wolfe_search
from torchlogreg.optim.progress import Progress
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
    check_every : int, default=1
        Iterations between two looks at the numbers. With 1 the line search is a thorough one
        that decides on the host. With more, iterations are queued up on the device without
        waiting for it: the line search makes two trials, a step that fails is undone, and the
        verdict comes up to ``check_every - 1`` iterations late.

    Raises
    ------
    ValueError
        If there is more than one parameter, or if ``lr`` or ``tol`` is out of range.
    """

    patience = 100
    """Iterations without progress after which a problem counts as stalled."""

    stage_patience = 5
    """The same where waiting is not worth it: on a stand-in, or below ``tol``."""

    stage_gain = 0.9
    """Part of the gradient norm that an iteration on a stand-in may leave without being idle."""

    stage_decrease = 1e-5
    """The same for the part of the objective by which it must decrease."""

    margin = 1.0
    """The part of ``tol`` that the gradient norm goes below before the optimizer stops."""

    c2 = 0.9
    """Curvature constant of the line search: how much of the initial slope may be left."""

    # What follows from parameter and data is on the class, not in torch's pickled state.
    is_finished = False
    """Whether every problem is solved or stalled."""

    optimality: tuple[float, ...] = (math.inf,)
    """Gradient norm of each problem at the last check: the largest absolute value."""

    suboptimality: tuple[float, ...] = (math.nan,)
    """Estimate of f - f* of each problem; nan before the gradient is small."""

    point: Point | None = None
    """The objective at the parameter after the last step."""

    _source: tuple[SmoothObjective, int] | None = None
    _objective: SmoothObjective | None = None
    _stage_start: Point | None = None
    _next_stages: tuple[SmoothObjective, ...] = ()
    _unchecked: tuple[tuple[int, Any, Tensor, Any], ...] = ()
    _values: tuple[float, ...] = (math.inf,)
    _n_steps = 0
    _is_rechecked = False
    _step_length: Any = None

    def __init__(
        self,
        params: Iterable[Any],
        *,
        lr: float = 1.0,
        tol: float = 1e-4,
        check_every: int = 1,
        **defaults: Any,
    ) -> None:
        if not lr > 0:
            raise ValueError(f"lr={lr!r} must be positive: it is the first step that is tried.")
        if not tol >= 0:
            raise ValueError(f"tol={tol!r} must not be negative: it bounds the gradient norm.")
        if check_every < 1:
            raise ValueError(f"check_every={check_every!r} must be at least 1.")
        self._trace: dict[int, tuple[float, float, float]] = {}
        super().__init__(params, {"lr": lr, "tol": tol, "check_every": check_every, **defaults})
        if len(self.param_groups) != 1 or len(self.param_groups[0]["params"]) != 1:
            raise ValueError(
                f"{type(self).__name__} minimises over one parameter tensor, "
                f"got {sum(len(group['params']) for group in self.param_groups)}."
            )

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group as torch does, but without loading its compiler, which takes a second."""
        inspect.unwrap(torch.optim.Optimizer.add_param_group)(self, param_group)

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

    def _forget(self, memory: dict[str, Any]) -> None:
        """Forget what was learnt from moves; nothing by default."""

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
        self._n_steps += 1
        self._trace = {}
        if self.point is None or self._source != (closure, param._version):
            coef = closure.fix_gauge(closure.inner(param.detach().clone()))
            self._enter(closure.stages(), coef, memory)
        if not self.is_finished:
            self._advance(memory)
        if self.is_finished and not self._is_rechecked:
            self._recheck(memory)
        point = self._point
        if not self._is_rechecked:
            param.copy_(closure.outer(point.coef))
        param.grad = closure.outer_gradient(point.grad).to(param.dtype)
        self._source = (closure, param._version)
        value: Tensor = torch.as_tensor(point.value.sum(), dtype=param.dtype, device=param.device)
        return value

    @property
    def _tol(self) -> float:
        return float(self.param_groups[0]["tol"])

    @property
    def trace(self) -> tuple[tuple[float, float, float], ...]:
        """Sum of the objectives, largest gradient norm and step length of the last steps.

        Of those that the last step has checked, itself included; empty if it has checked none.
        """
        return tuple(self._trace.values())

    @property
    def _is_attended(self) -> bool:
        return bool(self.param_groups[0]["check_every"] == 1)

    @property
    def _point(self) -> Point:
        assert self.point is not None
        return self.point

    def _enter(
        self,
        stages: Sequence[SmoothObjective],
        coef: Tensor,
        memory: dict[str, Any],
        before: Point | None = None,
    ) -> None:
        """Go to the first of some stages that is worth it and was not left behind before.

        In a problem in which the stage before has led astray, from where that one began.
        """
        n_left = min(memory.get("n_stages_left", len(stages)), len(stages))
        objective, *others = stages[len(stages) - n_left :]
        self._objective = objective if self._is_attended else objective.unattended()
        self._next_stages = tuple(others)
        memory["n_stages_left"] = n_left
        for name in ("progress", "rechecked"):
            memory.pop(name, None)
        for name, value in memory.items():
            if isinstance(value, Tensor):
                memory[name] = value.to(self._objective.dtype)
        self._is_rechecked = False
        self.point = self._start(self._objective, coef.to(self._objective.dtype), memory)
        if before is not None:
            self._return_from_astray(before, memory)
        self._stage_start = self.point
        if self._step_length is None:
            self._step_length = self.point.grad.new_zeros(len(coef))
        self._judge(self.point, memory, at_once=True)
        overflows = not all(map(math.isfinite, self._values))
        if self._next_stages and (self.is_finished or overflows):
            memory["n_stages_left"] = n_left - 1
            self._enter(self._next_stages, coef if overflows else self.point.coef, memory)

    def _return_from_astray(self, before: Point, memory: dict[str, Any]) -> None:
        """Go back to where the last stage began in problems in which it has raised the objective.

        What was learnt on the way is forgotten then.
        """
        point, objective = self._point, self._objective
        assert objective is not None
        reached, start = (torch.as_tensor(p.value, dtype=torch.float64) for p in (point, before))
        is_higher = ~(reached <= start + 1e-6 * start.abs())  # not a number is higher, too
        if is_higher.any():
            mask = is_higher.to(point.coef.device)[:, None, None]
            self._forget(memory)
            coef = torch.where(mask, before.coef.to(point.coef.dtype), point.coef)
            self.point = objective.at(coef)

    def _advance(self, memory: dict[str, Any]) -> None:
        """Make an iteration on the present stage, and leave it if that was the last."""
        objective, point = self._objective, self._point
        assert objective is not None
        self._is_rechecked = False
        line = self._line(objective, point, memory)
        lr = self.param_groups[0]["lr"]
        if self._is_attended:
            trial = wolfe_search(line, lr, c2=self.c2)
            self._step_length, self.point = trial.step, line.point(trial)
        else:
            first_step = memory.setdefault("first_step", torch.full_like(point.value, lr))
            trial, is_accepted = secant_search(line, first_step, c2=self.c2)
            self.point = objective.select(is_accepted, line.point(trial), point)
            self._step_length = torch.where(is_accepted, trial.step, 0)
            memory["first_step"] = torch.where(is_accepted, lr, 0.1 * first_step)
        self._remember(memory, point, self.point)
        self._judge(self.point, memory)
        if self.is_finished and self._next_stages:
            memory["n_stages_left"] = len(self._next_stages)
            self._enter(self._next_stages, self.point.coef, memory, self._stage_start)

    def _recheck(self, memory: dict[str, Any]) -> None:
        """Evaluate what seems to be the solution as exactly as can be; go on if it is not.

        The linear predictor was updated, not recomputed, and the parameter is rounded. If going on
        has not halved the gradient since the last such check, nothing will.
        """
        objective, param = self._objective, self.param_groups[0]["params"][0]
        assert objective is not None
        coef = self._point.coef
        is_short = objective.optimality(self._point) > self.margin * self._tol
        if is_short.any():
            coef = torch.where(is_short[:, None, None], objective.polished(self._point), coef)
        param.copy_(objective.outer(coef))
        self.point = objective.recheck(param.detach())
        memory.setdefault("rechecked", [math.inf] * len(self.optimality))
        self._judge(self.point, memory, at_once=True)
        self._is_rechecked = True
        known = memory["rechecked"]
        if not any(new < 0.5 * old for new, old in zip(self.optimality, known, strict=True)):
            self.is_finished = True
        memory["rechecked"] = list(map(min, self.optimality, known))

    def _line(self, objective: SmoothObjective, point: Point, memory: dict[str, Any]) -> Line:
        """Line along the direction, or along the gradient where the direction is uphill."""
        done = self._done(memory)
        # Rounding errors along the gauge would add up: nothing but the penalty resists them.
        direction = objective.fix_gauge(self._direction(objective, point, memory))
        if any(done):
            is_done = torch.tensor(done, device=direction.device)[:, None, None]
            direction = torch.where(is_done, 0, direction)
        if not self._is_attended:
            slope = (point.grad * direction).sum((-2, -1), keepdim=True)
            return objective.along(point, torch.where(slope <= 0, direction, -point.grad))
        line = objective.along(point, direction)
        is_downhill = [slope < 0 or over for slope, over in zip(line.slope, done, strict=True)]
        if all(is_downhill):
            return line
        downhill = torch.tensor(is_downhill, device=direction.device)[:, None, None]
        return objective.along(point, torch.where(downhill, direction, -point.grad))

    def _done(self, memory: dict[str, Any]) -> list[bool]:
        """Which problems are solved or stalled."""
        return [case.is_done for case in self._progress(memory)]

    def _progress(self, memory: dict[str, Any]) -> list[Progress]:
        """Progress of each problem; empty before the first verdict."""
        return [Progress(*case) for case in memory.get("progress", [])]

    def _judge(self, point: Point, memory: dict[str, Any], *, at_once: bool = False) -> None:
        """Note value and gradient norm; when it is time, decide who is solved and who stalls."""
        assert self._objective is not None
        is_last = "rechecked" in memory
        norm = self._objective.optimality(point) if is_last else point.grad.abs().amax((-2, -1))
        self._unchecked += ((self._n_steps, point.value, norm, self._step_length),)
        if not at_once and len(self._unchecked) < self.param_groups[0]["check_every"]:
            return
        records = self._check()
        gaps = [self.suboptimality] * len(records)
        if min(self.optimality) <= self._tol:
            gaps[-1] = self.suboptimality = tuple(self._suboptimality(point, memory).tolist())
        progress = self._progress(memory) or [Progress()] * len(self.optimality)
        for (values, norms, _), gap in zip(records, gaps, strict=True):
            cases = zip(progress, values, norms, gap, strict=True)
            progress = [self._follow(*case) for case in cases]
        memory["progress"] = [tuple(case) for case in progress]
        self.is_finished = all(self._done(memory))

    def _check(self) -> list[tuple[list[float], ...]]:
        """Bring values, gradient norms and step lengths of the unchecked steps to the host."""
        steps, *numbers = zip(*self._unchecked, strict=True)
        self._unchecked = ()
        if self._is_attended:
            records = [
                tuple(part.tolist() for part in parts) for parts in zip(*numbers, strict=True)
            ]
        else:
            stacked = torch.stack([torch.stack(parts) for parts in numbers], dim=1)
            records = [tuple(parts) for parts in stacked.tolist()]
        for step, (values, norms, lengths) in zip(steps, records, strict=True):
            self._trace[step] = sum(values), max(norms), max(lengths)
        self._values, self.optimality = map(tuple, records[-1][:2])
        self.suboptimality = (math.nan,) * len(self.optimality)
        return records

    def _follow(self, known: Progress, value: float, norm: float, gap: float) -> Progress:
        """Return the progress of a problem after one more step."""
        allowed_gap = 0.1 * self._tol * max(abs(value), 0.01)
        is_stage, rounding = bool(self._next_stages), 2 * torch.finfo(self._point.grad.dtype).eps
        return known.after(
            value,
            norm,
            is_solved=norm <= self.margin * self._tol and not gap > allowed_gap,
            patience=self.stage_patience if is_stage else self.patience,
            limit=self.stage_patience if norm <= self._tol else math.inf,
            resolution=self.stage_decrease if is_stage else rounding,
            gain=self.stage_gain if is_stage else 0.9,
        )

    @torch.no_grad()
    def certify(self, objective: SmoothObjective) -> None:
        """Check what is left unchecked; evaluate anew if somebody has changed the parameter."""
        param = self.param_groups[0]["params"][0]
        if self._unchecked:
            self._check()
        is_changed = self._source != (objective, param._version) or bool(self._next_stages)
        if is_changed or not self._is_rechecked:
            point = objective.recheck(param.detach())
            self.optimality = tuple(objective.optimality(point).tolist())
        if is_changed:
            self.suboptimality = (math.nan,) * len(self.optimality)

    def release(self) -> None:
        """Let go of the objective, and of the data behind it."""
        self.point = self._source = self._objective = self._step_length = None
        self._stage_start = None
        self._next_stages = ()
