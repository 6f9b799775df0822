"""A matrix for every output."""

from __future__ import annotations

import torch
from torch import Tensor

from torchlogreg.curvature.row_sample import draw, joined, leverage, second_moments
from torchlogreg.curvature.symmetric import invert_, multiply, set_diagonal_
from torchlogreg.problem.objective import Objective
from torchlogreg.problem.points import Point


class Blocks:
    r"""The diagonal blocks of the Hessian, one for every output.

    The block of output r is :math:`\sum_i w_i p_{ir}(1 - p_{ir}) x_i x_i^\top` plus the
    penalty. Adding the same vector to the coefficients of all outputs changes no probability,
    which the blocks do not know. Their inverse is therefore restricted to the steps that sum to
    zero over the outputs: :math:`s_r = H_r^{-1}(g_r - \mu)` with the multiplier
    :math:`\mu = (\sum_r H_r^{-1})^{-1} \sum_r H_r^{-1} g_r` of that constraint.
    """

    def __init__(
        self, objective: Objective, point: Point, generator: torch.Generator, n_rows: int
    ) -> None:
        B, R, D = point.coef.shape
        row_curvature = objective.row_curvature(point)
        exact, score = leverage(objective, row_curvature, objective.penalty.strength, n_rows)
        curvature = joined(row_curvature)
        self.inverse = point.coef.new_empty(B, R, D, D)
        """Inverse of every block, shape (B, R, D, D)."""
        for b in range(B):
            for r in range(R):
                block = self.inverse[b, r]
                index, weight = draw(curvature[b, r], score[b, r], n_rows, generator)
                second_moments(objective.blocks, index, weight, out=block)
                if exact is not None:
                    set_diagonal_(block, exact[b, r])
                block.diagonal().add_(objective.penalty.strength[b, 0])
                invert_(block)
        self.multiplier = invert_(self.inverse.sum(1)) if R > 1 else None
        """Inverse of the sum of the inverses, shape (B, D, D)."""

    def __call__(self, grad: Tensor) -> Tensor:
        """Apply the inverse."""
        step = multiply(self.inverse, grad)
        if self.multiplier is not None:
            mu = multiply(self.multiplier, step.sum(1))
            step -= multiply(self.inverse, mu.unsqueeze(1).expand_as(step))
        return step
