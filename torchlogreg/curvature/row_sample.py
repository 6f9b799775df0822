"""A weighted sample of rows, and the second moments of the columns over it.

References
----------
.. [1] Cohen, Lee, Musco, Musco, Peng & Sidford, Uniform sampling for matrix approximation,
   ITCS 2015: rows drawn by overestimates of their leverage approximate the whole matrix. The
   estimates here are those of a diagonal matrix.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from torchlogreg.curvature.symmetric import add_lower_
from torchlogreg.problem.objective import Objective
from torchlogreg.problem.products import chunks
from torchlogreg.problem.rows import RowBlock, by_block


def joined(parts: Sequence[Tensor]) -> Tensor:
    """Join what the blocks have for their rows, without a copy of a single one."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=-1)


def leverage(
    objective: Objective, weights: Sequence[Tensor], strength: Tensor, n_rows: int
) -> tuple[Tensor | None, Tensor]:
    """Diagonal of the Hessian's blocks, and what each row adds to it.

    Returns the diagonal (B, R, D) without the penalty, and the sum of what a row adds to its
    entries, in units of them, (B, R, n), from the rows' weights (B, R, n). None and the weights
    if all rows are taken.
    """
    weight = joined(weights)
    if objective.n_rows <= n_rows:
        return None, weight
    pairs = list(zip(objective.blocks, weights, strict=True))
    squares = torch.stack([block.squares(part.flatten(0, 1)) for block, part in pairs]).sum(0)
    diagonal = squares.view(*weight.shape[:-1], -1)
    scale = torch.where(diagonal > 0, 1 / (diagonal + strength), 0).flatten(0, 1)
    norms = joined([block.square_norms(scale) for block, _ in pairs])
    return diagonal, norms.view_as(weight).mul_(weight)


def draw(
    weight: Tensor, score: Tensor, n_rows: int, generator: torch.Generator
) -> tuple[Tensor | None, Tensor]:
    """Draw ``n_rows`` rows at most, on average, half by weight (n,) and half by score (n,).

    Returns their index, None for all of them, and their weights over their probabilities.
    """
    if len(weight) <= n_rows:
        return None, weight
    probability = 0.5 * n_rows * (weight / weight.sum() + score / score.sum())
    uniform = torch.rand(
        len(weight), generator=generator, device=generator.device, dtype=weight.dtype
    )
    index = (uniform.to(weight.device) < probability).nonzero().squeeze(-1)
    return index, weight[index] / probability[index].clamp(max=1)


def second_moments(
    blocks: Sequence[RowBlock], index: Tensor | None, weight: Tensor, *, out: Tensor
) -> Tensor:
    """Weighted second moments (D, D) of the columns over some rows."""
    out.zero_()
    pieces: list[tuple[RowBlock, slice | Tensor]]
    if index is None:
        pieces = [(block, part) for block in blocks for part in chunks(block.n_rows, len(out))]
    else:
        pieces = [
            (block, some[part])
            for block, some in by_block(blocks, index)
            for part in chunks(len(some), len(out))
        ]
    start = 0
    for block, rows in pieces:
        columns = block.design(rows)
        part = weight[start : start + columns.shape[1]]
        add_lower_(out, columns * part, columns.T)
        start += columns.shape[1]
    out.copy_(out.tril() + out.tril(-1).T)
    return out
