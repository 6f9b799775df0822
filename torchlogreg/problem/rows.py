"""Rows of a feature matrix, cut into blocks, and the one place in which all are added up.

Shapes follow the legend in :mod:`torchlogreg.problem.objective`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from torchlogreg.problem.centring import Centre
from torchlogreg.problem.group import ALONE, Group
from torchlogreg.problem.row_block import RowBlock


@dataclass(frozen=True)
class Rows:
    """All rows of a training set, or of a part of it, block by block.

    Other processes may have more of them. Sums and numbers of rows are then those of all.
    """

    blocks: tuple[RowBlock, ...]
    """The blocks of this process, in the order of the rows."""

    centre: Centre | None = None
    """What is taken from every row: the coefficients are then those of centred columns."""

    group: Group = ALONE
    """The processes that have rows."""

    elsewhere: tuple[int, int] = (0, 0)
    """Numbers of rows, and of stored entries, that the other processes have."""

    sketch: Rows | None = None
    """Some of the rows, in memory, that stand for all: if these are read whenever they are
    needed."""

    @classmethod
    def shared(cls, blocks: Sequence[RowBlock], centre: Centre | None, group: Group) -> Rows:
        """Return the rows of all processes: each gives its own blocks."""
        rows = cls(tuple(blocks), centre, group)
        if group.size == 1:
            return rows
        own = rows.n_rows, rows.n_entries
        totals = map(sum, zip(*group.gathered(own), strict=True))
        n_rows, n_entries = (total - here for total, here in zip(totals, own, strict=True))
        return replace(rows, elsewhere=(n_rows, n_entries))

    def __iter__(self) -> Iterator[RowBlock]:
        """Return an iterator over the blocks."""
        return iter(self.blocks)

    def __len__(self) -> int:
        """Return the number of blocks."""
        return len(self.blocks)

    @property
    def n_rows(self) -> int:
        """Number n of rows of all blocks."""
        return self.n_own_rows + self.elsewhere[0]

    @property
    def n_own_rows(self) -> int:
        """Number of rows that this process has."""
        return sum(block.n_rows for block in self.blocks)

    @property
    def n_columns(self) -> int:
        """Number D of coefficients for each output."""
        return self.blocks[0].n_columns

    @property
    def n_entries(self) -> int:
        """Number of stored entries of X."""
        return sum(block.n_entries for block in self.blocks) + self.elsewhere[1]

    @property
    def is_dense(self) -> bool:
        """Whether X is dense."""
        return self.blocks[0].is_dense

    @property
    def is_stored(self) -> bool:
        """Whether the rows are read whenever they are needed."""
        return self.sketch is not None

    @property
    def weight(self) -> Tensor:
        """Row weights (1 or B, n) of this process."""
        return joined([block.weight for block in self.blocks])

    @cached_property
    def single(self) -> Rows:
        """The same rows, whose results are in float32: kept, for all who begin with them."""
        return self.to(torch.float32)

    @cached_property
    def scale(self) -> Tensor:
        """Root of the mean square of every column, shape (1 or B, D)."""
        (squares,) = self.sum(lambda block: (block.squares(block.weight),))
        return squares.sqrt()

    def sum(
        self, part: Callable[..., tuple[Tensor, ...]], *per_block: Sequence[Any]
    ) -> tuple[Tensor, ...]:
        """Add up what the blocks of all processes contribute: the only reduction over rows.

        Parameters
        ----------
        part : callable
            Takes a block, and what belongs to it of each of ``per_block``. Returns new tensors,
            one for each sum.
        *per_block : sequences
            One entry for each block.

        Returns
        -------
        sums : tuple of Tensor
            In the shapes in which ``part`` returns them.
        """
        if len(self.blocks) == 1:
            sums = part(self.blocks[0], *[entries[0] for entries in per_block])
        else:
            first, *others = zip(self.blocks, *per_block, strict=True)
            sums = part(*first)
            for values in others:
                for total, term in zip(sums, part(*values), strict=True):
                    total += term
        return self.group.total(*sums)

    def slots(self, coef: Tensor) -> Sequence[Tensor | None]:
        """Return memory for what stays of every row: (B, R, n) for each block, by coefficients.

        If rows are stored, it is in one piece: small pieces among the blocks that come and go would
        leave holes in the memory of the process. Otherwise there is none, and none is needed.
        """
        if not self.is_stored:
            return [None] * len(self.blocks)
        B, R, _ = coef.shape
        flat = coef.new_empty(B * R * self.n_own_rows)
        parts = flat.split([B * R * block.n_rows for block in self.blocks])
        return [part.view(B, R, -1) for part in parts]

    def take(self, problems: Sequence[int]) -> Rows:
        """Return the same rows for some of the problems."""
        blocks = tuple(block.take(problems) for block in self.blocks)
        sketch = None if self.sketch is None else self.sketch.take(problems)
        return replace(self, blocks=blocks, sketch=sketch)

    def locate(self, index: Tensor) -> list[Tensor]:
        """Split a rising index of the rows of this process into one for each block."""
        places, start = [], 0
        for block in self.blocks:
            inside = (index >= start) & (index < start + block.n_rows)
            places.append(index[inside] - start)
            start += block.n_rows
        return places

    def take_rows(self, index: Tensor) -> Rows:
        """Copy the rows of a rising index of those of this process."""
        pairs = zip(self.blocks, self.locate(index), strict=True)
        blocks = [block.take_rows(place) for block, place in pairs]
        return self.shared(blocks, self.centre, self.group)

    def reweight(self, factor: Tensor) -> Rows:
        """Return the same rows, with the weights of each problem times a factor (1 or B,)."""
        return replace(self, blocks=tuple(block.reweight(factor) for block in self.blocks))

    def to(self, dtype: torch.dtype) -> Rows:
        """Return the same rows, whose results are of another dtype."""
        return replace(self, blocks=tuple(block.to(dtype) for block in self.blocks))


def kept(value: Tensor, slot: Tensor | None) -> Tensor:
    """Return what is to stay in memory: in its slot, if there is one."""
    return value if slot is None else slot.copy_(value)


def joined(parts: Sequence[Tensor]) -> Tensor:
    """Join what the blocks have for their rows, without a copy if there is one block."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=-1)
