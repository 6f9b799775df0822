"""Some rows of a feature matrix, and what every form of it can do.

Shapes follow the legend in :mod:`torchlogreg.problem.objective`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from torchlogreg.problem.batched import Batched, Places
from torchlogreg.problem.centring import Centre
from torchlogreg.problem.families import Family, inverse
from torchlogreg.problem.products import CHUNK_ENTRIES, chunks, linear_predictor


@dataclass(frozen=True, eq=False)
class RowBlock(Batched, ABC):
    """Some rows of a feature matrix with their targets and weights.

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

    exact: RowBlock | None = None
    """The same rows as they were given, where X or the weights have been rounded."""

    chunk_entries: int = CHUNK_ENTRIES
    """Most entries of a temporary matrix made from rows of X: they are taken in chunks."""

    @cached_property
    def wide_weight(self) -> Tensor:
        """Row weights (1 or B, 1, n), to multiply what each output has."""
        return self.weight.unsqueeze(-2)

    @cached_property
    def wide_targets(self) -> Tensor:
        """Targets (1, 1, n)."""
        return self.targets[None, None]

    @cached_property
    def minus_inverse(self) -> Tensor:
        """Negative inverse of the row weights (1 or B, 1, n), finite where these are 0."""
        return inverse(self.wide_weight).neg_()

    def curvature(self, family: Family, residual: Tensor) -> Tensor:
        """Curvature (B, R, n) of the rows, which determines their weighted Hessians."""
        return family.curvature(residual, self.wide_targets, self.wide_weight, self.minus_inverse)

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

    @abstractmethod
    def predictor(self, coef: Tensor) -> Tensor:
        """Linear predictor (B, R, n)."""

    @abstractmethod
    def adjoint(self, residual: Tensor) -> Tensor:
        """Residual times the columns: (B, R, n) to (B, R, D)."""

    @abstractmethod
    def squares(self, weight: Tensor) -> Tensor:
        """Weights (R, n) times the squares of the columns, shape (R, D)."""

    @abstractmethod
    def square_norms(self, scale: Tensor) -> Tensor:
        """Squares of each row's entries times a scale, summed: (R, D) to (R, n)."""

    def take(self, problems: Sequence[int]) -> Self:
        """Return the same rows for some of the problems."""
        if len(self.weight) == 1:
            return self
        exact = None if self.exact is None else self.exact.take(problems)
        return self.evolved(weight=Places.of(problems).pick(self.weight), exact=exact)

    def take_rows(self, index: Tensor, factor: float = 1.0) -> Self:
        """Copy the rows of that index, with their weights times a factor."""
        weight = self.weight.index_select(1, index)
        weight = weight if factor == 1 else weight.mul_(factor)
        X, targets = select_rows(self.X, index), self.targets.index_select(0, index)
        return type(self)(
            X, targets, weight, self.has_intercept, self.centre, chunk_entries=self.chunk_entries
        )

    def every(self, step: int) -> Self:
        """Return one row of so many; as a view, if they are dense."""
        X = select_rows(self.X, slice(None, None, step))
        weight = self.weight[:, ::step]
        return self.evolved(X=X, targets=self.targets[::step], weight=weight, exact=None)

    def reweight(self, factor: Tensor) -> Self:
        """Return the same rows, with the weights of each problem times a factor (1 or B,)."""
        return self.evolved(weight=self.weight * factor.unsqueeze(-1), exact=None)

    def __len__(self) -> int:
        """Return the number n of rows."""
        return self.n_rows

    def to(self, dtype: torch.dtype) -> Self:
        """Return the same rows, whose results are of another dtype."""
        targets = self.targets.to(dtype) if self.targets.is_floating_point() else self.targets
        return self.evolved(targets=targets, weight=self.weight.to(dtype))

    def pieces(self, dtype: torch.dtype) -> Iterator[RowBlock]:
        """Yield all rows as they were given, some at a time, with X itself in another dtype."""
        return (self if self.exact is None else self.exact)._pieces(dtype)

    @abstractmethod
    def _pieces(self, dtype: torch.dtype) -> Iterator[RowBlock]:
        """Yield these rows, some at a time, with X itself in another dtype."""

    def centred_on(self, centre: Centre) -> Self:
        """Return the same rows for coefficients of centred columns."""
        return self.evolved(centre=centre)

    def design(self, rows: slice | Tensor | None, buffer: Tensor | None = None) -> Tensor:
        """Dense columns (D, m) of some rows, or of all, with one of ones for an intercept.

        A copy of rows that an index picks is in the buffer, if there is one.
        """
        X = self._centred(self.X if rows is None else select_rows(self.X, rows))
        if buffer is None:
            return torch.cat([X.T, X.new_ones(1, len(X))]) if self.has_intercept else X.T
        columns = self._columns_in(buffer, len(X))
        columns[: X.shape[1]] = X.T
        columns[X.shape[1] :] = 1
        return columns

    @abstractmethod
    def some_columns(
        self, index: Tensor, entries_per_row: int, rows: Tensor | None = None
    ) -> Iterator[tuple[slice, Tensor]]:
        """Yield what all rows, or some, have in some columns (m, n of these), dense.

        With it comes which of the rows these are, by their places in ``rows``. The index of columns
        is that of coefficients: the last one may be the intercept's. Rows are taken so that a
        temporary matrix with so many entries per row is not too large.
        """

    def sparse_columns(self, index: Tensor) -> Tensor | None:
        """Return some columns (p, n) in CSR format, if that saves work; by default it does not.

        The index is that of coefficients, as for :meth:`some_columns`.
        """
        return None

    def _columns_in(self, buffer: Tensor, n_rows: int, *, is_turned: bool = False) -> Tensor:
        """Columns (D, m) in a buffer, row by row of X; or column by column, if it is turned."""
        some = buffer[: n_rows * self.n_columns]
        if is_turned:
            return some.view(self.n_columns, n_rows)
        return some.view(n_rows, self.n_columns).T

    def chunks(
        self, entries_per_row: int, most_entries: int | None = None, n_rows: int | None = None
    ) -> Iterator[slice]:
        """Split all rows, or so many, so that a temporary matrix of them is not too large."""
        n_rows = self.n_rows if n_rows is None else n_rows
        return chunks(n_rows, entries_per_row, most_entries or self.chunk_entries)

    def _predictor(self, coef: Tensor) -> Tensor:
        """Linear predictor (B, R, n) from X as it is."""
        if self.centre is None:
            return linear_predictor(self.X, coef)
        intercept = self.centre.outer_intercept(coef)
        return linear_predictor(self.X, coef[..., :-1]).add_(intercept.unsqueeze(-1))

    def _gradient(self, products: Tensor, residual: Tensor) -> Tensor:
        """Gradient (B, R, D) from products (B R, d) of the residual (B, R, n) with X as it is."""
        if not self.has_intercept:
            return products.view(*residual.shape[:-1], -1)
        gradient = products.new_empty(len(products), products.shape[1] + 1)
        total = residual.sum(-1).view(-1, 1)
        gradient[:, -1:] = total
        if self.centre is None:
            gradient[:, :-1] = products
        else:
            location = self.centre.location.to(products.dtype)
            torch.addcmul(products, total, location, value=-1, out=gradient[:, :-1])
        return gradient.view(*residual.shape[:-1], -1)

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
