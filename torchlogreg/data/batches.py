"""Mini-batches of rows in memory.

Shapes follow the legend in :mod:`torchlogreg.problem.objective`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from torchlogreg.problem.row_block import RowBlock

Batch = tuple[Any, Tensor]
"""Rows and their class codes."""


class ShuffledBatches:
    """Iterator over mini-batches in an order that is another one in every epoch.

    Parameters
    ----------
    rows : RowBlock
        All rows.
    codes : Tensor of shape (n,)
        Class codes.
    index : Tensor or None
        The rows that take part; None for all.
    batch_size : int
        Rows of a batch; the last one of an epoch may have fewer. Where one batch holds all of
        the rows, it is the rows as they are.
    seed, epoch : int
        The order is that of a generator seeded with both. It is drawn on the CPU, so that it
        does not depend on the device.
    """

    def __init__(
        self,
        rows: RowBlock,
        codes: Tensor,
        index: Tensor | None,
        batch_size: int,
        seed: int,
        epoch: int,
    ) -> None:
        self.rows = rows
        self.codes = codes
        self.index = index
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = epoch
        self.n_rows = len(rows) if index is None else len(index)
        self.n_batches = -(-self.n_rows // batch_size)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches of the next epoch."""
        if self.batch_size >= len(self.rows):
            yield self.rows, self.codes
            return
        generator = torch.Generator("cpu").manual_seed(self.seed * 2**20 + self.epoch)
        self.epoch += 1
        order = torch.randperm(self.n_rows, generator=generator, device="cpu")
        order = order.to(self.codes.device)
        order = order if self.index is None else self.index[order]
        for index in order.split(self.batch_size):
            yield self.rows.take_rows(index, self.n_rows / len(index)), self.codes[index]
