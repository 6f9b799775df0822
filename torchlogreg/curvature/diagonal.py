"""One number for every coefficient."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from torchlogreg.curvature.base import Curvature
from torchlogreg.problem.objective import Objective
from torchlogreg.problem.points import Point


@dataclass(frozen=True, eq=False)
class Diagonal(Curvature):
    r"""The diagonal of the Hessian: what the scales of the columns need.

    As for :class:`~torchlogreg.curvature.Blocks`, steps sum to zero over the outputs:
    :math:`s_{rj} = (g_{rj} - \mu_j) / h_{rj}` with
    :math:`\mu_j = \sum_r (g_{rj} / h_{rj}) / \sum_r (1 / h_{rj})`.
    """

    diagonal: Tensor
    """Diagonal of every output, shape (1 or B, R, D)."""

    @classmethod
    def at(cls, objective: Objective, point: Point) -> Self:
        """Return the exact diagonal at a point; it costs a pass over the data."""
        # Without coefficients all outputs of a row are alike.
        outputs = slice(None) if point.coef.any() else slice(1)
        weights = [part[:, outputs] for part in objective.row_curvature(point)]
        (squares,) = objective.rows.sum(lambda b, w: (b.squares(w.flatten(0, 1)),), weights)
        diagonal = squares.view(*weights[0].shape[:2], -1)
        return cls(diagonal.expand(-1, point.coef.shape[1], -1))

    @cached_property
    def inverse(self) -> Tensor:
        """Inverse of every entry; 0 for a column of zeros, which does not move."""
        diagonal = self.diagonal if self.ridge is None else self.diagonal + self.ridge
        return torch.where(diagonal > torch.finfo(diagonal.dtype).tiny, 1 / diagonal, 0)

    @cached_property
    def multiplier(self) -> Tensor:
        """Inverse of the sum of the inverses, shape (1 or B, 1, D)."""
        total = self.inverse.sum(1, keepdim=True)
        return torch.where(total > 0, 1 / total, 0)

    def scaled(self, factor: Tensor) -> Self:
        """Return the same diagonal, every output's times a factor (B, R, 1)."""
        return self.evolved(diagonal=self.diagonal * factor)

    def solve(self, g: Tensor) -> Tensor:
        """A step s with H s = g, apart from what all outputs have in common."""
        step = self.inverse * g
        if self.diagonal.shape[1] > 1:
            step -= self.inverse * (self.multiplier * step.sum(1, keepdim=True))
        return step

    def _multiply(self, v: Tensor) -> Tensor:
        return self.diagonal * v
