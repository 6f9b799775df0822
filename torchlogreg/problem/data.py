"""Rows of a feature matrix, dense or sparse, as the objective wants them.

Shapes follow the legend in :mod:`torchlogreg.problem.objective`.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from torchlogreg.problem.centring import Centre
from torchlogreg.problem.modules import linear_predictor
from torchlogreg.problem.products import chunks, is_multipliable, multiply_transposed

PIECE_ENTRIES = 2**20
"""Most entries of a piece of X that is converted to another dtype and stays in the cache."""


@dataclass(frozen=True, eq=False)
class Rows(ABC):
    """Rows of a feature matrix with their targets and weights.

    The dtype of the weights is that of all results.
    """

    X: Tensor
    """Features (n, d)."""

    targets: Tensor
    """Targets (n,)."""

    weight: Tensor
    """Row weights (1 or B, n)."""

    has_intercept: bool = False
    """Whether the coefficients have one column more than X, for an intercept."""

    centre: Centre | None = None
    """What is taken from every row of X, if the coefficients are those of centred columns."""

    exact: Rows | None = None
    """The same rows as they were given, where X or the weights have been rounded."""

    @property
    def n_rows(self) -> int:
        """Number n of rows."""
        return self.X.shape[0]

    @property
    def n_columns(self) -> int:
        """Number D of coefficients for each output."""
        return self.X.shape[1] + self.has_intercept

    @property
    def n_entries(self) -> int:
        """Number of stored entries of X."""
        return self.X.numel() if self.is_dense else self.X.values().numel()

    @property
    def is_dense(self) -> bool:
        """Whether X is dense."""
        return self.X.layout is torch.strided

    def predictor(self, coef: Tensor) -> Tensor:
        """Linear predictor (B, R, n)."""
        return self._predictor(coef if self.centre is None else self.centre.outer(coef))

    def adjoint(self, residual: Tensor) -> Tensor:
        """Residual times the columns, shape (B, R, D)."""
        products = self._adjoint(residual)
        return products if self.centre is None else self.centre.inner_gradient(products)

    @abstractmethod
    def _predictor(self, coef: Tensor) -> Tensor:
        """Linear predictor (B, R, n) of X as it is."""

    @abstractmethod
    def _adjoint(self, residual: Tensor) -> Tensor:
        """Residual times the columns of X as it is, shape (B, R, D)."""

    @abstractmethod
    def squares(self, weight: Tensor) -> Tensor:
        """Weights (R, n) times the squares of the columns, shape (R, D)."""

    @abstractmethod
    def square_norms(self, scale: Tensor) -> Tensor:
        """Squares of each row's entries times a scale, summed: (R, D) to (R, n)."""

    def take(self, index: Tensor, factor: float = 1.0) -> Self:
        """Copy the rows of that index, with their weights times a factor."""
        weight = self.weight.index_select(1, index)
        weight = weight if factor == 1 else weight.mul_(factor)
        X, targets = select_rows(self.X, index), self.targets.index_select(0, index)
        return type(self)(X, targets, weight, self.has_intercept, self.centre)

    def reweight(self, factor: Tensor) -> Self:
        """Return the same rows, with the weights of each problem times a factor (1 or B,)."""
        return replace(self, weight=self.weight * factor.unsqueeze(-1), exact=None)

    def __len__(self) -> int:
        """Return the number n of rows."""
        return self.n_rows

    def to(self, dtype: torch.dtype) -> Self:
        """Return the same rows, whose results are of another dtype."""
        targets = self.targets.to(dtype) if self.targets.is_floating_point() else self.targets
        return replace(self, targets=targets, weight=self.weight.to(dtype))

    def pieces(self, dtype: torch.dtype) -> Iterator[Rows]:
        """Yield all rows as they were given, some at a time, with X itself in another dtype."""
        return (self if self.exact is None else self.exact)._pieces(dtype)

    @abstractmethod
    def _pieces(self, dtype: torch.dtype) -> Iterator[Rows]:
        """Yield these rows, some at a time, with X itself in another dtype."""

    def centred_on(self, centre: Centre) -> Self:
        """Return the same rows for coefficients of centred columns."""
        return replace(self, centre=centre)

    def design(self, rows: slice | Tensor) -> Tensor:
        """Dense columns (D, m) of some rows, with one of ones if there is an intercept."""
        X = self._centred(select_rows(self.X, rows))
        return torch.cat([X.T, X.new_ones(1, len(X))]) if self.has_intercept else X.T

    def _centred(self, X: Tensor) -> Tensor:
        """Some rows of X, dense, less the centre: subtracted in the wider of both dtypes."""
        X = X if self.is_dense else X.to_dense()
        if self.centre is not None:
            wide = torch.promote_types(X.dtype, self.weight.dtype)
            X = X.to(wide) - self.centre.location.to(wide)
        return X.to(self.weight.dtype)

    def _with_intercept(self, products: Tensor, thin: Tensor) -> Tensor:
        """Append to products with X the one with a column of ones, if there is an intercept."""
        if not self.has_intercept:
            return products
        return torch.cat([products, thin.sum(-1, keepdim=True)], dim=-1)


