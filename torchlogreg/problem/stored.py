"""Rows that are not in memory: they are read whenever they are needed.

Shapes follow the legend in :mod:`torchlogreg.problem.objective`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from torchlogreg.problem.row_block import RowBlock


@dataclass(frozen=True, eq=False)
class Sample:
    """Some rows of a matrix, in memory."""

    X: Tensor
    """Their features (m, d), dense or CSR."""

    index: Tensor
    """Which they are, rising, (m,)."""

    factor: Tensor
    """What each of them stands for: one over the probability with which it was drawn, (m,)."""


class StoredMatrix(ABC):
    """A matrix in blocks of rows, in the place of a tensor."""

    sizes: list[int]
    """Number of rows of every block."""

    n_features: int
    """Number d of features."""

    n_entries: int
    """Number of stored entries."""

    dtype: torch.dtype
    """Of the entries."""

    layout: torch.layout
    """``torch.strided`` for dense blocks, or ``torch.sparse_csr``."""

    device: torch.device
    """Where blocks are brought."""

    sample: Sample
    """Some rows, drawn when the matrix was read for the first time."""

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and of features."""
        return sum(self.sizes), self.n_features

    @property
    def parts(self) -> list[StoredPart]:
        """The blocks, unread."""
        return [StoredPart(self, number) for number in range(len(self.sizes))]

    def __len__(self) -> int:
        """Return the number of rows."""
        return sum(self.sizes)

    @property
    @abstractmethod
    def n_busy_threads(self) -> int:
        """Threads that reading keeps busy."""

    @abstractmethod
    def load(self, number: int) -> RowBlock:
        """Read a block: its features, without targets and weights.

        They are in memory until another one is asked for. Blocks are best asked for in turn.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """Return a digest of the entries."""


@dataclass(frozen=True, eq=False)
class StoredPart:
    """Rows of one block of a stored matrix, unread."""

    matrix: StoredMatrix
    """All of the rows."""

    number: int
    """Which block it is."""

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and of features."""
        return self.matrix.sizes[self.number], self.matrix.n_features

    @property
    def dtype(self) -> torch.dtype:
        """Of the entries."""
        return self.matrix.dtype

    @property
    def layout(self) -> torch.layout:
        """Whether the rows are dense."""
        return self.matrix.layout


@dataclass(frozen=True, eq=False)
class StoredBlock(RowBlock):
    """Rows of one block of a stored matrix, with targets and weights, which are in memory."""

    X: StoredPart  # type: ignore[assignment]
    """Features (n, d), unread."""

    @property
    def loaded(self) -> RowBlock:
        """The same rows in memory."""
        return self.X.matrix.load(self.X.number).evolved(
            targets=self.targets,
            weight=self.weight,
            has_intercept=self.has_intercept,
            centre=self.centre,
            chunk_entries=self.chunk_entries,
        )

    @property
    def n_entries(self) -> int:
        """Number of stored entries of X, about."""
        matrix = self.X.matrix
        return matrix.n_entries * self.n_rows // max(len(matrix), 1)

    def predictor(self, coef: Tensor) -> Tensor:
        """Linear predictor (B, R, n)."""
        return self.loaded.predictor(coef)

    def adjoint(self, residual: Tensor) -> Tensor:
        """Residual times the columns: (B, R, n) to (B, R, D)."""
        return self.loaded.adjoint(residual)

    def squares(self, weight: Tensor) -> Tensor:
        """Weights (R, n) times the squares of the columns, shape (R, D)."""
        return self.loaded.squares(weight)

    def square_norms(self, scale: Tensor) -> Tensor:
        """Squares of each row's entries times a scale, summed: (R, D) to (R, n)."""
        return self.loaded.square_norms(scale)

    def take_rows(self, index: Tensor, factor: float = 1.0) -> Self:
        """Copy the rows of that index into memory, with their weights times a factor."""
        taken: Self = self.loaded.take_rows(index, factor)  # type: ignore[assignment]
        return taken

    def every(self, step: int) -> Self:
        """Return one row of so many, in memory."""
        return self.take_rows(torch.arange(0, self.n_rows, step, device=self.weight.device))

    def design(self, rows: slice | Tensor | None, buffer: Tensor | None = None) -> Tensor:
        """Dense columns (D, m) of some rows, or of all, with one of ones for an intercept."""
        return self.loaded.design(rows, buffer)

    def some_columns(
        self, index: Tensor, entries_per_row: int, rows: Tensor | None = None
    ) -> Iterator[tuple[slice, Tensor]]:
        """Yield what all rows, or some, have in some columns (m, n of these), dense."""
        return self.loaded.some_columns(index, entries_per_row, rows)

    def sparse_columns(self, index: Tensor) -> Tensor | None:
        """Return some columns (p, n) in CSR format, if that saves work."""
        return self.loaded.sparse_columns(index)

    def _pieces(self, dtype: torch.dtype) -> Iterator[RowBlock]:
        return self.loaded._pieces(dtype)
