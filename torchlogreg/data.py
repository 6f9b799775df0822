"""Data on its way to the objective: row blocks, and the iterator that yields all of them.

Shapes follow the legend in :mod:`torchlogreg.objective`.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from torchlogreg.families import Family
from torchlogreg.modules import linear_predictor
from torchlogreg.objective import RowBlock
from torchlogreg.products import chunks, multiply_transposed


@dataclass(frozen=True, eq=False)
class Rows(ABC):
    """Rows of a feature matrix with their targets and weights.

    The dtype of the weights is that of all results. X may have another one: it is then converted
    a chunk of rows at a time, never as a whole.
    """

    X: Tensor
    """Features (n, d)."""

    targets: Tensor
    """Targets (n,)."""

    weight: Tensor
    """Row weights (1 or B, n)."""

    @property
    def n_rows(self) -> int:
        """Number n of rows."""
        return self.X.shape[0]

    @property
    def n_features(self) -> int:
        """Number d of columns."""
        return self.X.shape[1]

    @property
    def is_dense(self) -> bool:
        """Whether X is dense."""
        return self.X.layout is torch.strided

    @abstractmethod
    def predictor(self, coef: Tensor) -> Tensor:
        """Linear predictor (B, R, n)."""

    @abstractmethod
    def adjoint(self, residual: Tensor) -> Tensor:
        """Residual times X, shape (B, R, d)."""

    @abstractmethod
    def squares(self, weight: Tensor) -> Tensor:
        """Weights (R, n) times the squares of X, shape (R, d)."""

    @abstractmethod
    def _select(self, rows: slice | Tensor) -> Tensor:
        """Some rows of X, in the layout of X."""

    def take(self, index: Tensor) -> Rows:
        """Copy the rows of that index, with their weights as they are."""
        return replace(
            self,
            X=self._select(index),
            targets=self.targets[index],
            weight=self.weight[:, index],
        )

    def reweight(self, factor: Tensor) -> Rows:
        """Return the same rows, with the weights of each problem times a factor (1 or B,)."""
        return replace(self, weight=self.weight * factor.unsqueeze(-1))

    def to(self, dtype: torch.dtype) -> Rows:
        """Return the same rows, whose results are of another dtype."""
        targets = self.targets.to(dtype) if self.targets.is_floating_point() else self.targets
        return replace(self, targets=targets, weight=self.weight.to(dtype))

    def design(self, n_columns: int, rows: slice | Tensor) -> Tensor:
        """Dense columns of some rows, with one of ones if there is an intercept."""
        X = self._select(rows).to(self.weight.dtype).to_dense()
        n, d = X.shape
        return X.T.contiguous() if n_columns == d else torch.cat([X.T, X.new_ones(1, n)])


@dataclass(frozen=True, eq=False)
class DenseRows(Rows):
    """Rows of a dense matrix."""

    def predictor(self, coef: Tensor) -> Tensor:
        """Linear predictor (B, R, n)."""
        coef_2d = coef.flatten(0, 1)
        weights, intercept = coef_2d[:, : self.n_features], coef_2d[:, self.n_features :]
        eta = self._multiply_transposed(weights)
        if intercept.shape[1]:
            eta += intercept
        return eta.view(*coef.shape[:-1], -1)

    def adjoint(self, residual: Tensor) -> Tensor:
        """Residual times X, shape (B, R, d)."""
        return self._multiply(residual.flatten(0, 1)).view(*residual.shape[:-1], -1)

    def squares(self, weight: Tensor) -> Tensor:
        """Weights (R, n) times the squares of X, shape (R, d)."""
        total = weight.new_zeros(len(weight), self.n_features)
        for rows in chunks(self.n_rows, self.n_features):
            X = self.X[rows].to(weight.dtype).square()
            total += multiply_transposed(weight[:, rows], X.T)
        return total

    def _multiply_transposed(self, thin: Tensor) -> Tensor:
        if self.X.dtype == thin.dtype:
            return multiply_transposed(thin, self.X)
        product = thin.new_empty(len(thin), self.n_rows)
        for rows in chunks(self.n_rows, self.n_features):
            product[:, rows] = multiply_transposed(thin, self.X[rows].to(thin.dtype))
        return product

    def _multiply(self, thin: Tensor) -> Tensor:
        if self.X.dtype == thin.dtype:
            return multiply_transposed(thin, self.X.T)
        product = thin.new_zeros(len(thin), self.n_features)
        for rows in chunks(self.n_rows, self.n_features):
            product += multiply_transposed(thin[:, rows], self.X[rows].to(thin.dtype).T)
        return product

    def _select(self, rows: slice | Tensor) -> Tensor:
        return self.X[rows]


@dataclass(frozen=True, eq=False)
class SparseRows(Rows):
    """Rows of a CSR matrix."""

    @cached_property
    def _transpose(self) -> Tensor:
        # Xᵀ in CSR doubles the memory of X: a product with the CSC view takes 16 times as long.
        return self.X.t().to_sparse_csr()

    def predictor(self, coef: Tensor) -> Tensor:
        """Linear predictor (B, R, n)."""
        return linear_predictor(self.X, coef)

    def adjoint(self, residual: Tensor) -> Tensor:
        """Residual times X, shape (B, R, d)."""
        return self._multiply(self._transpose, residual.flatten(0, 1)).view(
            *residual.shape[:-1], -1
        )

    def squares(self, weight: Tensor) -> Tensor:
        """Weights (R, n) times the squares of X, shape (R, d)."""
        transpose = self._transpose
        squares = torch.sparse_csr_tensor(
            transpose.crow_indices(),
            transpose.col_indices(),
            transpose.values().square(),
            size=transpose.shape,
            device=transpose.device,
        )
        return self._multiply(squares, weight)

    @staticmethod
    def _multiply(transpose: Tensor, thin: Tensor) -> Tensor:
        return (transpose @ thin.T).T.contiguous()

    def _select(self, rows: slice | Tensor) -> Tensor:
        X, start = self.X, self.X.crow_indices()
        index = torch.arange(self.n_rows, device=X.device)[rows]
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


def _make_first_sparse_tensor() -> None:
    """Get over torch's notice, given once a process, that sparse CSR is in beta state.

    Done on import: later, threads might be running, whose warnings filters are shared.
    """
    index = torch.zeros(2, dtype=torch.int64, device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.sparse_csr_tensor(index, index[:0], index[:0], size=(1, 1), device="cpu")


_make_first_sparse_tensor()


class RowBlocks(Dataset[Any]):
    """A training set as row blocks: the data set of the full-batch solvers.

    Parameters
    ----------
    X : Tensor of shape (n, d)
        Features, dense or CSR.
    codes : Tensor of shape (n,)
        Class codes 0..K-1.
    sample_weight : Tensor of shape (n,) or (B, n)
        Non-negative row weights. Problems with rows of their own, such as the folds of a
        cross-validation, share X and give the other rows weight 0.
    family : Family
        Gives the targets their form.
    block_size : int, optional
        Most rows a block of dense data may have; the default is one block. Blocks are views.
    """

    def __init__(
        self,
        X: Tensor,
        codes: Tensor,
        sample_weight: Tensor,
        family: Family,
        block_size: int | None = None,
    ) -> None:
        # In the precision of the weights, which may exceed the range of the features' dtype.
        weight = torch.atleast_2d(sample_weight)
        self.weight_sum = weight.sum(-1)
        """Sum S of the row weights of each problem, shape (1 or B,)."""
        weight = (weight / self.weight_sum.unsqueeze(-1)).to(X.device, X.dtype)
        targets = family.encode(codes, X.dtype)
        self.n_rows, self.n_features = X.shape
        self.blocks: tuple[RowBlock, ...]
        if X.layout is not torch.strided:
            self.blocks = (SparseRows(X, targets, weight),)
        else:
            size = block_size or max(self.n_rows, 1)
            pieces = zip(X.split(size), targets.split(size), weight.split(size, -1), strict=True)
            self.blocks = tuple(DenseRows(*piece) for piece in pieces)

    def __len__(self) -> int:
        """Return the number n of rows."""
        return self.n_rows

    def __getitem__(self, index: Any) -> Any:
        """Refuse: the rows are read all at once."""
        raise TypeError(
            "The full-batch solvers read all rows at once. A callback that predicts row by row "
            "during the fit, such as EpochScoring, cannot be used with them: score after fit, "
            "or watch 'train_loss' or 'optimality' in the history."
        )


class WholeBatch:
    """Iterator factory for skorch whose epoch is a single batch: the data set itself."""

    def __init__(self, dataset: RowBlocks, batch_size: int | None = None) -> None:
        self.dataset = dataset

    def __iter__(self) -> Iterator[RowBlocks]:
        """Yield the data set once."""
        yield self.dataset

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return 1