@dataclass(frozen=True, eq=False)
class DenseRows(Rows):
    """Rows of a dense matrix.

    X may have another dtype than the results: unless the device multiplies such matrices, it is
    then converted a chunk of rows at a time, never as a whole. A chunk is centred before that,
    so that means which are large next to the deviations do not cost digits.
    """

    def predictor(self, coef: Tensor) -> Tensor:
        """Linear predictor (B, R, n)."""
        if self._is_multipliable(coef):
            return super().predictor(coef)
        thin = coef.flatten(0, 1)
        eta = thin.new_empty(len(thin), self.n_rows)
        for rows in chunks(self.n_rows, self.X.shape[1]):
            eta[:, rows] = multiply_transposed(
                thin[:, : self.X.shape[1]], self._centred(self.X[rows])
            )
        return self._add_intercept(eta, thin).view(*coef.shape[:-1], -1)

    def adjoint(self, residual: Tensor) -> Tensor:
        """Residual times the columns, shape (B, R, D)."""
        if self._is_multipliable(residual):
            return super().adjoint(residual)
        thin = residual.flatten(0, 1)
        product = thin.new_zeros(len(thin), self.X.shape[1])
        for rows in chunks(self.n_rows, self.X.shape[1]):
            product += multiply_transposed(thin[:, rows], self._centred(self.X[rows]).T)
        return self._with_intercept(product, thin).view(*residual.shape[:-1], -1)

    def squares(self, weight: Tensor) -> Tensor:
        """Weights (R, n) times the squares of the columns, shape (R, D)."""
        total = weight.new_zeros(len(weight), self.X.shape[1])
        for rows in chunks(self.n_rows, self.X.shape[1]):
            total += multiply_transposed(weight[:, rows], self._centred(self.X[rows]).square().T)
        return self._with_intercept(total, weight)

    def square_norms(self, scale: Tensor) -> Tensor:
        """Squares of each row's entries times a scale, summed: (R, D) to (R, n)."""
        n_features = self.X.shape[1]
        norms = scale.new_empty(len(scale), self.n_rows)
        for rows in chunks(self.n_rows, n_features):
            X = self._centred(self.X[rows]).square()
            norms[:, rows] = multiply_transposed(scale[:, :n_features], X)
        return norms.add_(scale[:, n_features:].sum(1, keepdim=True))

    def _pieces(self, dtype: torch.dtype) -> Iterator[Rows]:
        rows = self.to(dtype)
        for some in chunks(self.n_rows, self.X.shape[1], PIECE_ENTRIES):
            X, targets, weight = self.X[some].to(dtype), rows.targets[some], rows.weight[:, some]
            yield replace(rows, X=X, targets=targets, weight=weight)

    def _predictor(self, coef: Tensor) -> Tensor:
        thin = coef.flatten(0, 1)
        eta = multiply_transposed(thin[:, : self.X.shape[1]], self.X)
        return self._add_intercept(eta, thin).view(*coef.shape[:-1], -1)

    def _adjoint(self, residual: Tensor) -> Tensor:
        thin = residual.flatten(0, 1)
        product = multiply_transposed(thin, self.X.T)
        return self._with_intercept(product, thin).view(*residual.shape[:-1], -1)

    def _is_multipliable(self, thin: Tensor) -> bool:
        return is_multipliable(self.X, thin.dtype)

    def _add_intercept(self, eta: Tensor, thin: Tensor) -> Tensor:
        return eta.add_(thin[:, -1:]) if self.has_intercept else eta


