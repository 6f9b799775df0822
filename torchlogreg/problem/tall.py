"""Products with a tall matrix in double precision on a CPU: a batch, of blocks of its rows.

A product with a few vectors is as fast as the matrix is read. MKL reads it with one thread if there
is one vector, and gives a sum over many rows to one thread, too. It gives the products of a batch
to all threads.
"""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 512
"""Fewest rows of a block: with many more, its results would not stay in a cache."""

_MOST_VECTORS = 32
"""Most vectors that a batch is for: with more of them the reading counts less."""

_ENTRIES = 2e6
"""Fewest entries of a matrix for which a batch pays."""

_ENTRIES_BEYOND_CACHES = 4e6
"""The same where it only pays while the memory is waited for."""

_WIDE = 64
"""Fewest columns for which the blocks are best the left factors, if there are few vectors."""

_COLUMNS_PER_VECTOR = 8
"""Columns for each vector: the results, written twice, are to be small next to the matrix."""


def suits_blocks(matrix: Tensor) -> bool:
    """Whether products with a matrix may be taken block by block."""
    return bool(
        matrix.dtype == torch.float64
        and matrix.numel() >= _ENTRIES
        and len(matrix) >= 2 * BLOCK
        and matrix.device.type == "cpu"
        and matrix.is_contiguous()
        and torch.backends.mkl.is_available()
        and not torch.compiler.is_compiling()
    )


def sum_of_rows(weights: Tensor, matrix: Tensor) -> Tensor:
    """Add up the rows of a tall matrix (n, d) with weights (R, n): (R, d)."""
    if len(weights) > _MOST_VECTORS:
        return weights @ matrix
    blocks, rest = _blocks(matrix)
    done, left = weights.tensor_split([len(matrix) - len(rest)], dim=1)
    total = torch.bmm(done.unflatten(1, blocks.shape[:2]).transpose(0, 1), blocks).sum(0)
    total += left @ rest
    return total


def products_with_rows(coef: Tensor, matrix: Tensor) -> Tensor:
    """Multiply coefficients (R, d) by every row of a tall matrix (n, d): (R, n)."""
    R, d = coef.shape
    is_slow = d >= _WIDE and matrix.numel() >= _ENTRIES_BEYOND_CACHES
    if R != 1 and not (is_slow and 0 < _COLUMNS_PER_VECTOR * R <= d):
        return coef @ matrix.T
    blocks, rest = _blocks(matrix)
    n_blocks, n_rows, _ = blocks.shape
    if R <= 3 and d >= _WIDE:
        done = torch.bmm(blocks, coef.T.expand(n_blocks, d, R)).mT
    else:
        done = torch.bmm(coef.expand(n_blocks, R, d), blocks.mT)
    product = coef.new_empty(R, len(matrix))
    whole, left = product.tensor_split([n_blocks * n_rows], dim=1)
    whole.unflatten(1, (n_blocks, n_rows)).copy_(done.transpose(0, 1))
    left.copy_(coef @ rest.T)
    return product


def _blocks(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return the blocks of a matrix, equally large, and the rows that are left over."""
    n_blocks = len(matrix) // BLOCK
    n_rows = len(matrix) // n_blocks
    done, rest = matrix.tensor_split([n_blocks * n_rows])
    return done.view(n_blocks, n_rows, -1), rest
