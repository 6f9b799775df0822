"""Rows of a dense matrix."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import linear

from torchlogreg.problem.products import (
    is_multipliable,
    linear_predictor,
    multiply_transposed,
    suits_onednn,
)
from torchlogreg.problem.row_block import RowBlock
from torchlogreg.problem.tall import suits_blocks

NARROWED_ENTRIES = 2**23
"""Most entries of X that are copied in a narrower dtype: 33 MB in single precision."""

TURNED_ENTRIES = 2**17
"""Most entries of a part of X that is transposed at once, in the cache."""

PIECE_ENTRIES = 2**19
"""Most entries of a piece of X that is converted to another dtype and stays in the cache."""


@dataclass(frozen=True, eq=False)
class DenseBlock(RowBlock):
    """Rows of a dense matrix.

    X may have another dtype than the results: unless the device multiplies such matrices, it is
    then converted a chunk of rows at a time, unless :meth:`to` has copied it. A chunk is centred
    before that, so that means which are large next to the deviations do not cost digits.
    """

    def to(self, dtype: torch.dtype) -> Self:
        """Return the same rows, whose results are of another dtype.

        What would be narrowed in every product is copied once, if it is neither large nor wide.
        """
        is_narrowed = torch.promote_types(self.X.dtype, dtype) != dtype
        is_tall = self.n_rows >= self.n_columns
        if is_narrowed and is_tall and self.n_entries <= NARROWED_ENTRIES:
            return self.by_columns(dtype)
        return super().to(dtype)

    def by_columns(self, dtype: torch.dtype) -> Self:
        """Copy the rows column by column, centred and with a column of ones for the intercept.

        All products with such a copy are faster, on some processors four times.
        """
        n_features = self.X.shape[1]
        columns = self.X.new_empty(self.n_columns, self.n_rows, dtype=dtype)
        columns[n_features:] = 1
        for rows in self.chunks(n_features, TURNED_ENTRIES):
            columns[:n_features, rows] = self._centred(self.X[rows]).to(dtype).T
        plain = {"has_intercept": False, "centre": None, "exact": None}
        return super().to(dtype).evolved(X=columns.T, **plain)

    @cached_property
    def is_as_wide(self) -> bool:
        """Whether X has the dtype of the results."""
        return self.X.dtype == self.weight.dtype

    @cached_property
    def is_complete(self) -> bool:
        """Whether X is all that there is to multiply by."""
        return self.centre is None and not self.has_intercept and self.is_as_wide

    @cached_property
    def is_plain(self) -> bool:
        """Whether that is so, and there is no faster kernel for it than torch's."""
        return self.is_complete and not (suits_onednn(self.X) or suits_blocks(self.X))

    def design(self, rows: slice | Tensor | None, buffer: Tensor | None = None) -> Tensor:
        """Dense columns (D, m) of some rows, or of all, with one of ones for an intercept."""
        if not isinstance(rows, Tensor):
            if not self.is_complete:
                return super().design(rows, buffer)
            return self._columns if rows is None else self._columns[:, rows]
        if buffer is not None and self.centre is None and self.is_as_wide:
            columns = self._columns_in(buffer, len(rows), is_turned=self.X.T.is_contiguous())
            torch.index_select(self._columns, 1, rows, out=columns[: self.X.shape[1]])
            columns[self.X.shape[1] :] = 1
            return columns
        if not self.is_complete:
            return super().design(rows, buffer)
        return self._columns.index_select(1, rows)

    def some_columns(
        self, index: Tensor, entries_per_row: int, rows: Tensor | None = None
    ) -> Iterator[tuple[slice, Tensor]]:
        """Yield what all rows, or some, have in some columns (m, n of these)."""
        is_all, n_rows = len(index) == self.n_columns, None if rows is None else len(rows)
        for part in self.chunks(max(entries_per_row, self.n_columns), n_rows=n_rows):
            columns = self.design(part if rows is None else rows[part])
            yield part, columns if is_all else columns.index_select(0, index)

    @cached_property
    def _columns(self) -> Tensor:
        return self.X.T

    def predictor(self, coef: Tensor) -> Tensor:
        """Linear predictor (B, R, n)."""
        if self.is_plain:
            return linear(coef, self.X)
        if is_multipliable(self.X, coef.dtype):
            return self._predictor(coef)
        thin = coef.flatten(0, 1)
        eta = thin.new_empty(len(thin), self.n_rows)
        for rows, some in self._converted(self.chunk_entries):
            eta[:, rows] = linear_predictor(some, thin)
        return eta.view(*coef.shape[:-1], -1)

    def adjoint(self, residual: Tensor) -> Tensor:
        """Residual times the columns: (B, R, n) to (B, R, D)."""
        if self.is_plain:
            return residual @ self.X
        thin = residual.flatten(0, 1)
        if is_multipliable(self.X, residual.dtype):
            return self._gradient(multiply_transposed(thin, self.X.T), residual)
        product = thin.new_zeros(len(thin), self.X.shape[1])
        for rows, some in self._converted(self.chunk_entries):
            product += multiply_transposed(thin[:, rows], some.T)
        return self._with_intercept(product, thin).view(*residual.shape[:-1], -1)

    def squares(self, weight: Tensor) -> Tensor:
        """Weights (R, n) times the squares of the columns, shape (R, D)."""
        total = weight.new_zeros(len(weight), self.X.shape[1])
        for rows, squared in self._squared():
            total += multiply_transposed(weight[:, rows], squared.T)
        return self._with_intercept(total, weight)

    def square_norms(self, scale: Tensor) -> Tensor:
        """Squares of each row's entries times a scale, summed: (R, D) to (R, n)."""
        n_features = self.X.shape[1]
        norms = scale.new_empty(len(scale), self.n_rows)
        for rows, squared in self._squared():
            norms[:, rows] = multiply_transposed(scale[:, :n_features], squared)
        return norms.add_(scale[:, n_features:].sum(1, keepdim=True))

    def _squared(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield some rows, and the squares of their entries."""
        for rows, some in self._converted(PIECE_ENTRIES):
            yield rows, some.square_()

    def _converted(self, most_entries: int) -> Iterator[tuple[slice, Tensor]]:
        """Yield some rows, and what they are less the centre, in the dtype of the results.

        That is in memory that is used again for the next ones: where an allocator gives memory
        back at once, as in workers of Dask, new memory costs more than what it is for.
        """
        chunks = list(self.chunks(self.X.shape[1], min(self.chunk_entries, most_entries)))
        most, dtype = chunks[0].stop if chunks else 0, self.weight.dtype
        buffer = self._memory(most, dtype)
        if self.centre is not None:  # subtracted in the wider of both dtypes
            wide = torch.promote_types(self.X.dtype, dtype)
            location = self.centre.location.to(wide)
            wide_buffer = buffer if wide == dtype else self._memory(most, wide)
        for rows in chunks:
            X = self.X[rows]
            some = buffer[: len(X)]
            if self.centre is not None:
                out = some if wide_buffer is buffer else wide_buffer[: len(X)]
                X = torch.sub(X, location, out=out)
            yield rows, some if X is some else some.copy_(X)

    def _memory(self, n_rows: int, dtype: torch.dtype) -> Tensor:
        """Memory for some rows, in the order that those of X have."""
        shape = n_rows, self.X.shape[1]
        if self.X.T.is_contiguous():
            return self.X.new_empty(shape[::-1], dtype=dtype).T
        return self.X.new_empty(shape, dtype=dtype)

    def _pieces(self, dtype: torch.dtype) -> Iterator[RowBlock]:
        block, chunks = self.to(dtype), list(self.chunks(self.X.shape[1], PIECE_ENTRIES))
        buffer = None
        if self.X.dtype != dtype and chunks:
            buffer = self.X.new_empty(chunks[0].stop, self.X.shape[1], dtype=dtype)
        for rows in chunks:
            X, weight = self.X[rows], block.weight[:, rows]
            if buffer is not None:
                X = buffer[: len(X)].copy_(X)
            yield block.evolved(X=X, targets=block.targets[rows], weight=weight)
