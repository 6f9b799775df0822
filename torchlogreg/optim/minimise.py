"""The one loop: in which order objective, algorithm, line search and stopping rule are asked.

A minimisation is a :class:`State`. It never changes: :func:`step` returns the next one.

1. :func:`begin` evaluates the objective, or the first of its stand-ins, where it is to begin.
2. :func:`step` makes an iteration: the algorithm's direction, a line search, what the algorithm
   learns from the move, and the verdict of the stopping rule.
3. A stand-in that no longer pays is left for the next stage.
4. A problem that seems to be done is evaluated again, as exactly as can be, at the coefficients
   that are returned. It goes on if that shows that it can, and leaves the batch otherwise.

:func:`minimise` does all of this at once; the optimizers for torch do it step by step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, NamedTuple

import numpy as np
import torch
from torch import Tensor

from torchlogreg.optim.algorithm import Algorithm, M
from torchlogreg.optim.line_search import secant_search, wolfe_search
from torchlogreg.optim.stopping import Standing
from torchlogreg.problem.line import Line
from torchlogreg.problem.objective import Objective
from torchlogreg.problem.points import Numbers, Point


class Row(NamedTuple):
    """An iteration of B problems, in three numbers."""

    value: float
    """Sum of the objectives."""

    norm: float
    """Largest gradient norm."""

    length: float
    """Largest step length."""


@dataclass(frozen=True, eq=False)
class State(Generic[M]):
    """Where the minimisation of B problems stands between two iterations."""

    stages: tuple[Objective, ...]
    """What is minimised now, and what after it, for the problems in the batch."""

    problems: tuple[int, ...]
    """Which problems are in the batch; they leave it when they are done."""

    point: Point
    """The present stage at their coefficients, as they are minimised over."""

    memory: M
    """What the algorithm has learnt about them."""

    standings: tuple[Standing, ...]
    """How each of the B problems stands, as of the last look."""

    coef: Tensor
    """The user's coefficients of all problems, shape (B, R, D)."""

    grad: Tensor
    """The gradient in these, shape (B, R, D)."""

    stage_start: Point
    """Where the present stage began."""

    length: Numbers
    """Step lengths of the last iteration."""

    first_trial: Any = None
    """First trial of the next line search, where nobody waits for its result."""

    queue: tuple[tuple[Numbers, Tensor, Numbers], ...] = ()
    """Values, gradient norms and step lengths of iterations that have not been looked at."""

    trace: tuple[Row, ...] = ()
    """The iterations that the last step has looked at."""

    @property
    def objective(self) -> Objective:
        """What is minimised now."""
        return self.stages[0]

    @property
    def is_stand_in(self) -> bool:
        """Whether that is a stand-in."""
        return len(self.stages) > 1

    @property
    def is_finished(self) -> bool:
        """Whether every problem is done for good."""
        return all(standing.is_done and standing.is_checked for standing in self.standings)

    @property
    def largest_norm(self) -> float:
        """Gradient norm of the worst problem in the batch."""
        return max(self.standings[b].optimality for b in self.problems)

    def take(self, places: Sequence[int]) -> State[M]:
        """Return the state with some of the problems of the batch, counted in it."""
        index = list(places)
        first_trial = self.first_trial[index] if isinstance(self.first_trial, Tensor) else None
        return replace(
            self,
            stages=tuple(stage.take(index) for stage in self.stages),
            problems=tuple(self.problems[i] for i in index),
            point=self.point.take(index),
            memory=self.memory.take(index),
            stage_start=self.stage_start.take(index),
            length=self.length[index],
            first_trial=first_trial,
        )


@dataclass(frozen=True, eq=False)
class Solution:
    """What a minimisation has found, for B problems."""

    coef: Tensor
    """The user's coefficients (B, R, D)."""

    optimality: np.ndarray
    """Gradient norm (B,): the largest absolute value."""

    suboptimality: np.ndarray
    """Estimate (B,) of f - f*; nan if there is none."""

    n_iter: np.ndarray
    """Iterations (B,) that each problem has made."""

    status: list[str]
    """Of each problem: "converged", with a gradient norm of at most ``tol``; "stalled"; or
    "unfinished", for want of iterations."""


