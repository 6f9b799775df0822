"""Curvature that is kept along a path of penalties."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from torchlogreg.curvature import Blocks, Curvature
from torchlogreg.optim.choice import SampledCurvature
from torchlogreg.problem.objective import Objective
from torchlogreg.problem.points import Point

KEPT = 2
"""Quality that a curvature of another penalty counts as."""


@dataclass(frozen=True)
class KeptCurvature(SampledCurvature):
    """The same along a path of penalties: the blocks of one serve the next ones, too.

    Only their penalty is another, and they follow the mean curvature of the rows. Fresh ones are
    built when they are due, as a better quality. All problems of a batch share those of the last.

    Parameters
    ----------
    kept : dict
        Where the blocks are, and the mean curvature for which they were built.
    """

    is_shared: bool = True
    kept: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def cost(self, objective: Objective, point: Point, quality: int) -> float:
        """Return how many iterations take as long as to build that quality, or to invert it."""
        if not self._serves(point, quality):
            return super().cost(objective, point, quality)
        B, R, D = point.coef.shape
        return R * D**3 * self.inverse_factor / self._iteration(objective, B * R)

    def _loss(
        self, objective: Objective, point: Point, generator: torch.Generator, quality: int, n: int
    ) -> Curvature:
        """Approximate the Hessian of the loss, by what is kept if that will do."""
        mean = objective.mean_curvature(objective.curvature(point)).unsqueeze(-1)
        if self._serves(point, quality):
            return Blocks(self.kept["matrices"] * (mean / self.kept["mean"]))
        loss = super()._loss(objective, point, generator, quality, n)
        if isinstance(loss, Blocks):
            self.kept.update(matrices=loss.matrices, mean=mean)
            return Blocks(loss.matrices.clone())  # what is inverted is lost
        return loss

    def _serves(self, point: Point, quality: int) -> bool:
        matrices = self.kept.get("matrices")
        return quality == KEPT and matrices is not None and matrices.dtype == point.coef.dtype
