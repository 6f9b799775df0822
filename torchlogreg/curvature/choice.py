"""Which form of preconditioner suits the data, how many rows it is estimated from, and when.

Whether a dear preconditioner pays is not known before: easy data converges without. It is
therefore built when as much time has gone into iterations as it costs. Whatever the data, that
takes at most twice the time of the better of both choices. Costs are counted in
multiplications, not in seconds, so that a fit is the same whenever it is repeated.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from torchlogreg.curvature.blocks import Blocks
from torchlogreg.curvature.diagonal import Diagonal
from torchlogreg.curvature.kronecker import Kronecker
from torchlogreg.problem.objective import Objective
from torchlogreg.problem.points import Point

InverseHessian = Callable[[Tensor], Tensor]
"""Maps a gradient (B, R, D) to a step (B, R, D): linear, symmetric, positive on the gradients."""

ROWS_PER_COLUMN = 8
"""Rows in the smallest sample for every column of a D x D matrix."""

MIN_ROWS = 2000
"""Fewest rows in a sample, where there are as many."""

MIN_COLUMNS = 256
"""Columns D up to which there may be fewer rows than that."""

MAX_ENTRIES = 2**24
"""Most entries of the matrices of all outputs, unless the data itself is larger."""

READ = 6
"""Multiplications in the time in which an entry of dense data is read."""

SPARSE_FACTOR = 10
"""How much dearer a multiplication is with sparse data than with dense ones."""

GRAM_FACTOR = 0.3
"""How much cheaper one is in half a product of two large matrices."""

INVERSE_FACTOR = 0.7
"""Multiplications for the inverse of a D x D matrix, in units of D^3."""

GATHER = 100
"""Multiplications in the time in which an entry is picked, moved and scaled."""

CALLS = 4e7
"""Multiplications in the time of the calls that an iteration makes."""


class SampledInverseHessian:
    """Approximate inverse Hessians of increasing quality, and what each of them costs.

    ======== ============================ =====================================
    quality  form                         earliest iteration
    ======== ============================ =====================================
    0        :class:`Diagonal`            0
    1        :class:`Kronecker`           0
    2, 3, …  :class:`Blocks`              5, 40, 160, 640
    ======== ============================ =====================================

    Every quality above 2 has twice as many rows as the one before. Where there are too many
    outputs for a matrix each, it is :class:`Kronecker` instead of :class:`Blocks`. With fewer
    rows than columns there is none, beyond ``MIN_COLUMNS`` columns.
    """

    earliest = (0, 0, 5, 40, 160, 640)
    """Iterations before which a quality is not built: the coefficients have not settled."""

    def cost(self, objective: Objective, point: Point, quality: int) -> float:
        """Return how many iterations take as long as to build that quality.

        Infinity if its matrices are too large, and for all of them if there are fewer rows than
        columns, and more than ``MIN_COLUMNS`` of these: the steps of plain L-BFGS stay in the
        space that the rows span, where the minimiser is, and those of a preconditioner do not
        (300 x 5,000 with columns of scales 10^-3 to 10^3: 20 iterations without, more than 1,000
        with the diagonal).
        """
        B, R, D = point.coef.shape
        is_determined = objective.n_rows >= D or D <= MIN_COLUMNS
        if not is_determined or (quality > 0 and not self._fits(objective, B, 1, D)):
            return math.inf
        if quality == 0:
            return 0.0
        n_rows = self._n_rows(objective, point, quality)
        work = n_rows * _work_per_row(D) + D**3 * INVERSE_FACTOR
        n_matrices = B * R if self._has_blocks(objective, point, quality) else B
        return n_matrices * work / self._iteration(objective, B * R)

    def __call__(
        self, objective: Objective, point: Point, generator: torch.Generator, *, quality: int
    ) -> InverseHessian:
        """Approximate the inverse Hessian at a point.

        Parameters
        ----------
        objective : Objective
            Data, family and penalty.
        point : Point
            Where.
        generator : torch.Generator
            Draws the rows, if there are more than the sample takes.
        quality : int
            See the table.

        Returns
        -------
        inverse : callable
            Maps (B, R, D) to (B, R, D).
        """
        if quality == 0:
            return Diagonal(objective, point)
        n_rows = self._n_rows(objective, point, quality)
        form = Blocks if self._has_blocks(objective, point, quality) else Kronecker
        return form(objective, point, generator, n_rows)

    def _has_blocks(self, objective: Objective, point: Point, quality: int) -> bool:
        return quality >= 2 and self._fits(objective, *point.coef.shape)

    @staticmethod
    def _fits(objective: Objective, B: int, R: int, D: int) -> bool:
        n_entries = sum(block.n_entries for block in objective.blocks)
        return bool(max(MAX_ENTRIES, n_entries // 4) >= B * R * D**2)

    def _n_rows(self, objective: Objective, point: Point, quality: int) -> int:
        """Rows of the sample: as many as blocks could have for an iteration, if that is more."""
        B, R, D = point.coef.shape
        n_least = max(ROWS_PER_COLUMN * D, MIN_ROWS) << max(quality - 2, 0)
        budget = self._iteration(objective, B * R) / (B * R)
        n_wanted = max(n_least, int(budget / _work_per_row(D)))
        return objective.n_rows if 2 * n_wanted >= objective.n_rows else n_wanted

    @staticmethod
    def _iteration(objective: Objective, n_outputs: int) -> float:
        """Multiplications in the time of an iteration, which multiplies the data twice."""
        factor = 1 if objective.blocks[0].is_dense else SPARSE_FACTOR
        n_entries = sum(block.n_entries for block in objective.blocks)
        return 2 * n_entries * (n_outputs + READ) * factor + CALLS


def _work_per_row(n_columns: int) -> float:
    """Multiplications in the time that a row takes on its way into a D x D matrix."""
    return n_columns * (n_columns * GRAM_FACTOR + GATHER)


sampled_inverse_hessian = SampledInverseHessian()
"""What "lbfgs" builds its preconditioners with."""
