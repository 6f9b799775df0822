"""Objectives that differ by their penalty, minimised one after the other, or some at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from torchlogreg.optim.algorithm import Algorithm
from torchlogreg.optim.minimise import Solution, minimise
from torchlogreg.optim.watcher import Watcher
from torchlogreg.problem.objective import Objective
from torchlogreg.problem.penalties import Penalty


@dataclass(frozen=True)
class Sweep:
    r"""A way along ever weaker penalties.

    Every minimiser is where the search for the next one begins; where the penalty is smooth, moved
    on by as much as the last two are apart, in units of :math:`\log C`.

    Parameters
    ----------
    algorithm : Algorithm
        Finds the minimisers.
    max_iter : int
        Most iterations for each of them.
    n_at_once : int, default=1
        Penalties that are a batch: their iterations share calls and products with X, but the
        weakest one begins farther away.
    """

    algorithm: Algorithm[Any]
    max_iter: int
    n_at_once: int = 1

    def __call__(
        self,
        objective: Objective,
        penalties: Sequence[Penalty],
        Cs: Sequence[float],
        coef: Tensor,
        new_watcher: Callable[[], Watcher | None] = lambda: None,
    ) -> Iterator[Solution]:
        """Yield the minimisers for each penalty.

        Parameters
        ----------
        objective : Objective
            Of B problems, whose penalty is replaced.
        penalties : sequence of Penalty
            Of these B problems, in the order in which they are gone through.
        Cs : sequence of float
            Inverse strengths, rising, for the distances between penalties.
        coef : Tensor of shape (B, R, D)
            Where to begin.
        new_watcher : callable, optional
            Asked before every batch who is told of its iterations.

        Yields
        ------
        solution : Solution
            Of the B problems, for one penalty after the other.
        """
        n_problems = len(coef)
        known: list[tuple[float, Tensor]] = [(-math.inf, coef)]
        for first in range(0, len(Cs), self.n_at_once):
            some = range(first, min(first + self.n_at_once, len(Cs)))
            penalty, rows = Penalty.joined([penalties[place] for place in some]), objective.rows
            if len(some) > 1:
                rows = rows.take(list(range(n_problems)) * len(some))
            batch = replace(objective, rows=rows, penalty=penalty)
            starts = [_continued(known, math.log(Cs[p]), penalty.l1 is None) for p in some]
            solution = minimise(
                batch, torch.cat(starts), self.algorithm, self.max_iter, watcher=new_watcher()
            )
            for number, place in enumerate(some):
                part = solution.take(range(number * n_problems, (number + 1) * n_problems))
                known = [known[-1], (math.log(Cs[place]), part.coef)]
                yield part


def _continued(known: list[tuple[float, Tensor]], place: float, is_smooth: bool) -> Tensor:
    """Where coefficients will be that were last known at two places, at most as far again."""
    (first, before), (last, now) = known[0], known[-1]
    if not (is_smooth and -math.inf < first < last < math.inf):
        return now
    return torch.lerp(before, now, 1 + min((place - last) / (last - first), 1.0))
