"""A weighted sample of rows, and the second moments of the columns over it.

References
----------
.. [1] Cohen, Lee, Musco, Musco, Peng & Sidford, Uniform sampling for matrix approximation,
   ITCS 2015: rows drawn by overestimates of their leverage approximate the whole matrix. The
   estimates here are those of a diagonal matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from torchlogreg.curvature.symmetric import add_lower_, mirror_lower_
from torchlogreg.problem.objective import Objective
from torchlogreg.problem.products import chunks
from torchlogreg.problem.row_block import RowBlock
from torchlogreg.problem.rows import Rows, joined


def leverage(
    objective: Objective, weights: Sequence[Tensor], ridge: Tensor, n_rows: int
) -> tuple[Tensor | None, Tensor]:
    """Diagonal of the Hessian's blocks, and what each row adds to it.

    Returns the diagonal (B, R, D) without the penalty, and the sum of what a row adds to its
    entries, in units of them, (B, R, n), from the rows' weights (B, R, n). None and the weights
    if all rows are taken.
    """
    weight, rows = joined(weights), objective.rows
    if rows.n_rows <= n_rows:
        return None, weight
    (squares,) = rows.sum(lambda block, part: (block.squares(part.flatten(0, 1)),), weights)
    diagonal = squares.view(*weight.shape[:-1], -1)
    scale = torch.where(diagonal > 0, 1 / (diagonal + ridge), 0).flatten(0, 1)
    norms = joined([block.square_norms(scale) for block in rows])
    return diagonal, norms.view_as(weight).mul_(weight)


def draw(
    rows: Rows, weight: Tensor, score: Tensor, n_rows: int, generator: torch.Generator
) -> tuple[Tensor | None, Tensor]:
    """Draw ``n_rows`` rows at most, on average, half by weight (n,) and half by score (n,).

    Every process draws from its own rows. Returns their index, None for all of them, and their
    weights over their probabilities.
    """
    if rows.n_rows <= n_rows:
        return None, weight
    total_weight, total_score = rows.group.total(weight.sum(), score.sum())
    share = weight * (0.5 * n_rows / total_weight)
    probability = share.addcmul_(score, 0.5 * n_rows / total_score)
    uniform = torch.rand(
        len(weight), generator=generator, device=generator.device, dtype=weight.dtype
    )
    index = (uniform.to(weight.device) < probability).nonzero().squeeze(-1)
    return index, weight[index] / probability[index].clamp(max=1)


def second_moments(rows: Rows, index: Tensor | None, weight: Tensor) -> Tensor:
    """Weighted second moments (D, D) of the columns over the rows of an index, or over all."""

    def part(block: RowBlock, index: Tensor | None, weight: Tensor) -> tuple[Tensor]:
        moments, root = weight.new_zeros(block.n_columns, block.n_columns), weight.sqrt()
        some = list(chunks(len(weight), block.n_columns, block.chunk_entries))
        buffer = weight.new_empty(some[0].stop * block.n_columns) if some else None
        for rows in some:
            design = block.design(rows if index is None else index[rows], buffer)
            # A view of X must not be changed.
            scaled = torch.mul if index is None else torch.Tensor.mul_
            add_lower_(moments, scaled(design, root[rows]))
        return (moments,)

    return _summed(rows, index, weight, part)


def moments_of(rows: Rows, index: Tensor | None, weight: Tensor, columns: Tensor) -> Tensor:
    """The same (p, p) for some columns, of rising index.

    The other columns of sparse data are not made dense.
    """

    def part(block: RowBlock, index: Tensor | None, weight: Tensor) -> tuple[Tensor]:
        moments, root = weight.new_zeros(len(columns), len(columns)), weight.sqrt()
        for place, some in block.some_columns(columns, len(columns), index):
            add_lower_(moments, some * root[place])
        return (moments,)

    return _summed(rows, index, weight, part)


def _summed(
    rows: Rows,
    index: Tensor | None,
    weight: Tensor,
    part: Callable[[RowBlock, Tensor | None, Tensor], tuple[Tensor]],
) -> Tensor:
    """Add up what the blocks have below the diagonal."""
    places = [None] * len(rows) if index is None else rows.locate(index)
    sizes = [b.n_rows if i is None else len(i) for b, i in zip(rows, places, strict=True)]
    (moments,) = rows.sum(part, places, weight.split(sizes))
    return mirror_lower_(moments)
