"""The one loop, over B problems: those that are done leave the batch.

What an iteration is stands in :mod:`torchlogreg.optim.iteration`. :func:`minimise` runs to the end;
the optimizers for torch go step by step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic

import numpy as np
import torch
from torch import Tensor

from torchlogreg.optim.algorithm import Algorithm, M
from torchlogreg.optim.checks import concluded
from torchlogreg.optim.iteration import begin, step
from torchlogreg.optim.state import Look
from torchlogreg.optim.stopping import Standing
from torchlogreg.optim.watcher import Watcher
from torchlogreg.problem.batched import Batched, Places
from torchlogreg.problem.objective import Objective
from torchlogreg.problem.threads import share_threads


@dataclass(frozen=True, eq=False)
class Solution(Batched):
    """What a minimisation has found, for B problems."""

    coef: Tensor
    """The user's coefficients (B, R, D)."""

    value: np.ndarray
    """Objective (B,)."""

    optimality: np.ndarray
    """Gradient norm (B,): the largest absolute value."""

    suboptimality: np.ndarray
    """Estimate (B,) of f - f*; nan if there is none."""

    n_iter: np.ndarray
    """Iterations (B,) that each problem has made."""

    status: tuple[str, ...]
    """Of each problem: "converged", with a gradient norm of at most ``tol``; "stalled"; or
    "unfinished", when the iterations ran out."""

    @classmethod
    def joined(cls, parts: Sequence[Solution]) -> Solution:
        """Return what was found for the problems of several minimisations."""
        return cls(
            torch.cat([part.coef for part in parts]),
            np.concatenate([part.value for part in parts]),
            np.concatenate([part.optimality for part in parts]),
            np.concatenate([part.suboptimality for part in parts]),
            np.concatenate([part.n_iter for part in parts]),
            tuple([status for part in parts for status in part.status]),
        )


class Run(Generic[M]):
    """A minimisation of B problems under way.

    Parameters
    ----------
    objective : Objective
        What is minimised.
    coef : Tensor of shape (B, R, D)
        The user's coefficients to begin at.
    algorithm : Algorithm
        Finds the directions.
    stored : mapping, optional
        What its memory had stored before a break.
    n_stages : int, optional
        Number of stages that were left then.
    look_every : int, default=1
        Iterations between two looks at the numbers. With more than 1, nobody waits for them.
    """

    def __init__(
        self,
        objective: Objective,
        coef: Tensor,
        algorithm: Algorithm[M],
        *,
        stored: Mapping[str, Any] | None = None,
        n_stages: int | None = None,
        look_every: int = 1,
    ) -> None:
        objective = objective if look_every == 1 else objective.unattended()
        stages = [objective]
        if algorithm.stages is not None:
            stages = algorithm.stages.of(objective, len(coef) * coef.shape[1])
        memory = algorithm.restored(stored or {}, coef, is_attended=objective.is_attended)
        standings = (Standing(),) * len(coef)
        self.look_every = look_every
        self.problems = list(range(len(coef)))
        """Which problems are in the batch: those that are not done, or the last that were."""
        self.standings = list(standings)
        self._left = coef
        """Coefficients of the problems that have left."""
        self.state = begin(
            stages[-(n_stages or len(stages)) :],
            objective.inner(coef),
            algorithm,
            memory,
            standings,
        )
        """Of these."""
        self.looks: list[Look] = []
        """Numbers of all problems after each of the iterations that the last step has looked at."""

    def step(self, algorithm: Algorithm[M]) -> None:
        """Make an iteration."""
        share_threads()
        self.state, looks = step(self.state, algorithm, self.look_every)
        self._write(looks)
        going = [place for place, s in enumerate(self.state.standings) if not s.is_final]
        if 0 < len(going) < len(self.problems):
            self._left = self.coef
            self.state = self.state.take(going)
            self.problems = [self.problems[place] for place in going]

    def conclude(self) -> None:
        """Look at what nobody has looked at, and evaluate exactly what has not been."""
        self.state, looks = concluded(self.state)
        self._write(looks)

    @property
    def coef(self) -> Tensor:
        """The user's coefficients (B, R, D)."""
        if len(self.problems) == len(self._left):
            return self.state.coef
        return Places(self.problems).put_(self._left.clone(), self.state.coef)

    @property
    def is_finished(self) -> bool:
        """Whether every problem is done for good."""
        return all(standing.is_final for standing in self.standings)

    def _write(self, looks: list[Look]) -> None:
        """Write down what the batch has come to."""
        if len(self.problems) == len(self.standings):
            self.looks, self.standings = looks, list(self.state.standings)
            return
        others = [s for b, s in enumerate(self.standings) if b not in self.problems]
        values, norms = zip(*((s.value, s.optimality) for s in others), strict=True)
        self.looks = [
            Look(look.values + values, look.norms + norms, look.lengths) for look in looks
        ]
        for b, standing in zip(self.problems, self.state.standings, strict=True):
            self.standings[b] = standing


def minimise(
    objective: Objective,
    coef: Tensor,
    algorithm: Algorithm[M],
    max_iter: int,
    *,
    is_checked: bool = True,
    watcher: Watcher | None = None,
) -> Solution:
    """Minimise B objectives, each until it is done or ``max_iter`` iterations are made.

    Parameters
    ----------
    objective, coef, algorithm
        As for :class:`~torchlogreg.optim.minimise.Run`.
    max_iter : int
        Most iterations.
    is_checked : bool, default=True
        Whether problems that are not done are also evaluated as exactly as can be.
    watcher : Watcher, optional
        Is told of every iteration, and may end with it.
    """
    run = Run(objective, coef, algorithm)
    for _ in range(max_iter):
        if watcher is not None:
            watcher.begin(run.coef)
        run.step(algorithm)
        is_ended = watcher is not None and watcher.end(run.coef)
        if is_ended or run.is_finished:
            break
    if watcher is not None:
        watcher.check(run.coef)
    if is_checked:
        run.conclude()
    if watcher is not None:
        watcher.close(run.coef)
    return Solution(
        run.coef,
        np.array([standing.value for standing in run.standings]),
        np.array([standing.optimality for standing in run.standings]),
        np.array([standing.gap for standing in run.standings]),
        np.array([standing.n_iter for standing in run.standings]),
        tuple([standing.status(algorithm.tol) for standing in run.standings]),
    )
