"""Data on its way to the objective: row blocks, and the iterator that yields all of them.

Shapes follow the legend in :mod:`torchlogreg.objective`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from torchlogreg.families import Family
from torchlogreg.modules import linear_predictor
from torchlogreg.objective import RowBlock


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of a feature matrix with their targets and weights."""

    X: Tensor
    """Features (n, d)."""

    targets: Tensor
    """Targets (n,)."""

    weight: Tensor
    """Row weights (1 or B, n)."""

    @property
    def n_features(self) -> int:
        """Number d of columns."""
        return self.X.shape[1]

    def predictor(self, coef: Tensor) -> Tensor:
        """Linear predictor (B, R, n)."""
        return linear_predictor(self.X, coef)


@dataclass(frozen=True, eq=False)
class DenseRows(Rows):
    """Rows of a dense matrix."""

    def adjoint(self, residual: Tensor) -> Tensor:
        """Residual times X, shape (B, R, d)."""
        return (residual.flatten(0, 1) @ self.X).view(*residual.shape[:2], -1)

    def design(self, n_columns: int, start: int, stop: int) -> Tensor:
        """Dense columns of some rows, with one of ones if there is an intercept."""
        return _with_ones(self.X[start:stop], n_columns)


@dataclass(frozen=True, eq=False)
class SparseRows(Rows):
    """Rows of a CSR matrix."""

    @cached_property
    def _transpose(self) -> Tensor:
        # Xᵀ in CSR doubles the memory of X: a product with the CSC view takes 16 times as long.
        return self.X.t().to_sparse_csr()

    def adjoint(self, residual: Tensor) -> Tensor:
        """Residual times X, shape (B, R, d)."""
        return (self._transpose @ residual.flatten(0, 1).T).T.reshape(*residual.shape[:2], -1)

    def design(self, n_columns: int, start: int, stop: int) -> Tensor:
        """Dense columns of some rows, with one of ones if there is an intercept."""
        first = self.X.crow_indices()[start : stop + 1]
        entries = slice(int(first[0]), int(first[-1]))
        some = torch.sparse_csr_tensor(
            first - first[0],
            self.X.col_indices()[entries],
            self.X.values()[entries],
            size=(len(first) - 1, self.X.shape[1]),
            device=self.X.device,
        )
        return _with_ones(some.to_dense(), n_columns)


def _with_ones(X: Tensor, n_columns: int) -> Tensor:
    """Transpose X, and append ones unless it has ``n_columns`` already: (n_columns, n)."""
    n, d = X.shape
    return X.T.contiguous() if n_columns == d else torch.cat([X.T, X.new_ones(1, n)])


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
