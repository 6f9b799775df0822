"""Cheaper stand-ins for an objective: in single precision, and of few of its rows.

They change the way to the minimiser, never the minimiser: that is the objective's own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from torchlogreg.problem.objective import Objective


@dataclass(frozen=True)
class Stages:
    """Read large dense data in float64 in float32 first.

    Products in single precision take a fraction of the time, and the minimisers agree to seven
    digits or so.
    """

    large_work: float = 2**21
    """Fewest multiplications in a product with X that take more time than its calls."""

    far: float = 100.0
    """Deviations from zero beyond which float32 leaves too few digits of a column."""

    n_looked_at: int = 1000
    """Rows that are looked at for that."""

    def of(self, objective: Objective, n_outputs: int) -> list[Objective]:
        """Return stand-ins that are ever more precise and dear; the last is the objective."""
        rows = objective.rows
        if rows.is_stored:  # every stage reads them once more
            return [objective]
        is_large = rows.is_dense and rows.n_entries * n_outputs >= self.large_work
        if objective.dtype != torch.float64 or not is_large or self._lies_far_from_zero(objective):
            return [objective]
        penalty = objective.penalty.to(torch.float32)
        return [replace(objective, rows=rows.single, penalty=penalty), objective]

    def _lies_far_from_zero(self, objective: Objective) -> bool:
        """Whether a column is so far from zero that float32 leaves few digits of its deviation."""
        block, lies_far = objective.rows.blocks[0], False
        every = max(block.n_rows // self.n_looked_at, 1)
        index = torch.arange(0, block.n_rows, every, device=block.weight.device)
        if len(index) > 1:
            deviation, mean = torch.std_mean(block.design(index), dim=1)
            lies_far = bool(((deviation > 0) & (mean.abs() > self.far * deviation)).any())
        return objective.rows.group.any(lies_far)


@dataclass(frozen=True)
class Subsample:
    """Make the first iterations on few of the rows."""

    one_in: int = 10
    """One row of so many is in it."""

    min_rows_per_column: float = 1000
    """Fewest rows for every column of X: the minimisers are then hardly different."""

    n_iter: int = 3
    """Iterations on it."""

    worth: int = 5
    """Iterations on all rows that it stands for."""

    def of(self, objective: Objective, generator: torch.Generator) -> Objective | None:
        """Return the objective of few of the rows; None if those are too few."""
        rows = objective.rows
        if rows.is_stored or rows.n_rows // self.one_in < self.min_rows_per_column * rows.n_columns:
            return None
        n_sampled = rows.n_own_rows // self.one_in
        device = generator.device
        offset = torch.randint(self.one_in, (n_sampled,), generator=generator, device=device)
        index = torch.arange(n_sampled, device=device) * self.one_in + offset
        sample = rows.take_rows(index.to(rows.blocks[0].weight.device))
        (total,) = sample.sum(lambda block: (block.weight.sum(-1),))
        if not (total > 0).all():
            return None
        return replace(objective, rows=sample.reweight(1 / total))
