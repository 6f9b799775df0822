"""A matrix for every output."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from torchlogreg.curvature.base import Curvature, with_ridge
from torchlogreg.curvature.row_sample import draw, leverage, second_moments
from torchlogreg.curvature.symmetric import invert_, multiply, multiply_all, set_diagonal_
from torchlogreg.problem.objective import Objective
from torchlogreg.problem.points import Point
from torchlogreg.problem.rows import joined


@dataclass(frozen=True, eq=False)
class Blocks(Curvature):
    r"""The diagonal blocks of the Hessian, one for every output.

    The block of output r is :math:`\sum_i w_i p_{ir}(1 - p_{ir}) x_i x_i^\top`. Adding the same
    vector to the coefficients of all outputs changes no probability, which the blocks do not know.
    Steps are therefore restricted to those that sum to zero over the outputs:
    :math:`s_r = H_r^{-1}(g_r - \mu)` with the multiplier
    :math:`\mu = (\sum_r H_r^{-1})^{-1} \sum_r H_r^{-1} g_r` of that constraint.
    """

    matrices: Tensor
    """The blocks without ``ridge``, shape (1 or B, R, D, D)."""

    @classmethod
    def sampled(
        cls, objective: Objective, point: Point, generator: torch.Generator, n_rows: int
    ) -> Self:
        """Estimate the blocks at a point from ``n_rows`` rows each, or fewer."""
        (B, R, D), rows = point.coef.shape, objective.rows
        row_curvature = objective.row_curvature(point)
        exact, score = leverage(objective, row_curvature, objective.ridge, n_rows)
        curvature = joined(row_curvature)
        matrices = point.coef.new_empty(B, R, D, D)
        for b in range(B):
            for r in range(R):
                sample = draw(rows, curvature[b, r], score[b, r], n_rows, generator)
                matrices[b, r] = second_moments(rows, *sample)
                if exact is not None:
                    set_diagonal_(matrices[b, r], exact[b, r])
        return cls(matrices)

    @cached_property
    def inverse(self) -> InverseBlocks:
        """Inverse of every block."""
        return InverseBlocks(invert_(with_ridge(self.matrices, self.ridge)))

    def solve(self, g: Tensor) -> Tensor:
        """A step s with H s = g, apart from what all outputs have in common."""
        return self.inverse.solve(g)

    def into_inverse(self) -> InverseBlocks:
        """Return the inverse of every block in the memory of the blocks."""
        return InverseBlocks(invert_(with_ridge(self.matrices, self.ridge, in_place=True)))

    def _multiply(self, v: Tensor) -> Tensor:
        return multiply(self.matrices, v)


@dataclass(frozen=True, eq=False)
class InverseBlocks(Curvature):
    """The diagonal blocks of the Hessian by their inverses: half the memory of :class:`Blocks`."""

    matrices: Tensor
    """Inverse of every block, shape (1 or B, R, D, D)."""

    @cached_property
    def multiplier(self) -> Tensor | None:
        """Inverse of the sum of the inverses, shape (1 or B, D, D); None for a single output."""
        return invert_(self.matrices.sum(1)) if self.matrices.shape[1] > 1 else None

    @cached_property
    def blocks(self) -> Blocks:
        """The blocks themselves, as exact as two inversions leave them: seldom asked for."""
        return Blocks(invert_(self.matrices.clone()))

    def solve(self, g: Tensor) -> Tensor:
        """A step s with H s = g, apart from what all outputs have in common."""
        step = multiply(self.matrices, g)
        if self.multiplier is not None:
            mu = multiply(self.multiplier, step.sum(1))
            step -= multiply_all(self.matrices, mu)
        return step

    def shifted(self, diagonal: Tensor) -> Curvature:
        """H plus a diagonal (1 or B, 1, D) that is the same for every output."""
        return self.blocks.shifted(diagonal)

    def _multiply(self, v: Tensor) -> Tensor:
        return self.blocks.multiply(v)