@dataclass(frozen=True, eq=False)
class SparseRows(Rows):
    """Rows of a CSR matrix. Centring them does not touch the matrix."""

    @cached_property
    def _transpose(self) -> Tensor:
        # Xᵀ in CSR doubles the memory of X: a product with the CSC view takes 16 times as long.
        return self.X.t().to_sparse_csr()

    def to(self, dtype: torch.dtype) -> Self:
        """Return the same rows, whose results are of another dtype; the entries are copied."""
        rows = replace(super().to(dtype), X=self.X.to(dtype))
        return rows._with_transpose(self._transpose.to(dtype))

    def centred_on(self, centre: Centre) -> Self:
        """Return the same rows for coefficients of centred columns."""
        return super().centred_on(centre)._with_transpose(self._transpose)

    def _pieces(self, dtype: torch.dtype) -> Iterator[Rows]:
        yield self.to(dtype)

    def squares(self, weight: Tensor) -> Tensor:
        r"""Weights (R, n) times the squares of the columns, shape (R, D).

        Of centred columns: :math:`\sum w x^2 - 2\mu \sum w x + \mu^2 \sum w`, and never less than
        the rounding errors of that.
        """
        squares = self._multiply(_squared(self._transpose), weight)
        if self.centre is None:
            return squares
        mean, total = self.centre.location.to(weight.dtype), weight.sum(-1, keepdim=True)
        sums = self._transpose @ weight.T
        raw = squares[:, :-1]
        moved = raw - 2 * mean * sums.T + mean.square() * total
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

    def _predictor(self, coef: Tensor) -> Tensor:
        return linear_predictor(self.X, coef)

    def _adjoint(self, residual: Tensor) -> Tensor:
        products = self._multiply(self._transpose, residual.flatten(0, 1))
        return products.view(*residual.shape[:-1], -1)

    def _with_transpose(self, transpose: Tensor) -> Self:
        """Keep a transpose that is known."""
        self.__dict__["_transpose"] = transpose
        return self

    def _multiply(self, transpose: Tensor, thin: Tensor) -> Tensor:
        return self._with_intercept((transpose @ thin.T).T, thin).contiguous()


def select_rows(X: Tensor, rows: slice | Tensor) -> Tensor:
    """Some rows of a dense or CSR matrix, given by index, or as a slice: a view if it is dense."""
    if X.layout is torch.strided:
        return X.index_select(0, rows) if isinstance(rows, Tensor) else X[rows]
    start = X.crow_indices()
    index = torch.arange(len(X), device=X.device)[rows]
    counts = start[index + 1] - start[index]
    new_start = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    offset = torch.repeat_interleave(start[index] - new_start[:-1], counts)
    entries = offset + torch.arange(len(offset), device=X.device)
    return torch.sparse_csr_tensor(
        new_start.to(start.dtype),
        X.col_indices()[entries],
        X.values()[entries],
        size=(len(index), X.shape[1]),
        device=X.device,
    )


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
    """Get over torch's notice, given once a process, that sparse CSR is in beta state.

    Done on import: later, threads might be running, whose warnings filters are shared.
    """
    index = torch.zeros(2, dtype=torch.int64, device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.sparse_csr_tensor(index, index[:0], index[:0], size=(1, 1), device="cpu")


_make_first_sparse_tensor()
