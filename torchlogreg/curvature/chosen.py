"""The rows and columns of a Hessian that belong to some of the coefficients."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from torchlogreg.curvature.symmetric import add_lower_, mirror_lower_
from torchlogreg.problem.objective import Objective
from torchlogreg.problem.points import Point
from torchlogreg.problem.row_block import RowBlock


def chosen_hessian(objective: Objective, point: Point, index: Tensor) -> Tensor:
    r"""Hessian of the loss and the ridge penalty in some coefficients, shape (p, p).

    Parameters
    ----------
    objective : Objective
        Of a single problem.
    point : Point
        Where.
    index : Tensor of shape (p,)
        Rising index of the coefficients (1, R, D), flattened.

    Notes
    -----
    With the columns :math:`z_{rj} = c_r \circ x_j`, where :math:`c_r` are the curvatures of the
    rows, this is :math:`-Z \mathrm{diag}(1 / w) Z^\top`, if the outputs compete, plus
    :math:`z_{rj}^\top x_k` for coefficients of the same output. No more than a chunk of Z is formed
    at a time.
    """
    R, D = point.coef.shape[1:]
    output, column = index // D, index % D
    used, place = column.unique(return_inverse=True)
    bounds = torch.searchsorted(output, torch.arange(R + 1, device=index.device)).tolist()

    def part(block: RowBlock, residual: Tensor) -> tuple[Tensor, Tensor]:
        curvature = block.curvature(objective.family, residual)[0]
        root = block.minus_inverse[0].neg().sqrt_()
        own = curvature.new_zeros(len(index), len(index))
        joint = torch.zeros_like(own)
        for rows, columns in block.some_columns(used, len(index)):
            for r, (start, stop) in enumerate(pairwise(bounds)):
                some = columns[place[start:stop]]
                half = some * curvature[r, rows].sqrt()
                add_lower_(own[start:stop, start:stop], half)
            if objective.family.outputs_compete:
                scaled = curvature[:, rows] * root[:, rows]
                add_lower_(joint, columns[place] * scaled[output])
        return own, joint

    own, joint = objective.rows.sum(part, point.residual)
    matrix = mirror_lower_(own.sub_(joint))
    matrix.diagonal().add_(objective.ridge[0, 0, column])
    return matrix
