"""Blocks of arrays that can be sliced, and of files of NumPy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from torchlogreg.data.containers import as_numpy
from torchlogreg.data.files import FileStamps, Held, MappedFile, reader_of
from torchlogreg.data.sources import Allocate, BlockSource, Labels, cut, rows_per_block


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
        held = Held()
        for number in range(start, len(self._places)):
            part, first, stop = self._places[number]
            reader = self._readers[part]
            try:
                if isinstance(reader, MappedFile) and reader.floats == self.dtype:
                    block = held.view(reader, first, stop)
                else:
                    block = allocate(stop - first)
                    reader.read_into(block, first)
            except Exception as error:
                raise OSError(f"X: {self.where(number)} cannot be read: {error}") from error
            yield block

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
