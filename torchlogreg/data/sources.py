"""Where blocks of rows are read from: files, arrays that are sliced, and callables that make them.

What users get from :mod:`torchlogreg.blocks` is one of these.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array

from torchlogreg.data.containers import alias, as_numpy
from torchlogreg.data.files import FileStamps, MappedFile, reader_of
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


class ArraySource(BlockSource):
    """Rows of arrays that can be sliced, or of files of NumPy, one after the other.

    Parameters
    ----------
    X, y, sample_weight : list
        Arrays, as many of each; y and sample_weight may be None.
    budget : int or None
        As for :class:`BlockSource`.
    """

    def __init__(
        self, X: Sequence[Any], y: Sequence[Any] | None, sample_weight: Any, budget: int | None
    ) -> None:
        self.budget = budget
        self._names = [
            str(x) if isinstance(x, (str, Path)) else f"array {i}" for i, x in enumerate(X)
        ]
        self._readers = [reader_of(x, "X") for x in X]
        mapped = [reader.path for reader in self._readers if isinstance(reader, MappedFile)]
        named = [x for x in X if isinstance(x, (str, Path))]
        self._stamps = FileStamps(dict.fromkeys([*mapped, *named]))
        self._y = None if y is None else [_opened(part, "y") for part in y]
        self._weight = None
        if sample_weight is not None:
            self._weight = [_opened(part, "sample_weight") for part in sample_weight]
        shapes = {reader.shape[1] for reader in self._readers}
        if len(shapes) > 1:
            raise ValueError(
                f"X has arrays of {sorted(shapes)} columns: all of them must have the same."
            )
        (self.n_features,) = shapes
        self.dtype = np.result_type(np.float32, *(reader.floats for reader in self._readers))
        for name, parts in (("y", self._y), ("sample_weight", self._weight)):
            self._check_lengths(name, parts)
        most = rows_per_block(self.n_features, self.dtype)
        self._places = [
            (part, start, start + size)
            for part, reader in enumerate(self._readers)
            for start, size in _starts(cut(reader.shape[0], most))
        ]
        self.sizes = [stop - start for _, start, stop in self._places]
        self.is_mapped = all(
            isinstance(reader, MappedFile) and reader.floats == self.dtype
            for reader in self._readers
        )

    def _check_lengths(self, name: str, parts: list[Any] | None) -> None:
        if parts is None:
            return
        lengths = [len(part) for part in parts]
        expected = [reader.shape[0] for reader in self._readers]
        if lengths != expected:
            raise ValueError(
                f"{name} has {lengths} rows, X has {expected}: give one for each row, in as many "
                "arrays."
            )

    def labels(self) -> Iterator[tuple[int, Labels]]:
        """Yield the number of rows of every block, their labels and weights."""
        for part, start, stop in self._places:
            y, weight = (
                None if parts is None else np.asarray(as_numpy(parts[part][start:stop]))
                for parts in (self._y, self._weight)
            )
            yield stop - start, (y, weight)

    def read(self, start: int, allocate: Allocate) -> Iterator[np.ndarray]:
        """Yield the features of the blocks from one on."""
        held: list[tuple[MappedFile, int, int]] = []
        for number in range(start, len(self._places)):
            part, first, stop = self._places[number]
            reader = self._readers[part]
            try:
                if isinstance(reader, MappedFile) and reader.floats == self.dtype:
                    block = reader.view(first, stop)
                    held.append((reader, first, stop))
                else:
                    block = allocate(stop - first)
                    reader.read_into(block, first)
            except Exception as error:
                raise OSError(f"X: {self.where(number)} cannot be read: {error}") from error
            yield block
            if len(held) > N_HELD:
                mapped, *rows = held.pop(0)
                mapped.release(*rows)

    def where(self, number: int) -> str:
        """Say where a block comes from."""
        if not self._places:
            return "no rows"
        part, start, stop = self._places[number]
        return f"rows {start} to {stop - 1} of {self._names[part]}"

    def begin(self) -> None:
        """Take note of files as they are."""
        self._stamps.renew()

    def check(self) -> None:
        """Look whether files have changed since the first pass."""
        self._stamps.check()


class IterableSource(BlockSource):
    """Blocks that a callable makes anew for every pass.

    Parameters
    ----------
    make_blocks : callable
        Returns an iterable of features, or of tuples of features, labels and maybe weights.
    budget : int or None
        As for :class:`BlockSource`.
    """

    def __init__(self, make_blocks: Callable[[], Any], budget: int | None) -> None:
        if not callable(make_blocks):
            raise TypeError(
                f"make_blocks={make_blocks!r} must be a callable that returns the blocks anew for "
                "every pass: an iterator can be read once only. Write lambda: ... ."
            )
        self.budget, self._make = budget, make_blocks
        made = make_blocks()
        if isinstance(made, Iterator) and made is make_blocks():
            raise ValueError(
                f"make_blocks={make_blocks!r} returns the same iterator again: it is read to its "
                "end once only. Let it make a new one whenever it is called."
            )
        first = next(self._made(), None)
        if first is None:
            raise ValueError(f"make_blocks={make_blocks!r} makes no block: a fit needs rows.")
        X = first[0]
        self.n_features, self.feature_names = X.shape[1], first[2]
        self.is_sparse = hasattr(X, "tocsr")
        self.dtype = _floats(X.dtype)

    def labels(self) -> Iterator[tuple[int, Labels]]:
        """Yield the number of rows of every block, their labels and weights."""
        for X, labels, _ in self._made():
            yield X.shape[0], labels

    def labels_and_sums(self) -> Iterator[tuple[int, Labels, int | None]]:
        """Yield the same with checksums of the features, which are made with the labels."""
        for X, labels, names in self._made():
            yield X.shape[0], labels, checksum(self._checked_block(X, names, self.empty))

    def blocks(self) -> Iterator[tuple[torch.Tensor, Labels]]:
        """Yield features, labels and weights, as they are made together."""
        for number, (X, labels, names) in enumerate(self._made()):
            block = self._checked_block(X, names, self.empty)
            yield self.checked(tensor_of(block), number), labels

    def read(self, start: int, allocate: Allocate) -> Iterator[Any]:
        """Yield the features of the blocks from one on."""
        for X, _, names in islice(self._made(), start, None):
            yield self._checked_block(X, names, allocate)

    def _checked_block(self, X: Any, names: list[str] | None, allocate: Allocate) -> Any:
        """Return features as the first block has them."""
        is_alike = hasattr(X, "tocsr") == self.is_sparse and X.shape[1] == self.n_features
        if not is_alike or names != self.feature_names:
            others = "" if names == self.feature_names else f" and the columns {names}"
            raise ValueError(
                f"make_blocks makes blocks of {self.n_features} columns, and one of shape "
                f"{X.shape}{others} that is a {type(X).__name__}: all must be alike."
            )
        if np.result_type(self.dtype, _floats(X.dtype)) != self.dtype:
            raise ValueError(
                f"make_blocks makes a block of dtype {X.dtype}, and the first was read as "
                f"{self.dtype}: digits would be lost. Give all blocks the same dtype."
            )
        if self.is_sparse:
            return X.tocsr().astype(self.dtype, copy=False)
        block = allocate(X.shape[0])
        np.copyto(block, X, casting="unsafe")
        return block

    def where(self, number: int) -> str:
        """Say where a block comes from."""
        return f"block {number} of make_blocks()"

    def _made(self) -> Iterator[tuple[Any, Labels, list[str] | None]]:
        """Yield features, labels and names of columns of the blocks that have rows."""
        for number, block in enumerate(self._make()):
            parts = block if isinstance(block, (tuple, list)) else (block,)
            if not 1 <= len(parts) <= 3:
                raise ValueError(
                    f"make_blocks: block {number} has {len(parts)} parts; give features, labels "
                    "and maybe weights."
                )
            X, y, weight = (*parts, None, None)[:3]
            names = names_of(X)
            X = X if hasattr(X, "tocsr") else np.asarray(as_numpy(X))
            if X.ndim != 2:
                raise ValueError(
                    f"make_blocks: block {number} has features of shape {X.shape}: rows of "
                    "features are needed."
                )
            if X.shape[0]:
                y, weight = (None if v is None else np.asarray(as_numpy(v)) for v in (y, weight))
                yield X, (y, weight), names


def names_of(X: Any) -> list[str] | None:
    """Return the names of the columns of a data frame; None if there are none."""
    names = [*getattr(X, "columns", ())]
    return names if names and all(isinstance(name, str) for name in names) else None


def checksum(block: Any) -> int:
    """Return a checksum of some entries, spread over a block."""
    entries = block.data if hasattr(block, "tocsr") else block.ravel(order="K")
    some = entries[:: max(len(entries) // CHECKED_ENTRIES, 1)]
    return zlib.crc32(np.ascontiguousarray(some).data)


def _floats(dtype: Any) -> np.dtype[Any]:
    """Return the dtype in which numbers of another are read."""
    dtype = np.dtype(dtype)
    if dtype.kind not in "fiub":
        raise ValueError(f"make_blocks makes features of dtype {dtype}: real numbers are needed.")
    return np.dtype(np.float32 if dtype in (np.float32, np.float16) else np.float64)


def _opened(part: Any, name: str) -> Any:
    """Return an array of labels or weights; from its file, if it is the name of one."""
    if isinstance(part, (str, Path)):
        return np.load(part, mmap_mode="r")
    if not (hasattr(part, "__len__") and hasattr(part, "__getitem__")):
        raise TypeError(f"{name} has a {type(part).__name__}: arrays or names of files are needed.")
    return part


def _starts(sizes: list[int]) -> Iterator[tuple[int, int]]:
    start = 0
    for size in sizes:
        yield start, size
        start += size


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
