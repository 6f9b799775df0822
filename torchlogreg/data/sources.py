"""What blocks of rows are read from, and what all sources of them have in common.

What users get from :mod:`torchlogreg.blocks` is one of these.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array

from torchlogreg.data.containers import alias
from torchlogreg.data.sharing import has_no_rows
from torchlogreg.data.training_data import is_finite
from torchlogreg.problem.group import Group

BLOCK_BYTES = 2**24
"""About how many bytes a block has: 17 MB, which a cache holds next to what is computed from it."""

N_HELD = 3
"""Blocks in use at a time: one that is computed with, one that waits, one that is read."""

CHECKED_ENTRIES = 1024
"""Entries of a block that are looked at, to notice that it has changed."""

Allocate = Callable[[int], np.ndarray]
"""Returns memory for a dense block of so many rows."""

Labels = tuple[np.ndarray | None, np.ndarray | None]
"""Labels and weights of the rows of a block."""


class BlockSource(ABC):
    """Rows in blocks that are read anew in every pass."""

    n_features: int
    """Number d of features."""

    feature_names: list[str] | None = None
    """Names of the features."""

    dtype: np.dtype[Any]
    """Of the features: float32 or float64."""

    is_by_columns: bool = False
    """Whether the memory of dense blocks is column by column."""

    budget: int | None
    """Bytes that blocks and what belongs to their rows may take; None for a quarter of memory."""

    scratch: Path | None = None
    """Folder for a copy of the rows as they were decoded, for later passes; None for no copy."""

    is_sparse: bool = False
    """Whether blocks are CSR matrices."""

    is_mapped: bool = False
    """Whether blocks are there as soon as files are mapped: nothing is decoded or copied."""

    sizes: list[int] | None = None
    """Number of rows of every block; None where a pass has to find out."""

    @abstractmethod
    def labels(self) -> Iterator[tuple[int, Labels]]:
        """Yield the number of rows of every block, their labels and weights."""

    @abstractmethod
    def read(self, start: int, allocate: Allocate) -> Iterator[Any]:
        """Yield the features of the blocks from one on, dense or CSR."""

    @abstractmethod
    def where(self, number: int) -> str:
        """Say where a block comes from, for errors."""

    def begin(self) -> None:  # noqa: B027
        """Take note of files as they are: those of a source that has none are not looked at."""

    def check(self) -> None:  # noqa: B027
        """Look whether files have changed since the first pass: there are none.

        Raises
        ------
        RuntimeError
            If one of them has.
        """

    def empty(self, n_rows: int) -> np.ndarray:
        """Return memory for so many rows."""
        if self.is_by_columns:
            return np.empty((self.n_features, n_rows), self.dtype).T
        return np.empty((n_rows, self.n_features), self.dtype)

    def features(self) -> Iterator[torch.Tensor]:
        """Yield the features of the blocks, each in memory of its own.

        Raises
        ------
        ValueError
            If an entry is not a finite number.
        """
        for number, block in enumerate(self.read(0, self.empty)):
            yield self.checked(tensor_of(block), number)

    def blocks(self) -> Iterator[tuple[torch.Tensor, Labels]]:
        """Yield the same with labels and weights."""
        for X, (_, labels) in zip(self.features(), self.labels(), strict=True):
            yield X, labels

    def labels_and_sums(self) -> Iterator[tuple[int, Labels, int | None]]:
        """Yield the same as :meth:`labels`, and checksums of the features that are read with them.

        These are None where features are not read for that.
        """
        for n_rows, labels in self.labels():
            yield n_rows, labels, None

    def checked(self, X: torch.Tensor, number: int) -> torch.Tensor:
        """Return a block, if all of its entries are finite numbers."""
        values = X if X.layout is torch.strided else X.values()
        if not is_finite(values):
            raise ValueError(
                f"Input X contains NaN or infinity, in {self.where(number)}. Drop or impute these "
                "entries."
            )
        return X

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.n_features} features: {self.where(0)}, ...>"


class NoBlocks(BlockSource):
    """What a process has that has no rows, while others have blocks.

    Parameters
    ----------
    facts : dict
        What the blocks of the others are like.
    """

    def __init__(self, facts: dict[str, Any]) -> None:
        self.__dict__.update(facts)
        self.budget, self.sizes = None, [0]

    def labels(self) -> Iterator[tuple[int, Labels]]:
        """Yield no labels."""
        yield 0, (np.empty(0), None)

    def read(self, start: int, allocate: Allocate) -> Iterator[Any]:
        """Yield a block without rows."""
        if start == 0 and self.is_sparse:
            yield csr_array((0, self.n_features), dtype=self.dtype)
        elif start == 0:
            yield allocate(0)

    def where(self, number: int) -> str:
        """Say that there is nothing."""
        return "no rows"


def agreed_source(X: Any, group: Group) -> Any:
    """Return features; empty blocks, if a process has no rows and others have blocks."""
    if group.size == 1:
        return X
    own, names = None, ("n_features", "feature_names", "dtype", "is_by_columns", "is_sparse")
    if isinstance(X, BlockSource):
        own = {name: getattr(X, name) for name in names}
    known = [facts for facts in group.gathered(own) if facts is not None]
    if not known:
        return X
    with group.together():
        if own is None and not has_no_rows(X):
            raise ValueError(
                f"X is a {type(X).__name__} in process {group.rank}, and others have blocks: give "
                "all processes blocks."
            )
    return NoBlocks(known[0]) if own is None else X


def rows_per_block(n_features: int, dtype: np.dtype[Any]) -> int:
    """Return how many rows of so many features a block has."""
    return max(BLOCK_BYTES // max(n_features * dtype.itemsize, 1), 1)


def cut(n_rows: int, most: int) -> list[int]:
    """Cut rows into parts of about the same size, each of so many at most."""
    n_parts = max(-(-n_rows // most), 1)
    bounds = [n_rows * part // n_parts for part in range(n_parts + 1)]
    return [stop - start for start, stop in pairwise(bounds)]


def checksum(block: Any) -> int:
    """Return a checksum of some entries, spread over a block."""
    entries = block.data if hasattr(block, "tocsr") else block.ravel(order="K")
    some = entries[:: max(len(entries) // CHECKED_ENTRIES, 1)]
    return zlib.crc32(np.ascontiguousarray(some).data)


def tensor_of(block: Any) -> torch.Tensor:
    """Return a dense or CSR block as a tensor that shares its memory."""
    if not hasattr(block, "tocsr"):
        return alias(block)
    index = np.int64 if block.nnz > np.iinfo(np.int32).max else np.int32
    return torch.sparse_csr_tensor(
        torch.from_numpy(block.indptr.astype(index, copy=False)),
        torch.from_numpy(block.indices.astype(index, copy=False)),
        torch.from_numpy(block.data),
        size=block.shape,
    )
