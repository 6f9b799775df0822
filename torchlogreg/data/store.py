"""Blocks that are read again and again, some of which stay in memory.

The first blocks stay in memory, as many as a budget allows.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from torchlogreg.data.reader import Reader, changed
from torchlogreg.data.scratch import Scratch
from torchlogreg.data.sharing import stacked
from torchlogreg.data.sources import N_HELD, BlockSource
from torchlogreg.data.training_data import n_entries_of
from torchlogreg.problem.dense import DenseBlock
from torchlogreg.problem.row_block import RowBlock, select_rows
from torchlogreg.problem.sparse import SparseBlock
from torchlogreg.problem.stored import Sample, StoredMatrix


class Store(StoredMatrix):
    """The features of a source, as a matrix that is read whenever it is needed.

    Parameters
    ----------
    source : BlockSource
        Where blocks are read from.
    sizes : list of int
        Number of rows of every block.
    known : list of int or None
        Checksums of the blocks, where labels came with features.
    draw : Draw
        How the rows of the sample are drawn.
    most_bytes : int
        Bytes of the blocks that stay in memory, and of the buffers.
    device : torch.device
        Where blocks are brought.
    advance : callable
        Told how many rows of the first pass are read.

    Raises
    ------
    ValueError
        If an entry is not a finite number.
    """

    def __init__(
        self,
        source: BlockSource,
        sizes: list[int],
        known: list[int | None],
        draw: Draw,
        most_bytes: int,
        device: torch.device,
        advance: Callable[[int], None],
    ) -> None:
        self.sizes, self.n_features, self.device = sizes, source.n_features, device
        self.dtype = torch.float32 if source.dtype == np.float32 else torch.float64
        self.layout = torch.sparse_csr if source.is_sparse else torch.strided
        self.n_entries = 0
        self.n_blocks_read = 0
        """Blocks that were read, from the first pass on."""
        self._source, self._known = source, known
        self._kept: dict[int, RowBlock] = {}
        self._slot: tuple[int, RowBlock] | None = None
        self._scratch: Scratch | None = None
        self._reader: Reader | None = None
        self._sums: list[int] = []
        drawn = draw(sizes)
        try:
            self.sample = self._sampled(draw, drawn, self._look(drawn, most_bytes, advance))
            if self._scratch is not None:
                self._scratch.finish()
                self._source = self._scratch
        except BaseException:  # whose traceback would keep the file
            if self._scratch is not None:
                self._scratch.remove()
            raise

    @property
    def n_reads(self) -> float:
        """How many times all blocks were read, the first pass included."""
        return self.n_blocks_read / max(len(self.sizes), 1)

    @property
    def is_in_memory(self) -> bool:
        """Whether all blocks stay in memory."""
        return len(self._kept) == len(self.sizes)

    @property
    def n_busy_threads(self) -> int:
        """Threads that reading keeps busy: it is hardly anything where files are mapped."""
        return int(not (self.is_in_memory or self._source.is_mapped))

    def load(self, number: int) -> RowBlock:
        """Read a block, unless it is in memory."""
        if number in self._kept:
            return self._kept[number]
        if self._slot is not None and self._slot[0] == number:
            return self._slot[1]
        if self._reader is None or self._reader.position != number:
            self.close()
            self._reader = Reader(self._source, self.sizes, len(self._kept), number)
        self._slot = None  # whose buffer is read into
        block, check = self._reader.next()
        self.n_blocks_read += 1
        if check != self._sums[number]:
            raise changed(self._source, number)
        self._slot = number, self._block(block)
        return self._slot[1]

    def close(self) -> None:
        """Stop reading ahead, and let go of buffers."""
        self._slot = None
        if self._reader is not None:
            self._reader.stop()
            self._reader = None

    def fingerprint(self) -> str:
        """Return a digest of some entries of every block."""
        return f"{self.shape} {zlib.crc32(repr(self._sums).encode()):08x}"

    def _block(self, X: Tensor) -> RowBlock:
        """Return features as rows without targets and weights."""
        X = X.to(self.device)
        nothing = torch.empty(0, device=self.device)
        kind = SparseBlock if self.layout is torch.sparse_csr else DenseBlock
        return kind(X, nothing, nothing)

    def _look(
        self, drawn: list[np.ndarray], most_bytes: int, advance: Callable[[int], None]
    ) -> Iterator[Tensor]:
        """Read everything once: check it, keep the first blocks, and yield the sample."""
        size_of_buffers, n_bytes, is_full = 0, 0, False
        reader = Reader(self._source, self.sizes, 0, 0, is_once=True)
        try:
            for number, (n_rows, places) in enumerate(zip(self.sizes, drawn, strict=True)):
                X, check = reader.next()
                expected = self._known[number]
                if expected is not None and check != expected:
                    raise changed(self._source, number)
                self._sums.append(check)
                self._source.checked(X, number)
                self.n_entries += n_entries_of(X)
                yield select_rows(X, torch.from_numpy(places))
                size = _bytes_of(X)
                size_of_buffers = max(size_of_buffers, N_HELD * size)
                rest = 0 if number + 1 == len(self.sizes) else size_of_buffers
                is_full = is_full or n_bytes + size + rest > most_bytes
                if not is_full:
                    self._kept[number] = self._block(X.clone())
                    n_bytes += size
                elif self._source.scratch is not None:
                    self._scratch = self._scratch or Scratch(self._source, self.sizes, number)
                    self._scratch.write(X)
                self.n_blocks_read += 1
                advance(n_rows)
            reader.finish()
        finally:
            reader.stop()

    def _sampled(self, draw: Draw, drawn: list[np.ndarray], parts: Iterator[Tensor]) -> Sample:
        """Put the parts of the sample together, as they come."""
        starts = np.cumsum([0, *self.sizes])
        index = np.concatenate([s + rows for s, rows in zip(starts, drawn, strict=False)])
        factor = 1 / np.minimum(draw.probability(index), 1)
        if self._source.is_sparse:
            X = stacked(list(parts))
        else:
            X, n_rows = torch.empty(len(index), self.n_features, dtype=self.dtype), 0
            for part in parts:
                X[n_rows : n_rows + len(part)] = part
                n_rows += len(part)
        index_, factor_ = torch.from_numpy(index), torch.from_numpy(factor)
        return Sample(X.to(self.device), index_.to(self.device), factor_.to(self.device))


@dataclass(frozen=True, eq=False)
class Draw:
    """How rows are drawn: with a probability by their weight, and one by their class."""

    codes: np.ndarray
    """Class codes (n,)."""

    weight: np.ndarray
    """Weights (n,)."""

    per_weight: float
    """Probability for a unit of weight."""

    per_class: np.ndarray
    """Probability (K,) of a row of each class, besides."""

    seed: int
    """For the generator."""

    def probability(self, rows: slice | np.ndarray) -> np.ndarray:
        """Probability of some rows: more than 1 stands for 1."""
        probability: np.ndarray = (
            self.per_weight * self.weight[rows] + self.per_class[self.codes[rows]]
        )
        return probability

    def __call__(self, sizes: list[int]) -> list[np.ndarray]:
        """Return the rows that are drawn of every block, by their places in it."""
        generator, drawn, start = np.random.default_rng(self.seed), [], 0
        for size in sizes:
            probability = self.probability(slice(start, start + size))
            drawn.append(np.flatnonzero(generator.random(size) < probability))
            start += size
        return drawn


def _bytes_of(X: Tensor) -> int:
    """Return about how many bytes a block takes; a sparse one with its transpose."""
    if X.layout is torch.strided:
        return X.numel() * X.element_size()
    return 2 * X.values().numel() * (X.values().element_size() + X.col_indices().element_size())
