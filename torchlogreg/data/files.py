"""Arrays in files, which are read into memory that is there already."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from torchlogreg.data.containers import as_numpy


class FileStamps:
    """Sizes and times of files, to notice that one of them changes."""

    def __init__(self, paths: Iterable[str | Path]) -> None:
        self._stamps = {str(path): _stamp(path) for path in paths}

    def check(self) -> None:
        """Look whether a file has changed.

        Raises
        ------
        RuntimeError
            If one of them has.
        """
        for path, before in self._stamps.items():
            if not os.path.exists(path) or _stamp(path) != before:
                raise RuntimeError(
                    f"{path} has changed since the first pass over the data: a fit needs the same "
                    "rows in every pass. Fit again when nobody writes to it."
                )


def _stamp(path: str | Path) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns


class SlicedArray:
    """Rows of an array of any library that can be sliced: NumPy, HDF5, Zarr and others."""

    def __init__(self, array: Any, name: str) -> None:
        shape = getattr(array, "shape", None)
        if shape is None or len(shape) != 2 or not hasattr(array, "dtype"):
            raise ValueError(
                f"{name} has a {type(array).__name__} of shape {shape}: an array (n, d) that can "
                "be sliced is needed, or the name of a .npy file."
            )
        self.array = array
        self.shape = tuple(int(size) for size in shape)

    @property
    def floats(self) -> np.dtype[Any]:
        """The dtype in which the entries are read: float32, or float64 for all others."""
        dtype = np.dtype(str(self.array.dtype).removeprefix("torch."))
        if dtype.kind not in "fiub":
            raise ValueError(f"X has the dtype {dtype}: real numbers are needed.")
        return np.dtype(np.float32 if dtype in (np.float32, np.float16) else np.float64)

    def read_into(self, block: np.ndarray, start: int) -> None:
        """Read as many rows as a block has, from one on."""
        rows = as_numpy(self.array[start : start + len(block)])
        np.copyto(block, np.asarray(rows), casting="unsafe")


class FileArray(SlicedArray):
    """Rows of a file that is mapped to memory: read by its position, which maps no pages.

    Pages that are mapped would count as memory of the process.
    """

    def __init__(self, array: np.memmap, name: str, start: int) -> None:
        super().__init__(array, name)
        self._start = start

    def read_into(self, block: np.ndarray, start: int) -> None:
        """Read as many rows as a block has, from one on."""
        if not block.flags.c_contiguous or block.dtype != self.array.dtype:
            super().read_into(block, start)
            return
        row_bytes = self.shape[1] * self.array.dtype.itemsize
        with open(self.array.filename, "rb", buffering=0) as file:
            file.seek(self._start + start * row_bytes)
            target = memoryview(block.data).cast("B")
            while len(target):
                n_read = file.readinto(target)
                if not n_read:
                    raise EOFError(f"{self.array.filename} ends before row {start + len(block)}")
                target = target[n_read:]


def reader_of(x: Any, name: str) -> SlicedArray:
    """Return a reader of the rows of an array, or of a .npy file."""
    if isinstance(x, (str, Path)):
        x = np.load(x, mmap_mode="r")
    start = _position(x) if isinstance(x, np.memmap) else None
    return SlicedArray(x, name) if start is None else FileArray(x, name, start)


def _position(array: np.memmap) -> int | None:
    """Position of the first entry in the file; None where the file does not have the rows as such.

    That is so for memory that was written to without the file, and for other orders.
    """
    mapped, base = getattr(array, "_mmap", None), getattr(array, "offset", None)
    is_plain = array.flags.c_contiguous and array.ndim == 2 and array.mode in ("r", "r+")
    if mapped is None or base is None or array.filename is None or not is_plain:
        return None
    first = np.frombuffer(mapped, np.uint8).__array_interface__["data"][0]
    before = base - base % mmap.ALLOCATIONGRANULARITY
    return int(before + array.__array_interface__["data"][0] - first)
