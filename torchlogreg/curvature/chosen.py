"""The rows and columns of a Hessian that belong to some of the coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from torchlogreg.curvature.row_sample import second_moments
from torchlogreg.curvature.symmetric import add_lower_, mirror_lower_
from torchlogreg.problem.objective import Objective
from torchlogreg.problem.points import Point
from torchlogreg.problem.products import sparse_gram
from torchlogreg.problem.row_block import RowBlock, select_rows

GAUGE = 1e-4
"""Curvature that models have along the gauge, in units of the mean of the diagonal."""


def chosen_hessian(
    objective: Objective, point: Point, index: Tensor, *, floor: float = 0.0
) -> Tensor:
    r"""Hessian of the loss in some coefficients, shape (p, p).

    Parameters
    ----------
    objective : Objective
        Of a single problem.
    point : Point
        Where.
    index : Tensor of shape (p,)
        Rising index of the coefficients (1, R, D), flattened.
    floor : float, default=0.0
        What is added to the curvature of every row for every output, in units of its weight.

    Notes
    -----
    With the columns :math:`z_{rj} = c_r \circ x_j`, where :math:`c_r` are the curvatures of the
    rows, this is :math:`-Z \mathrm{diag}(1 / w) Z^\top`, if the outputs compete, plus
    :math:`z_{rj}^\top x_k` for coefficients of the same output. Of dense columns no more than
    a chunk of Z is formed at a time; sparse ones are multiplied as they are.
    """
    R, D = point.coef.shape[1:]
    output, column = index // D, index % D
    used, place = column.unique(return_inverse=True)
    bounds = torch.searchsorted(output, torch.arange(R + 1, device=index.device)).tolist()

    def part(block: RowBlock, residual: Tensor) -> tuple[Tensor, ...]:
        curvature = block.curvature(objective.family, residual)[0]
        own_root = torch.add(curvature, block.weight, alpha=floor).sqrt_()
        joint_root = None
        if objective.family.outputs_compete:
            joint_root = curvature * block.minus_inverse[0].neg().sqrt_()
        columns = block.sparse_columns(used)
        if columns is not None:
            return _sparse_parts(columns, place, output, bounds, own_root, joint_root)
        own = curvature.new_zeros(len(index), len(index))
        joint = None if joint_root is None else torch.zeros_like(own)
        for rows, some in block.some_columns(used, len(index)):
            scaled = some[place]
            for r, (start, stop) in enumerate(pairwise(bounds)):
                of_output = scaled[start:stop]
                add_lower_(own[start:stop, start:stop], of_output * own_root[r, rows])
                if joint_root is not None:
                    of_output *= joint_root[r, rows]
            if joint is not None:
                add_lower_(joint, scaled)
        return (own,) if joint is None else (own, joint)

    own, *joint = objective.rows.sum(part, point.residual)
    for square in joint:
        own -= square
    return mirror_lower_(own)


def _sparse_parts(
    columns: Tensor,
    place: Tensor,
    output: Tensor,
    bounds: list[int],
    own_root: Tensor,
    joint_root: Tensor | None,
) -> tuple[Tensor, ...]:
    """What sparse columns, in CSR format, contribute to a Hessian in some coefficients."""
    own = own_root.new_zeros(len(place), len(place))
    for r, (start, stop) in enumerate(pairwise(bounds)):
        some = select_rows(columns, place[start:stop])
        some.values().mul_(own_root[r, some.col_indices()])
        own[start:stop, start:stop] = sparse_gram(some)
    if joint_root is None:
        return (own,)
    whole = select_rows(columns, place)
    counts = whole.crow_indices().diff()
    whole.values().mul_(joint_root[output.repeat_interleave(counts), whole.col_indices()])
    return own, sparse_gram(whole)


def add_floor_(matrices: Tensor, objective: Objective, floors: Sequence[float]) -> None:
    """Add a floor of each problem to the curvature of rows, in Hessians (B, P, P)."""
    weight = objective.rows.weight.expand(len(matrices), -1)
    for matrix, one, floor in zip(matrices, weight, floors, strict=True):
        if floor > 0:
            moments, D = second_moments(objective.rows, None, floor * one), objective.rows.n_columns
            for start in range(0, len(matrix), D):
                matrix[start : start + D, start : start + D] += moments


def add_penalty_(matrix: Tensor, ridge: Tensor, column: Tensor, n_outputs: int) -> None:
    """Add the ridge of each column (D,) to a Hessian in coefficients of these columns (p,).

    If there are several outputs, the gauge is bent, too.
    """
    matrix.diagonal().add_(ridge[column])
    if n_outputs > 1:
        bend_gauge_(matrix, column, n_outputs)


def bend_gauge_(matrix: Tensor, column: Tensor, n_outputs: int) -> None:
    """Add a curvature along the gauge to a Hessian in coefficients of these columns (p,).

    The loss has none there, so that models would go on without end. How far a column is shifted
    for all outputs alike is found afterwards, exactly.
    """
    count = torch.bincount(column)  # 0 for columns that have no coefficient, nor are looked up
    total = matrix.new_zeros(len(count)).index_add_(0, column, matrix.diagonal())
    mean = GAUGE * total / count / n_outputs
    is_same = column.unsqueeze(0) == column.unsqueeze(1)
    matrix += torch.where(is_same, mean[column], 0)
