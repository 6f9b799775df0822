"""Minimising over the intercepts alone, which no row of X is needed for.

Shapes follow the legend in :mod:`torchlogreg.problem.objective`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from torchlogreg.problem.objective import Objective
from torchlogreg.problem.points import Point
from torchlogreg.problem.row_block import RowBlock

INTERCEPT_STEPS = 6
"""Most steps of Newton's method on the intercepts: it starts where they are nearly right."""


def polished(objective: Objective, point: Point) -> Tensor:
    """Minimise over the intercepts alone, by Newton's method: X is not read.

    It ends where the gradient is as small as sums of weights that are one altogether resolve.

    Returns inner coefficients (B, R, D). The gradient in the user's coefficients has the
    intercept's part in every entry, times the mean of the column.
    """
    if objective.rows.centre is None:
        return point.coef

    def part(block: RowBlock, eta: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient (B, R, 1) and Hessian (B, R, R) in the intercepts."""
        weight, family = block.wide_weight, objective.family
        _, residual = family.evaluate(eta, block.wide_targets, weight)
        curvature = block.curvature(family, residual)
        return residual.sum(-1, keepdim=True), family.summed_hessian(curvature, weight)

    shift = torch.zeros_like(point.coef[..., -1:])
    smallest = torch.full_like(shift[:, 0, 0], torch.inf)
    best = shift
    for _ in range(INTERCEPT_STEPS):
        grad, hessian = objective.rows.sum(part, [e + shift for e in point.eta])
        norm = grad.abs().amax((-2, -1))
        best = torch.where((norm < smallest)[:, None, None], shift, best)
        if (objective.agreed(norm) <= torch.finfo(norm.dtype).eps).all():
            break
        smallest = torch.minimum(norm, smallest)
        shift = shift - torch.linalg.pinv(hessian, hermitian=True) @ grad
    coef = torch.cat([point.coef[..., :-1], point.coef[..., -1:] + best], dim=-1)
    return objective.fix_gauge(coef)
