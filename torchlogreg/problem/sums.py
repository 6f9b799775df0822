"""The sums over the rows that an objective is made of.

Shapes follow the legend in :mod:`torchlogreg.problem.objective`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from torchlogreg.problem.batched import Places
from torchlogreg.problem.families import Family
from torchlogreg.problem.penalties import Penalty
from torchlogreg.problem.points import Numbers, on_host
from torchlogreg.problem.row_block import RowBlock
from torchlogreg.problem.rows import Rows, kept


@dataclass(frozen=True)
class RowSums:
    """Mean loss and its gradient, with the penalty, from what is known for every row.

    Parameters
    ----------
    rows : Rows
        The data.
    family : Family
        Loss of a row.
    penalty : Penalty
        Penalty on the weights.
    is_attended : bool, default=True
        Whether numbers are brought to the host as soon as they are asked for.
    """

    rows: Rows
    family: Family
    penalty: Penalty
    is_attended: bool = True

    def __len__(self) -> int:
        """Return the number n of rows: an objective is the batch of a full-batch net."""
        return self.rows.n_rows

    @property
    def sketch(self) -> Self:
        """The objective of rows in memory: of some that stand for all, where these are not."""
        sketch = self.rows.sketch
        return self if sketch is None else replace(self, rows=sketch)

    @property
    def is_stored(self) -> bool:
        """Whether the rows are read whenever they are needed."""
        return self.rows.is_stored

    @property
    def dtype(self) -> torch.dtype:
        """Of the coefficients, and of all results."""
        return self.penalty.l2.dtype

    def take(self, problems: Sequence[int]) -> Self:
        """Return the objective of some of the problems."""
        places = Places.of(problems)
        return replace(self, rows=self.rows.take(places), penalty=self.penalty.take(places))

    def unattended(self) -> Self:
        """Return the same objective, whose numbers stay on the device."""
        return replace(self, is_attended=False)

    def loss(
        self, eta: Sequence[Tensor], *along: Sequence[Tensor]
    ) -> tuple[list[Tensor], tuple[Tensor, ...]]:
        """Evaluate the mean loss from the linear predictor: X is not read.

        Returns the residual (B, R, n), block by block; and as sums over all rows the mean loss (B,)
        and its slopes (B,) along other linear predictors.
        """
        residual = []

        def part(
            block: RowBlock, slot: Tensor | None, eta: Tensor, *along: Tensor
        ) -> tuple[Tensor, ...]:
            loss, gradient = self.family.evaluate(eta, block.wide_targets, block.wide_weight)
            residual.append(kept(gradient, slot))
            return loss, *((gradient * other).sum((-2, -1)) for other in along)

        sums = self.rows.sum(part, self.rows.slots(eta[0]), eta, *along)
        return residual, sums

    def gradient(self, coef: Tensor, residual: Sequence[Tensor]) -> Tensor:
        """Gradient (B, R, D) from the residual at ``coef``: X is read once."""
        (gradient,) = self.rows.sum(lambda block, part: (block.adjoint(part),), residual)
        return self.penalty.add_gradient_(gradient, coef)

    def agreed(self, tensor: Tensor) -> Tensor:
        """Return the same numbers in all processes, for what is decided by them."""
        return self.rows.group.agreed(tensor)

    def numbers(self, numbers: Tensor | Sequence[Tensor]) -> tuple[Numbers, ...]:
        """Agree on tensors (B,) and bring them to the host, if the objective is attended."""
        if self.is_attended and self.rows.group.size > 1:
            whole = numbers if isinstance(numbers, Tensor) else torch.stack([*numbers])
            numbers = self.agreed(whole)
        return self.fetched(numbers)

    def fetched(self, numbers: Tensor | Sequence[Tensor]) -> tuple[Numbers, ...]:
        """Bring tensors (B,) to the host in one transfer, if the objective is attended.

        All processes must have the same ones, as sums over all rows are.
        """
        if not self.is_attended:
            return tuple(numbers)
        if isinstance(numbers, Tensor):
            return tuple(map(tuple, numbers.tolist()))
        if numbers[0].device.type == "cpu":
            return tuple([on_host(part) for part in numbers])
        return tuple(map(tuple, torch.stack([*numbers]).tolist()))
