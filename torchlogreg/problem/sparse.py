"""Rows of a sparse matrix in CSR format."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import torch
from torch import Tensor

from torchlogreg.problem.products import has_sparse_gram, linear_predictor, multiply_sparse
from torchlogreg.problem.row_block import RowBlock, select_rows

SPARSE_SHARE = 0.03
"""Part of the entries of columns beyond which dense products of them are faster."""


@dataclass(frozen=True, eq=False)
class SparseBlock(RowBlock):
    """Rows of a CSR matrix. Centring them does not touch the matrix."""

    @cached_property
    @torch.inference_mode(False)  # in which torch cannot transpose a sparse matrix
    def _transpose(self) -> Tensor:
        # Xᵀ in CSR doubles the memory of X: a product with the CSC view takes 16 times as long.
        return self.X.t().to_sparse_csr()

    def to(self, dtype: torch.dtype) -> Self:
        """Return the same rows, whose results are of another dtype; the entries are copied."""
        block = super().to(dtype).evolved(X=self.X.to(dtype))
        block.__dict__["_transpose"] = self._transpose.to(dtype)
        return block

    def evolved(self, **changes: Any) -> Self:
        """Return a copy with other values for some of the fields; a known transpose is kept."""
        block = super().evolved(**changes)
        if "X" not in changes and "_transpose" in self.__dict__:
            block.__dict__["_transpose"] = self._transpose
        return block

    def predictor(self, coef: Tensor) -> Tensor:
        """Linear predictor (B, R, n)."""
        return self._predictor(coef)

    def adjoint(self, residual: Tensor) -> Tensor:
        """Residual times the columns: (B, R, n) to (B, R, D)."""
        return self._gradient(multiply_sparse(self._transpose, residual.flatten(0, 1)), residual)

    def some_columns(
        self, index: Tensor, entries_per_row: int, rows: Tensor | None = None
    ) -> Iterator[tuple[slice, Tensor]]:
        """Yield what all rows, or some, have in some columns (m, n of these), dense.

        The columns are picked from the transpose: all others cost nothing.
        """
        has_intercept = self._has_last(index)
        picked = index[: len(index) - has_intercept]
        centre = None if self.centre is None else self.centre.location[picked]
        X = None
        if len(picked):
            with torch.inference_mode(False):  # in which torch cannot transpose a sparse matrix
                X = select_rows(self._transpose, picked).t().to_sparse_csr()
        n_rows = None if rows is None else len(rows)
        for part in self.chunks(max(entries_per_row, len(index)), n_rows=n_rows):
            columns = self.weight.new_empty(0, part.stop - part.start)
            if X is not None:
                columns = select_rows(X, part if rows is None else rows[part]).to_dense().T
            if centre is not None:
                columns = columns - centre.to(columns.dtype).unsqueeze(-1)
            if has_intercept:
                columns = torch.cat([columns, columns.new_ones(1, columns.shape[1])])
            yield part, columns

    def sparse_columns(self, index: Tensor) -> Tensor | None:
        """Return some columns (p, n) in CSR format, unless they are centred, or hardly sparse."""
        if self.centre is not None or not has_sparse_gram(index.device):
            return None
        has_intercept = self._has_last(index)
        columns, n = select_rows(self._transpose, index[: len(index) - has_intercept]), self.n_rows
        if columns.values().numel() > SPARSE_SHARE * n * len(index):
            return None
        if not has_intercept:
            return columns
        start, places = columns.crow_indices(), columns.col_indices()
        ones = torch.arange(n, device=places.device, dtype=places.dtype)
        return torch.sparse_csr_tensor(
            torch.cat([start, start[-1:] + n]),
            torch.cat([places, ones]),
            torch.cat([columns.values(), columns.values().new_ones(n)]),
            size=(len(index), n),
            device=places.device,
        )

    def squares(self, weight: Tensor) -> Tensor:
        r"""Weights (R, n) times the squares of the columns, shape (R, D).

        Of centred columns: :math:`\sum w x^2 - 2\mu \sum w x + \mu^2 \sum w`, and never less than
        the rounding errors of that.
        """
        squares = self._multiply(_squared(self._transpose), weight)
        if self.centre is None:
            return squares
        mean, total = self.centre.location.to(weight.dtype), weight.sum(-1, keepdim=True)
        sums = multiply_sparse(self._transpose, weight)
        raw = squares[:, :-1]
        moved = raw - 2 * mean * sums + mean.square() * total
        moved = torch.maximum(moved, torch.finfo(weight.dtype).eps * raw)
        return torch.cat([moved, squares[:, -1:]], dim=-1)

    def square_norms(self, scale: Tensor) -> Tensor:
        """Squares of each row's entries times a scale, summed: (R, D) to (R, n)."""
        norms = linear_predictor(_squared(self.X), scale)
        if self.centre is None:
            return norms
        mean, scale = self.centre.location.to(scale.dtype), scale[:, :-1]
        shift = (scale * mean.square()).sum(-1, keepdim=True)
        moved = norms - 2 * linear_predictor(self.X, scale * mean) + shift
        return torch.maximum(moved, torch.finfo(scale.dtype).eps * norms)

    def _has_last(self, index: Tensor) -> bool:
        """Whether an index of coefficients ends with the intercept's."""
        return self.has_intercept and bool((index[-1:] == self.n_columns - 1).any())

    def _pieces(self, dtype: torch.dtype) -> Iterator[RowBlock]:
        yield self.to(dtype)

    def _multiply(self, transpose: Tensor, thin: Tensor) -> Tensor:
        return self._with_intercept(multiply_sparse(transpose, thin), thin)


def _squared(matrix: Tensor) -> Tensor:
    """CSR matrix with the squares of the entries."""
    return torch.sparse_csr_tensor(
        matrix.crow_indices(),
        matrix.col_indices(),
        matrix.values().square(),
        size=matrix.shape,
        device=matrix.device,
    )


def _make_first_sparse_tensor() -> None:
    """Get over torch's notice, given once per process, that sparse CSR is in beta state.

    Done on import: later, threads might be running, whose warnings filters are shared.
    """
    index = torch.zeros(2, dtype=torch.int64, device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.sparse_csr_tensor(index, index[:0], index[:0], size=(1, 1), device="cpu")


_make_first_sparse_tensor()
