"""Arrays in files, which are read into memory that is there already."""

from __future__ import annotations

import mmap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from torchlogreg.data.containers import as_numpy
from torchlogreg.data.sources import N_HELD

FAULT_BYTES = 16 * mmap.PAGESIZE
"""Bytes of a file that a fault maps at once, if the system has them: by default on Linux."""


class FileStamps:
    """Sizes and times of files, to notice that one of them changes."""

    def __init__(self, paths: Iterable[str | Path]) -> None:
        self._paths = [Path(path).resolve() for path in paths]
        self.renew()

    def renew(self) -> None:
        """Begin anew, with the files as they are now."""
        self._stamps = {path: _stamp(path) for path in self._paths}

    def check(self) -> None:
        """Look whether a file has changed.

        Raises
        ------
        RuntimeError
            If one of them has.
        """
        for path, before in self._stamps.items():
            if not path.exists():
                raise FileNotFoundError(f"{path} is gone: a fit reads it in every pass.")
            if _stamp(path) != before:
                raise RuntimeError(
                    f"{path} has changed since the first pass over the data: a fit needs the same "
                    "rows in every pass. Fit again when nobody writes to it."
                )


def _stamp(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ino


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
        return floats_of(self.array.dtype)

    def read_into(self, block: np.ndarray, start: int) -> None:
        """Read as many rows as a block has, from one on."""
        rows = as_numpy(self.array[start : start + len(block)])
        np.copyto(block, np.asarray(rows), casting="unsafe")


class MappedFile(SlicedArray):
    """Rows of a file that are mapped to memory, some at a time: without a copy.

    What is mapped counts as memory of a process, although the system may take it at any time. Rows
    are let go of, therefore, when others are asked for.
    """

    def __init__(self, array: np.memmap, name: str, start: int, map_start: int) -> None:
        super().__init__(array, name)
        self.path = Path(str(array.filename)).resolve()
        """The file."""
        self._dtype = array.dtype
        self._map: mmap.mmap = array._mmap  # type: ignore[attr-defined]
        self._start, self._map_start = start, map_start
        """Positions of the first entry in what is mapped, and of that in the file."""

    def __getstate__(self) -> dict[str, Any]:
        """Return what is needed to map the file again, and nothing of what it holds."""
        return {name: value for name, value in vars(self).items() if name not in ("_map", "array")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._map = np.memmap(self.path, np.uint8, mode="r")._mmap  # type: ignore[attr-defined]
        self._start, self._map_start = self._start + self._map_start, 0

    @property
    def floats(self) -> np.dtype[Any]:
        """The dtype of the entries: float32 or float64."""
        return self._dtype

    def read_into(self, block: np.ndarray, start: int) -> None:
        """Read as many rows as a block has, from one on."""
        np.copyto(block, self.view(start, start + len(block)))

    def view(self, start: int, stop: int) -> np.ndarray:
        """Return rows that are in memory by then; the system reads ahead as it sees fit.

        To ask it for the rows that follow would have it take small pages, which are mapped slowly.
        """
        row_bytes = self.shape[1] * self._dtype.itemsize
        first, last = self._start + start * row_bytes, self._start + stop * row_bytes
        # To read beyond the end would kill the process.
        if self.path.stat().st_size < self._map_start + last:
            raise EOFError(f"{self.path} ends before row {stop}")
        entries = np.frombuffer(self._map, np.uint8, last - first, first)
        entries[::FAULT_BYTES].sum()  # now, and not when it is computed with
        return entries.view(self._dtype).reshape(stop - start, self.shape[1])

    def release(self, start: int, stop: int) -> None:
        """Let go of rows that nobody needs at present: the system still has them if it can."""
        row_bytes = self.shape[1] * self._dtype.itemsize
        self._advise(
            "MADV_DONTNEED", self._start + start * row_bytes, self._start + stop * row_bytes
        )

    def _advise(self, what: str, first: int, last: int) -> None:
        """Tell the system what comes of some bytes of the file, if it can be told."""
        advice = getattr(mmap, what, None)
        first = -(-first // mmap.PAGESIZE) * mmap.PAGESIZE
        last = min(last, len(self._map)) // mmap.PAGESIZE * mmap.PAGESIZE
        if advice is not None and last > first:
            self._map.madvise(advice, first, last - first)


class Held:
    """Mapped rows that are in use: so many blocks at a time, and those before are let go of."""

    def __init__(self) -> None:
        self._blocks: list[tuple[MappedFile, int, int]] = []

    def view(self, file: MappedFile, start: int, stop: int) -> np.ndarray:
        """Return rows of a file; those that were asked for some time ago are not used any more."""
        if len(self._blocks) > N_HELD:
            before, *rows = self._blocks.pop(0)
            before.release(*rows)
        self._blocks.append((file, start, stop))
        return file.view(start, stop)


def floats_of(dtype: Any) -> np.dtype[Any]:
    """Return the dtype in which numbers of another are read: float32, or float64 for most.

    Raises
    ------
    ValueError
        If they are no real numbers, or if NumPy does not know them.
    """
    name = str(dtype).removeprefix("torch.")
    try:
        known = np.dtype(name)
    except TypeError:
        known = np.dtype(object)
    if known.kind not in "fiub":
        raise ValueError(f"X has the dtype {name}: real numbers that NumPy knows are needed.")
    return np.dtype(np.float32 if known in (np.float32, np.float16) else np.float64)


def reader_of(x: Any, name: str) -> SlicedArray:
    """Return a reader of the rows of an array, or of a .npy file."""
    if isinstance(x, (str, Path)):
        x = np.load(x, mmap_mode="r")
    positions = _positions(x) if isinstance(x, np.memmap) else None
    return SlicedArray(x, name) if positions is None else MappedFile(x, name, *positions)


def _positions(array: np.memmap) -> tuple[int, int] | None:
    """Positions of the first entry in what is mapped, and of that in the file.

    None where the file does not have the rows as such: for memory that was written to without the
    file, and for other orders.
    """
    mapped, offset = getattr(array, "_mmap", None), getattr(array, "offset", None)
    is_float = array.dtype in (np.float32, np.float64) and array.dtype.isnative
    is_plain = array.flags.c_contiguous and array.ndim == 2 and array.mode in ("r", "r+")
    if mapped is None or offset is None or array.filename is None or not (is_plain and is_float):
        return None
    first = np.frombuffer(mapped, np.uint8).__array_interface__["data"][0]
    map_start = offset - offset % mmap.ALLOCATIONGRANULARITY
    return array.__array_interface__["data"][0] - first, map_start