def minimise(
    objective: Objective,
    coef: Tensor,
    algorithm: Algorithm[M],
    max_iter: int,
    *,
    is_checked: bool = True,
) -> Solution:
    """Minimise B objectives, each until it is done or ``max_iter`` iterations are made.

    Parameters
    ----------
    objective : Objective
        Attended, or not: then it is looked at after every iteration all the same.
    coef : Tensor of shape (B, R, D)
        The user's coefficients to begin at.
    algorithm : Algorithm
        :class:`~torchlogreg.optim.Newton` or :class:`~torchlogreg.optim.QuasiNewton`.
    max_iter : int
        Most iterations.
    is_checked : bool, default=True
        Whether problems that are not done are also evaluated as exactly as can be.
    """
    state = begin(objective, coef, algorithm)
    for _ in range(max_iter):
        state = step(state, algorithm)
        if state.is_finished:
            break
    state = concluded(state) if is_checked else state
    standings = state.standings
    return Solution(
        state.coef,
        np.array([standing.optimality for standing in standings]),
        np.array([standing.gap for standing in standings]),
        np.array([standing.n_iter for standing in standings]),
        [standing.status(algorithm.tol) for standing in standings],
    )


def begin(
    objective: Objective,
    coef: Tensor,
    algorithm: Algorithm[M],
    stored: Mapping[str, Any] | None = None,
    n_stages: int | None = None,
) -> State[M]:
    """Begin at the user's coefficients.

    After a break, ``stored`` is what the memory had :meth:`~.Memory.stored`, and ``n_stages`` the
    number of stages that were left.
    """
    stages = algorithm.stages.of(objective) if algorithm.stages is not None else (objective,)
    n_left = len(stages) if n_stages is None else min(n_stages, len(stages))
    start = objective.inner(coef)
    memory = algorithm.restored(stored or {}, coef)
    standings = tuple(Standing() for _ in coef)
    return _enter(stages[-n_left:], start, algorithm, memory, standings, coef.dtype)


def step(state: State[M], algorithm: Algorithm[M], look_every: int = 1) -> State[M]:
    """Make an iteration; look at the numbers once in ``look_every`` of them."""
    state = replace(state, trace=())
    if not all(state.standings[b].is_done for b in state.problems):
        state = _iterate(state, algorithm, look_every)
    return _checked(state, algorithm)


def concluded(state: State[M]) -> State[M]:
    """Look at what nobody has looked at, and evaluate exactly what has not been."""
    standings = list(state.standings)
    if state.queue:
        state, looks = _looked_at(state)
        for b, value, norm in zip(state.problems, *looks[-1][:2], strict=True):
            standings[b] = replace(standings[b], value=value, optimality=norm, gap=math.nan)
    places = [i for i, b in enumerate(state.problems) if not standings[b].is_checked]
    if places:
        left = [state.problems[i] for i in places]
        objective = state.stages[-1].take(places)
        norms = objective.optimality(objective.recheck(state.coef[left])).tolist()
        for b, norm in zip(left, norms, strict=True):
            gap = math.nan if state.is_stand_in else standings[b].gap
            standings[b] = replace(standings[b], optimality=norm, gap=gap)
    return replace(state, standings=tuple(standings))


def _enter(
    stages: tuple[Objective, ...],
    coef: Tensor,
    algorithm: Algorithm[M],
    memory: M,
    standings: tuple[Standing, ...],
    dtype: torch.dtype,
    before: State[M] | None = None,
) -> State[M]:
    """Go to the first of some stages that is worth it, with all problems."""
    objective = stages[0]
    # What rounding has left along the gauge no step would remove.
    start = objective.fix_gauge(coef.to(objective.dtype))
    point, memory = algorithm.begin(objective, start, memory.to(objective.dtype))
    if before is not None:
        point, memory = _back_from_astray(objective, point, before.stage_start, algorithm, memory)
    state = State(
        stages,
        problems=tuple(range(len(coef))),
        point=point,
        memory=memory,
        standings=tuple(standing.afresh() for standing in standings),
        coef=objective.outer(point.coef).to(dtype),
        grad=objective.outer_gradient(point.grad).to(dtype),
        stage_start=point,
        length=point.grad.new_zeros(len(coef)) if before is None else before.length,
    )
    state = _judged(state, algorithm)
    overflows = not all(math.isfinite(standing.value) for standing in state.standings)
    if state.is_stand_in and (overflows or all(s.is_done for s in state.standings)):
        start = coef if overflows else point.coef
        return _enter(stages[1:], start, algorithm, state.memory, state.standings, dtype)
    return state


