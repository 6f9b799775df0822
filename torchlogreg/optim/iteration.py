"""An iteration: in which order objective, algorithm, line search and stopping rule are asked.

Between two iterations a minimisation is a :class:`~torchlogreg.optim.state.State`, which never
changes: :func:`begin` and :func:`step` return others.

1. :func:`begin` evaluates the objective, or the first of its stand-ins, where it is to begin.
2. :func:`step` makes an iteration: the algorithm's direction, a line search, what the algorithm
   learns from the move, and the verdict of the stopping rule.
3. A stand-in that no longer pays is left for the next stage.
4. A problem that seems to be done is evaluated again, as exactly as can be, at the coefficients
   that are returned (:mod:`torchlogreg.optim.checks`). It goes on if that shows that it can.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchlogreg.optim.algorithm import Algorithm, M
from torchlogreg.optim.checks import checked, has_unchecked
from torchlogreg.optim.line_search import secant_search, wolfe_search
from torchlogreg.optim.state import Look, State, fetched
from torchlogreg.optim.stopping import Standing
from torchlogreg.problem.batched import Places
from torchlogreg.problem.line import Line
from torchlogreg.problem.objective import Objective
from torchlogreg.problem.points import Numbers, Point, compute, on_host

LOOSE = 0.9
"""Constant of curvature of line searches that had better end with the first trial."""


def begin(
    stages: list[Objective],
    coef: Tensor,
    algorithm: Algorithm[M],
    memory: M,
    standings: tuple[Standing, ...],
    before: State[M] | None = None,
) -> State[M]:
    """Begin with the first of some stages that is worth it, at inner coefficients.

    If there was a stage before, it may have raised the objective of some problems. These go back to
    where that began, and what was learnt on the way is forgotten, for all problems.
    """
    objective, start = stages[0], coef.to(stages[0].dtype)
    is_cold = not start.any()
    if not is_cold:  # what rounding has left along the gauge no step would remove
        start = objective.fix_gauge(start)
    point, memory = algorithm.begin(objective, start, memory.to(objective.dtype))
    if before is not None and before.stage_start is not None:
        old = before.stage_start
        reached, value = (torch.as_tensor(p.value, dtype=torch.float64) for p in (point, old))
        is_higher = ~(reached <= value + 1e-6 * value.abs())  # not a number is higher, too
        if is_higher.any():
            mask = is_higher.to(coef.device)[:, None, None]
            point = objective.at(torch.where(mask, old.coef.to(start), point.coef))
            memory = algorithm.forget(memory)
    state = State(
        stages,
        point,
        memory,
        tuple(standing.afresh() for standing in standings),
        stage_start=point if len(stages) > 1 else None,
        length=compute(lambda value: 0 * value, point.value) if before is None else before.length,
        rounding=0.0 if before is not None or is_cold else objective.predictor_rounding(start),
    )
    state, _ = _judged(state, algorithm, n_made=0)
    overflows = not all(math.isfinite(standing.value) for standing in state.standings)
    if state.is_stand_in and (overflows or state.is_done):
        start = coef if overflows else point.coef
        return begin(stages[1:], start, algorithm, state.memory, state.standings)
    return state


def step(
    state: State[M], algorithm: Algorithm[M], look_every: int = 1
) -> tuple[State[M], list[Look]]:
    """Make an iteration; look at the numbers once in ``look_every`` of them.

    Returns the next state, and the looks.
    """
    looks: list[Look] = []
    is_last = False
    if has_unchecked(state):  # which then leave: nothing may be in the queue
        look_every = 1
    if not state.is_done:
        state, looks = _judged(_moved(state, algorithm), algorithm, look_every)
        is_last = state.is_stand_in and state.is_done
        if is_last:
            coef, standings = state.point.coef, state.standings
            state = begin(state.stages[1:], coef, algorithm, state.memory, standings, state)
    is_to_check = has_unchecked(state)
    if is_to_check:
        state = checked(state, algorithm)
    if is_last or is_to_check:  # the iteration has come to something else in the end
        looks = [*looks[:-1], _standing_look(state)]
    return state, looks


def _moved(state: State[M], algorithm: Algorithm[M]) -> State[M]:
    """Make an iteration on the present stage."""
    objective, point = state.objective, state.point
    norm = max(standing.optimality for standing in state.standings)
    direction, memory = algorithm.direction(objective, point, state.memory, norm)
    # Rounding errors along the gauge would add up: nothing but the penalty resists them.
    direction, first_trial = objective.agreed(objective.fix_gauge(direction)), None
    if objective.is_attended:
        new, length = _searched(state, direction, algorithm)
    else:
        first = state.first_trial
        first = torch.full_like(point.value, algorithm.lr) if first is None else first
        line = _unattended_line(state, direction)
        trial, is_accepted = secant_search(line, first, c2=algorithm.c2)
        new = line.point(trial).where(is_accepted, point)
        length = torch.where(is_accepted, trial.step, 0)
        first_trial = torch.where(is_accepted, algorithm.lr, 0.1 * first)
    return state.evolved(
        point=new,
        memory=algorithm.learn(point, new, memory),
        checked_coef=None,
        length=length,
        first_trial=first_trial,
    )


def _searched(state: State[M], direction: Tensor, algorithm: Algorithm[M]) -> tuple[Point, Numbers]:
    """Search along the direction; problems that wait for others to leave a stand-in stay.

    Returns where that leads, and the step lengths.
    """
    objective, point, n_problems = state.objective, state.point, len(direction)
    going = Places([b for b, standing in enumerate(state.standings) if not standing.is_done])
    # Where X is not in memory, another trial than the first makes for another read.
    c2 = max(algorithm.c2, LOOSE) if objective.is_stored else algorithm.c2
    if len(going) == n_problems:
        line = _downhill(objective, point, direction)
        trial = wolfe_search(line, algorithm.lr, c2=c2)
        return line.point(trial), trial.step
    line = _downhill(objective.take(going), point.take(going), going.pick(direction))
    trial = wolfe_search(line, algorithm.lr, c2=c2)
    steps = dict(zip(going, trial.step, strict=True))
    length = tuple([steps.get(b, 0.0) for b in range(n_problems)])
    return point.put(going, line.point(trial)), length


def _downhill(objective: Objective, point: Point, direction: Tensor) -> Line:
    """Line along the direction, or along the gradient where the direction is uphill."""
    line = objective.along(point, direction)
    is_downhill = [slope < 0 for slope in line.slope]
    if all(is_downhill):
        return line
    downhill = torch.tensor(is_downhill, device=direction.device)[:, None, None]
    return objective.along(point, torch.where(downhill, direction, -objective.ascent(point)))


def _unattended_line(state: State[M], direction: Tensor) -> Line:
    """The same where nobody waits for the slopes; problems that wait for others have none."""
    objective, point = state.objective, state.point
    waits = [standing.is_done for standing in state.standings]
    if any(waits):
        is_waiting = torch.tensor(waits, device=direction.device)[:, None, None]
        direction = torch.where(is_waiting, 0, direction)
    slope = (point.grad * direction).sum((-2, -1))
    slope = (slope + objective.kink_slope(point, direction))[:, None, None]
    return objective.along(point, torch.where(slope <= 0, direction, -objective.ascent(point)))


def _judged(
    state: State[M], algorithm: Algorithm[M], look_every: int = 1, n_made: int = 1
) -> tuple[State[M], list[Look]]:
    """Note value and gradient norm; when it is time, decide who is solved and who stalls."""
    queue = [*state.queue, Look(state.point.value, _norms(state), state.length)]
    if len(queue) < look_every:
        return state.evolved(queue=queue), []
    looks, standings, rule = fetched(state, queue), list(state.standings), algorithm.stopping
    gaps, memory = [math.nan] * len(standings), state.memory
    unknown = [math.inf] * len(standings)  # before the last look nothing is solved
    waits = [standing.is_done for standing in standings]
    if min(looks[-1].norms) <= algorithm.tol:
        gap, memory = algorithm.gap(state.objective, state.point, memory)
        gaps = state.objective.agreed(gap).tolist()
    resolution = torch.finfo(state.point.grad.dtype).eps
    for look in looks:
        numbers = zip(look.values, look.norms, gaps if look is looks[-1] else unknown, strict=True)
        for place, now in enumerate(numbers):
            if not waits[place]:
                standings[place] = rule.judge(
                    standings[place],
                    *now,
                    resolution=resolution,
                    is_stand_in=state.is_stand_in,
                    n_made=n_made,
                )
    return state.evolved(memory=memory, standings=tuple(standings), queue=[]), looks


def _norms(state: State[M]) -> Tensor:
    """Gradient norms (B,): of problems that were checked once, as the user sees them.

    Columns far from zero make a difference there, and cost digits before.
    """
    ascent = state.objective.ascent(state.point)
    norms: Tensor = torch.linalg.vector_norm(ascent, math.inf, (-2, -1))
    was_checked = [standing.checked_norm < math.inf for standing in state.standings]
    if not any(was_checked):
        return state.objective.agreed(norms)
    mask = torch.tensor(was_checked, device=norms.device)
    norms = torch.where(mask, state.objective.optimality(state.point), norms)
    return state.objective.agreed(norms)


def _standing_look(state: State[M]) -> Look:
    """Numbers as the problems stand."""
    values, norms = zip(*((s.value, s.optimality) for s in state.standings), strict=True)
    return Look(values, norms, on_host(state.length))
