"""One number for every coefficient."""

from __future__ import annotations

import torch
from torch import Tensor

from torchlogreg.problem.objective import Objective
from torchlogreg.problem.points import Point


class Diagonal:
    r"""The exact diagonal of the Hessian: what the scales of the columns need.

    It costs a pass over the data. As for :class:`~torchlogreg.curvature.Blocks`, the
    inverse is restricted to the steps that sum to zero over the outputs:
    :math:`s_{rj} = (g_{rj} - \mu_j) / h_{rj}` with
    :math:`\mu_j = \sum_r (g_{rj} / h_{rj}) / \sum_r (1 / h_{rj})`.
    """

    def __init__(self, objective: Objective, point: Point) -> None:
        # Without coefficients all outputs of a row are alike.
        outputs = slice(None) if point.coef.any() else slice(1)
        weights = [part[:, outputs] for part in objective.row_curvature(point)]
        pairs = zip(objective.blocks, weights, strict=True)
        squares = torch.stack([block.squares(part.flatten(0, 1)) for block, part in pairs]).sum(0)
        diagonal = squares.view(*weights[0].shape[:2], -1) + objective.penalty.strength
        tiny = torch.finfo(diagonal.dtype).tiny
        inverse = torch.where(diagonal > tiny, 1 / diagonal, 0)  # a column of zeros does not move
        self.inverse = inverse.expand_as(point.coef)
        """Inverse of every entry, shape (B, R, D)."""
        total = self.inverse.sum(1, keepdim=True)
        is_gauged = point.coef.shape[1] > 1
        self.multiplier = torch.where(total > 0, 1 / total, 0) if is_gauged else None
        """Inverse of the sum of the inverses, shape (B, 1, D)."""

    def __call__(self, grad: Tensor) -> Tensor:
        """Apply the inverse."""
        step = self.inverse * grad
        if self.multiplier is not None:
            step -= self.inverse * (self.multiplier * step.sum(1, keepdim=True))
        return step
