"""Rows that were read once, in a file that later passes map: nothing is decoded again."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from torchlogreg.data.files import Held, MappedFile, reader_of
from torchlogreg.data.sources import Allocate, BlockSource, Labels


class Scratch(BlockSource):
    """The dense blocks of another source, in a file of their own, which goes with this object.

    Parameters
    ----------
    source : BlockSource
        Where the blocks come from. Its ``scratch`` names the folder.
    sizes : list of int
        Number of rows of every block.
    first : int
        The first block that is written: those before stay in memory.

    Raises
    ------
    OSError
        If the folder has no room for them.
    """

    is_mapped = True

    def __init__(self, source: BlockSource, sizes: list[int], first: int) -> None:
        self.n_features, self.feature_names = source.n_features, source.feature_names
        self.dtype, self.is_by_columns, self.budget = source.dtype, source.is_by_columns, None
        self._source, self._first = source, first
        self._bounds = list(pairwise(accumulate(sizes[first:], initial=0)))
        n_rows = sum(sizes[first:])
        n_bytes, free = n_rows * self.n_features * self.dtype.itemsize, _free(source.scratch)
        if free < n_bytes:
            raise OSError(
                f"scratch={str(source.scratch)!r} has {free / 1e9:.3g} GB of free space, and the "
                f"rows need {n_bytes / 1e9:.3g} GB. Name another folder, or leave scratch out."
            )
        folder = Path(tempfile.mkdtemp(prefix="torchlogreg-", dir=source.scratch))
        self._path, shape = folder / "rows.npy", (n_rows, self.n_features)
        self._file = self._path.open("wb")
        self.remove = weakref.finalize(self, _remove, self._file, folder, os.getpid())
        """Lets go of the file, which otherwise goes with this object."""
        header = {"descr": self.dtype.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)

    def write(self, block: Tensor) -> None:
        """Write the next block, in the order that its memory has."""
        X = block.numpy()
        try:
            self._file.write(np.ascontiguousarray(X.T if self.is_by_columns else X).data)
        except OSError as error:
            raise OSError(f"{self._path} cannot be written: {error}") from error

    def finish(self) -> None:
        """Begin to read: all blocks are written."""
        self._file.close()
        mapped = reader_of(self._path, "scratch")
        assert isinstance(mapped, MappedFile)
        self._mapped = mapped

    def read(self, start: int, allocate: Allocate) -> Iterator[np.ndarray]:
        """Yield the features of the blocks from one on."""
        held = Held()
        for first, stop in self._bounds[start - self._first :]:
            try:
                rows = held.view(self._mapped, first, stop)
            except OSError as error:
                raise OSError(f"{self._path} cannot be read: {error}") from error
            yield rows.reshape(self.n_features, stop - first).T if self.is_by_columns else rows

    def labels(self) -> Iterator[tuple[int, Labels]]:
        """Yield the number of rows of every block, their labels and weights."""
        return self._source.labels()

    def where(self, number: int) -> str:
        """Say where a block comes from."""
        return f"what was read from {self._source.where(number)}"


def _remove(file: Any, folder: Path, process: int) -> None:
    """Remove a file and its folder, unless this process was forked from that which made them."""
    file.close()
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)


def _free(folder: Path | None) -> int:
    """Bytes that a folder has room for."""
    assert folder is not None
    return shutil.disk_usage(folder).free
