"""What the objective asks of the data: rows, block by block.

Shapes follow the legend in :mod:`torchlogreg.problem.objective`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor


class RowBlock(Protocol):
    """Some rows of the data; what the objective asks of them."""

    @property
    def targets(self) -> Tensor:
        """Targets (n,) of these rows."""

    @property
    def weight(self) -> Tensor:
        """Weights (1 or B, n) of these rows; over all blocks they sum to one."""

    @property
    def n_rows(self) -> int:
        """Number n of rows."""

    @property
    def n_columns(self) -> int:
        """Number D of coefficients for each output."""

    @property
    def n_entries(self) -> int:
        """Number of stored entries of X."""

    @property
    def is_dense(self) -> bool:
        """Whether X is dense."""

    def predictor(self, coef: Tensor) -> Tensor:
        """Linear predictor (B, R, n) for coefficients (B, R, D)."""

    def adjoint(self, residual: Tensor) -> Tensor:
        """Residual times the columns, of each problem: (B, R, n) to (B, R, D)."""

    def squares(self, weight: Tensor) -> Tensor:
        """Weights times the squares of the columns: (R, n) to (R, D)."""

    def square_norms(self, scale: Tensor) -> Tensor:
        """Squares of each row's entries times a scale, summed: (R, D) to (R, n)."""

    def design(self, rows: slice | Tensor) -> Tensor:
        """Dense columns (D, m) of m rows, given as a slice or by index."""

    def take(self, index: Tensor) -> RowBlock:
        """Copy the rows of that index, with their weights as they are."""

    def reweight(self, factor: Tensor) -> RowBlock:
        """Return the same rows, with the weights of each problem times a factor (1 or B,)."""

    def to(self, dtype: torch.dtype) -> RowBlock:
        """Return the same rows, whose results are of another dtype."""

    def pieces(self, dtype: torch.dtype) -> Iterator[RowBlock]:
        """Yield all rows, some at a time, with X itself in another dtype."""


def by_block(blocks: Sequence[RowBlock], index: Tensor) -> list[tuple[RowBlock, Tensor]]:
    """Split an index of all rows into one for each block."""
    pieces = []
    start = 0
    for block in blocks:
        inside = (index >= start) & (index < start + block.n_rows)
        pieces.append((block, index[inside] - start))
        start += block.n_rows
    return pieces
