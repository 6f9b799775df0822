"""Blocks in turn, pass after pass: while one is computed with, the next is read.

That is also so for the first of the next pass.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from queue import Empty, Full, Queue
from typing import Any

import numpy as np
from torch import Tensor

from torchlogreg.data.sources import N_HELD, BlockSource, checksum, tensor_of


def changed(source: BlockSource, number: int) -> RuntimeError:
    """Return the error that says that a block is not what it was."""
    return RuntimeError(
        f"{source.where(number)} has changed since the first pass over the data: a fit needs the "
        "same rows in every pass, in the same order."
    )


class Reader:
    """Gives out blocks, from one on, and begins again after the last.

    A thread reads ahead, unless files are mapped: then the system does.

    Parameters
    ----------
    source : BlockSource
        Where blocks are read from.
    sizes : list of int
        Number of rows of every block.
    first : int
        The block with which later passes begin: those before stay in memory.
    position : int
        The block with which this one begins.
    is_once : bool, default=False
        Whether there are no later passes.
    """

    def __init__(
        self,
        source: BlockSource,
        sizes: list[int],
        first: int,
        position: int,
        *,
        is_once: bool = False,
    ) -> None:
        self.position = position
        """The block that comes next."""
        self._first, self._n_blocks = first, len(sizes)
        self._blocks = _passes(source, sizes, first, position, is_once)
        self._thread: threading.Thread | None = None
        if not source.is_mapped:
            self._queue: Queue[Any] = Queue(maxsize=1)
            self._stopped = threading.Event()
            self._thread = threading.Thread(
                target=_read_ahead,
                args=(self._blocks, self._queue, self._stopped),
                name="torchlogreg-reader",
                daemon=True,
            )
            self._thread.start()
            weakref.finalize(self, self._stopped.set)

    def next(self) -> tuple[Tensor, int]:
        """Return the next block, and a checksum."""
        found = next(self._blocks) if self._thread is None else self._wait(self._thread)
        self.position += 1
        if self.position == self._n_blocks:
            self.position = self._first
        return found

    def finish(self) -> None:
        """See to the end of the only pass: there must be no more blocks."""
        if self._thread is None:
            next(self._blocks, None)
            return
        self._thread.join(timeout=60)
        if not self._queue.empty():
            self._wait(self._thread)

    def stop(self) -> None:
        """End the thread."""
        if self._thread is not None:
            self._stopped.set()
            self._thread.join(timeout=10)

    def _wait(self, thread: threading.Thread) -> tuple[Tensor, int]:
        """Return what the thread has read, or raise what has ended it."""
        while True:
            try:
                found = self._queue.get(timeout=1.0)
            except Empty:
                if not thread.is_alive() and self._queue.empty():
                    raise RuntimeError("The thread that reads blocks has ended.") from None
                continue
            if isinstance(found, BaseException):
                raise found
            block, check = found
            return block, check


def _read_ahead(
    blocks: Iterator[tuple[Tensor, int]], queue: Queue[Any], stopped: threading.Event
) -> None:
    """Put blocks into a queue until told to stop, or until something fails.

    It knows nothing of the reader, which may then be let go.
    """

    def put(found: Any) -> bool:
        while not stopped.is_set():
            try:
                queue.put(found, timeout=0.1)
            except Full:
                continue
            return True
        return False

    try:
        for found in blocks:
            if not put(found):
                return
    except BaseException as error:
        put(error)


def _passes(
    source: BlockSource, sizes: list[int], first: int, position: int, is_once: bool
) -> Iterator[tuple[Tensor, int]]:
    """Yield blocks and checksums, pass after pass."""
    buffers = _Buffers(source, max(sizes, default=0))
    again = "A fit needs the same rows in every pass."
    while True:
        source.check()
        blocks = source.read(position, buffers)
        for number in range(position, len(sizes)):
            block, expected = next(blocks, None), (sizes[number], source.n_features)
            if block is None or block.shape != expected:
                found = "is missing" if block is None else f"has the shape {block.shape}"
                raise RuntimeError(
                    f"{source.where(number)} {found}; in the first pass it had {expected}. {again}"
                )
            yield tensor_of(block), checksum(block)
        if next(blocks, None) is not None:
            raise RuntimeError(f"There are more than the {len(sizes)} blocks before. {again}")
        if is_once:
            return
        position = first


class _Buffers:
    """Memory for dense blocks that is used again and again, in turn."""

    def __init__(self, source: BlockSource, most_rows: int) -> None:
        n_buffers = 0 if source.is_sparse or source.is_mapped else N_HELD
        size = most_rows * source.n_features
        self._buffers = [np.empty(size, source.dtype) for _ in range(n_buffers)]
        self._n_features, self._is_by_columns = source.n_features, source.is_by_columns
        self._turn = 0

    def __call__(self, n_rows: int) -> np.ndarray:
        """Return memory for a block of so many rows."""
        n_entries = n_rows * self._n_features
        buffer = self._buffers[self._turn]
        if n_entries > len(buffer):  # which is an error, and will be found
            buffer = np.empty(n_entries, buffer.dtype)
        self._turn = (self._turn + 1) % len(self._buffers)
        if self._is_by_columns:
            return buffer[:n_entries].reshape(self._n_features, n_rows).T
        return buffer[:n_entries].reshape(n_rows, self._n_features)
