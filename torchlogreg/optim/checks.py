"""The last look: what seems to be done is evaluated as exactly as can be, if that may differ."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from torchlogreg.optim.algorithm import Algorithm, M
from torchlogreg.optim.state import Look, State, fetched
from torchlogreg.problem.batched import Places
from torchlogreg.problem.intercepts import polished
from torchlogreg.problem.points import on_host

FEW_UPDATES = 20
"""Iterations up to which a linear predictor that was updated has no larger rounding errors than one
that is computed anew: either is a sum of as many products as there are columns, or more."""


NEGLIGIBLE = 0.01
"""Part of the gradient norm to be reached that rounding errors may add to it unnoticed."""


def has_unchecked(state: State[M]) -> bool:
    """Whether a problem is done with the objective itself, but was not checked."""
    return not state.is_stand_in and any(s.is_done and not s.is_checked for s in state.standings)


def concluded(state: State[M]) -> tuple[State[M], list[Look]]:
    """Look at what nobody has looked at, and evaluate exactly what has not been."""
    standings = list(state.standings)
    looks = fetched(state, state.queue)
    for place, (value, norm) in enumerate(zip(*looks[-1][:2], strict=True) if looks else ()):
        standings[place] = replace(
            standings[place],
            n_iter=standings[place].n_iter + len(looks),
            value=value,
            optimality=norm,
            gap=math.nan,
            is_checked=False,  # there was another iteration since
        )
    places = [place for place, standing in enumerate(standings) if not standing.is_checked]
    if places:
        objective = state.stages[-1].take(places)
        found = objective.optimality(objective.recheck(state.coef[places]))
        norms = objective.agreed(found).tolist()
        for place, norm in zip(places, norms, strict=True):
            gap = math.nan if state.is_stand_in else standings[place].gap
            standings[place] = replace(standings[place], optimality=norm, gap=gap)
    return state.evolved(standings=tuple(standings), queue=[]), looks


def _known_norms(state: State[M], done: list[int], goal: float) -> list[float] | None:
    """Gradient norms of solutions that would be no more exact if they were evaluated again.

    None if one of them might be.
    """
    standings = [state.standings[place] for place in done]
    is_few = all(s.is_solved and s.n_iter <= FEW_UPDATES for s in standings)
    if not is_few:
        return None
    rounding = state.rounding + state.objective.rounding(state.point.coef)
    if not rounding <= NEGLIGIBLE * goal:
        return None
    norms = state.objective.agreed(state.objective.optimality(state.point)[done]).tolist()
    return norms if max(norms) <= goal else None


def checked(state: State[M], algorithm: Algorithm[M]) -> State[M]:
    """Evaluate what seems to be the solution of some problems as exactly as can be.

    Their linear predictor was updated, not recomputed, and the user's coefficients are rounded.
    """
    standings, stopping = list(state.standings), algorithm.stopping
    done = [place for place, s in enumerate(standings) if s.is_done and not s.is_checked]
    known = _known_norms(state, done, stopping.goal)
    if known is not None:
        for place, norm in zip(done, known, strict=True):
            standings[place] = replace(
                standings[place], optimality=norm, is_checked=True, checked_norm=norm
            )
        return state.evolved(standings=tuple(standings))
    is_all = len(done) == len(standings)
    places = Places(done)
    part = state if is_all else state.take(places)
    objective, coef = part.objective, part.point.coef
    is_short = objective.agreed(objective.optimality(part.point)) > stopping.goal
    if is_short.any():
        coef = torch.where(is_short[:, None, None], polished(objective, part.point), coef)
    outer = objective.outer(coef).to(state.objective.dtype)
    point, memory = objective.recheck(outer), part.memory
    norms = objective.agreed(objective.optimality(point))
    gaps = torch.full_like(norms, math.nan)
    if (norms <= algorithm.tol).any():
        gaps, memory = algorithm.gap(objective, point, memory)
    gaps = objective.agreed(gaps)
    numbers = zip(on_host(point.value), norms.tolist(), gaps.tolist(), strict=True)
    for place, now in zip(done, numbers, strict=True):
        resolution = torch.finfo(norms.dtype).eps
        standings[place] = stopping.check(standings[place], *now, resolution=resolution)
    if not is_all:
        point, memory = state.point.put(places, point), state.memory
        outer = places.put_(state.coef.clone(), outer)
    return state.evolved(point=point, memory=memory, standings=tuple(standings), checked_coef=outer)