def _back_from_astray(
    objective: Objective, point: Point, start: Point, algorithm: Algorithm[M], memory: M
) -> tuple[Point, M]:
    """Go back to where the last stage began in problems in which it has raised the objective.

    What was learnt on the way is forgotten then.
    """
    reached, before = (torch.as_tensor(p.value, dtype=torch.float64) for p in (point, start))
    is_higher = ~(reached <= before + 1e-6 * before.abs())  # not a number is higher, too
    if not is_higher.any():
        return point, memory
    mask = is_higher.to(point.coef.device)[:, None, None]
    coef = torch.where(mask, start.coef.to(point.coef.dtype), point.coef)
    return objective.at(coef), algorithm.forget(memory)


def _iterate(state: State[M], algorithm: Algorithm[M], look_every: int) -> State[M]:
    """Make an iteration on the present stage, and leave it if that was the last."""
    objective, point = state.objective, state.point
    direction, memory = algorithm.direction(objective, point, state.memory, state.largest_norm)
    line = _line(state, direction)
    if objective.is_attended:
        trial = wolfe_search(line, algorithm.lr, c2=algorithm.c2)
        new, length, first_trial = line.point(trial), trial.step, None
    else:
        first = state.first_trial
        first = torch.full_like(point.value, algorithm.lr) if first is None else first
        trial, is_accepted = secant_search(line, first, c2=algorithm.c2)
        new = line.point(trial).where(is_accepted, point)
        length = torch.where(is_accepted, trial.step, 0)
        first_trial = torch.where(is_accepted, algorithm.lr, 0.1 * first)
    moved = replace(
        state,
        point=new,
        memory=algorithm.learn(point, new, memory),
        length=length,
        first_trial=first_trial,
        standings=_counted(state),
    )
    state = _judged(_returned(moved), algorithm, look_every)
    if state.is_stand_in and all(standing.is_done for standing in state.standings):
        stages, coef, dtype = state.stages[1:], state.point.coef, state.coef.dtype
        later = _enter(stages, coef, algorithm, state.memory, state.standings, dtype, state)
        return replace(later, trace=(*state.trace[:-1], *later.trace))
    return state


def _line(state: State[M], direction: Tensor) -> Line:
    """Line along the direction, or along the gradient where the direction is uphill.

    Problems that wait for others to leave a stand-in do not move.
    """
    objective, point = state.objective, state.point
    # Rounding errors along the gauge would add up: nothing but the penalty resists them.
    direction = objective.fix_gauge(direction)
    waits = [state.standings[b].is_done for b in state.problems]
    if any(waits):
        is_waiting = torch.tensor(waits, device=direction.device)[:, None, None]
        direction = torch.where(is_waiting, 0, direction)
    if not objective.is_attended:
        slope = (point.grad * direction).sum((-2, -1), keepdim=True)
        return objective.along(point, torch.where(slope <= 0, direction, -point.grad))
    line = objective.along(point, direction)
    slopes = line.slope.tolist()
    is_downhill = [slope < 0 or wait for slope, wait in zip(slopes, waits, strict=True)]
    if all(is_downhill):
        return line
    downhill = torch.tensor(is_downhill, device=direction.device)[:, None, None]
    return objective.along(point, torch.where(downhill, direction, -point.grad))


def _counted(state: State[M]) -> tuple[Standing, ...]:
    """Count an iteration of the problems that have made it."""
    standings = list(state.standings)
    for b in state.problems:
        if not standings[b].is_done:
            standings[b] = replace(standings[b], n_iter=standings[b].n_iter + 1, is_checked=False)
    return tuple(standings)


def _returned(state: State[M]) -> State[M]:
    """Write the coefficients and the gradient of the batch in the user's terms."""
    objective, point, dtype = state.objective, state.point, state.coef.dtype
    coef = objective.outer(point.coef).to(dtype)
    grad = objective.outer_gradient(point.grad).to(dtype)
    if len(state.problems) < len(state.standings):
        index = list(state.problems)
        coef, grad = _with(state.coef, index, coef), _with(state.grad, index, grad)
    return replace(state, coef=coef, grad=grad)


def _with(whole: Tensor, index: list[int], part: Tensor) -> Tensor:
    """Copy a tensor, with other entries at an index."""
    copy = whole.clone()
    copy[index] = part
    return copy


