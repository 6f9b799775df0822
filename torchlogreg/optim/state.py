"""Where a minimisation stands between two iterations."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Generic, NamedTuple

import torch
from torch import Tensor

from torchlogreg.optim.algorithm import M
from torchlogreg.optim.stopping import Standing
from torchlogreg.problem.batched import Batched
from torchlogreg.problem.objective import Objective
from torchlogreg.problem.points import Numbers, Point, on_host


class Look(NamedTuple):
    """Numbers of each problem in the batch after an iteration."""

    values: Numbers
    """Objectives."""

    norms: Numbers
    """Gradient norms."""

    lengths: Numbers
    """Step lengths."""


@dataclass(frozen=True, eq=False)
class State(Batched, Generic[M]):
    """Where the minimisation of some problems stands between two iterations."""

    stages: list[Objective]
    """What is minimised now, and what after it."""

    point: Point
    """The present stage at the coefficients that it is minimised over."""

    memory: M
    """What the algorithm has learnt."""

    standings: tuple[Standing, ...]
    """How each problem stands, as of the last look."""

    stage_start: Point | None
    """Where the present stage began; None on the last one, which nothing follows."""

    length: Numbers
    """Step lengths of the last iteration."""

    checked_coef: Tensor | None = None
    """The user's coefficients (B, R, D) that the point was evaluated at, if it was checked."""

    first_trial: Tensor | None = None
    """First trial of the next line search, where nobody waits for its result."""

    rounding: float = math.inf
    """What the linear predictors that the stage began with may have added to the gradient by their
    rounding. 0 without coefficients, or where another stage had ended: they were never large."""

    queue: list[Look] = field(default_factory=list)
    """What nobody has looked at; empty when problems leave."""

    @property
    def objective(self) -> Objective:
        """What is minimised now."""
        return self.stages[0]

    @property
    def coef(self) -> Tensor:
        """The user's coefficients (B, R, D)."""
        if self.checked_coef is not None:
            return self.checked_coef
        return self.objective.outer(self.point.coef).to(self.stages[-1].dtype)

    @property
    def is_stand_in(self) -> bool:
        """Whether that is a stand-in."""
        return len(self.stages) > 1

    @property
    def is_done(self) -> bool:
        """Whether every problem is done, at least on this stage."""
        return all(standing.is_done for standing in self.standings)


def fetched(state: State[M], queue: list[Look]) -> list[Look]:
    """Bring numbers to the host, in one transfer."""
    if state.objective.is_attended or not queue:
        return [Look(*map(on_host, look)) for look in queue]
    stacked = torch.stack([torch.stack([*look]) for look in queue])
    return [Look(*map(tuple, look)) for look in stacked.tolist()]