def _judged(state: State[M], algorithm: Algorithm[M], look_every: int = 1) -> State[M]:
    """Note value and gradient norm; when it is time, decide who is solved and who stalls."""
    record = (state.point.value, _norms(state), state.length)
    state = replace(state, queue=(*state.queue, record))
    if len(state.queue) < look_every:
        return state
    state, looks = _looked_at(state)
    gaps = unknown = [math.nan] * len(state.problems)
    if min(looks[-1][1]) <= algorithm.tol:
        gap, memory = algorithm.gap(state.objective, state.point, state.memory)
        gaps, state = gap.tolist(), replace(state, memory=memory)
    standings, judge = list(state.standings), algorithm.stopping.judge
    for look in looks:
        numbers = zip(*look[:2], gaps if look is looks[-1] else unknown, strict=True)
        for b, now in zip(state.problems, numbers, strict=True):
            standings[b] = judge(
                standings[b],
                *now,
                resolution=torch.finfo(state.point.grad.dtype).eps,
                is_stand_in=state.is_stand_in,
            )
    return replace(state, standings=tuple(standings))


def _norms(state: State[M]) -> Tensor:
    """Gradient norms (B,) of the batch: of problems that were checked once, as the user sees them.

    Columns far from zero make a difference there, and cost digits before.
    """
    norms = state.point.grad.abs().amax((-2, -1))
    was_checked = [state.standings[b].checked_norm < math.inf for b in state.problems]
    if not any(was_checked):
        return norms
    mask = torch.tensor(was_checked, device=norms.device)
    return torch.where(mask, state.objective.optimality(state.point), norms)


_Look = tuple[list[float], list[float], list[float]]
"""Values, gradient norms and step lengths of the batch after an iteration."""


def _looked_at(state: State[M]) -> tuple[State[M], list[_Look]]:
    """Bring the numbers in the queue to the host, in one transfer, and note them in the trace."""
    looks: list[_Look]
    if state.objective.is_attended:
        looks = [(v.tolist(), n.tolist(), t.tolist()) for v, n, t in state.queue]
    else:
        numbers = [torch.stack(parts) for parts in zip(*state.queue, strict=True)]
        looks = torch.stack(numbers, dim=1).tolist()
    others = [s for b, s in enumerate(state.standings) if b not in state.problems]
    rows = (
        Row(
            sum(values) + sum(standing.value for standing in others),
            max([*norms, *(standing.optimality for standing in others)]),
            max(lengths),
        )
        for values, norms, lengths in looks
    )
    return replace(state, queue=(), trace=(*state.trace, *rows)), looks


def _checked(state: State[M], algorithm: Algorithm[M]) -> State[M]:
    """Evaluate what seems to be the solution of some problems as exactly as can be.

    Their linear predictor was updated, not recomputed, and the user's coefficients are rounded.
    Problems that are done then leave the batch, but for the last ones.
    """
    standings = list(state.standings)
    places = enumerate(standings[b] for b in state.problems)
    done = [place for place, standing in places if standing.is_done and not standing.is_checked]
    if not done or state.is_stand_in:
        return state
    part = state if len(done) == len(state.problems) else state.take(done)
    objective, coef, stopping = part.objective, part.point.coef, algorithm.stopping
    is_short = objective.optimality(part.point) > stopping.goal
    if is_short.any():
        coef = torch.where(is_short[:, None, None], objective.polished(part.point), coef)
    index = list(part.problems)
    outer = objective.outer(coef).to(state.coef.dtype)
    part = replace(part, point=objective.recheck(outer))
    norms = objective.optimality(part.point)
    gaps = torch.full_like(norms, math.nan)
    if (norms <= algorithm.tol).any():
        gaps, memory = algorithm.gap(objective, part.point, part.memory)
        part = replace(part, memory=memory)
    numbers = zip(part.point.value.tolist(), norms.tolist(), gaps.tolist(), strict=True)
    resolution = torch.finfo(norms.dtype).eps
    for b, now in zip(index, numbers, strict=True):
        standings[b] = stopping.check(standings[b], *now, resolution=resolution)
    grad = objective.outer_gradient(part.point.grad).to(state.grad.dtype)
    is_all = len(done) == len(state.problems)
    values, worst = [s.value for s in standings], max(s.optimality for s in standings)
    row = Row(sum(values), worst, max(state.length.tolist()))
    state = replace(
        state,
        point=part.point if is_all else state.point.put(done, part.point),
        memory=part.memory if is_all else state.memory,
        standings=tuple(standings),
        coef=_with(state.coef, index, outer),
        grad=_with(state.grad, index, grad),
        trace=(*state.trace[:-1], row),
    )
    going = [i for i, b in enumerate(state.problems) if not standings[b].is_done]
    return state.take(going) if 0 < len(going) < len(state.problems) else state
