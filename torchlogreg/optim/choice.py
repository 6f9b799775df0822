"""Which curvature L-BFGS is built on, from how many rows it is estimated, and when.

Whether a dear one pays is not known before: easy data converges without. It is therefore built
when as much time has gone into iterations as it costs. Whatever the data, that takes at most twice
the time of the better of both choices. Costs are counted in multiplications, not in seconds, so
that a fit is the same whenever it is repeated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from torchlogreg.curvature import Blocks, Curvature, Diagonal, Kronecker
from torchlogreg.problem.objective import Objective
from torchlogreg.problem.points import Point


@dataclass(frozen=True)
class SampledCurvature:
    """Approximate Hessians of increasing quality, and what each of them costs.

    ========  =============  ==================
    quality   form           earliest iteration
    ========  =============  ==================
    0         ``Diagonal``   0
    1         ``Kronecker``  0
    2, 3, …   ``Blocks``     5, 40, 160, 640
    ========  =============  ==================

    Every quality above 2 has twice as many rows as the one before. Where there are too many
    outputs for a matrix each, it is of the form of quality 1, too. With fewer rows than columns
    there is none, beyond ``min_columns`` columns.
    """

    earliest: ClassVar[tuple[int, ...]] = (0, 0, 5, 40, 160, 640)
    """Iterations before which a quality is not built: the coefficients have not settled."""

    rows_per_column: int = 8
    """Rows in the smallest sample for every column of a D x D matrix."""

    min_rows: int = 2000
    """Fewest rows in a sample, where there are as many."""

    min_columns: int = 256
    """Columns D up to which there may be fewer rows than that."""

    max_entries: int = 2**24
    """Most entries of the matrices of all outputs, unless the data itself is larger."""

    read: float = 6
    """Multiplications in the time in which an entry of dense data is read."""

    sparse_factor: float = 10
    """How much dearer a multiplication is with sparse data than with dense ones."""

    gram_factor: float = 0.3
    """How much cheaper one is in half a product of two large matrices."""

    inverse_factor: float = 0.7
    """Multiplications for the inverse of a D x D matrix, in units of D^3."""

    gather: float = 100
    """Multiplications in the time in which an entry is picked, moved and scaled."""

    calls: float = 4e7
    """Multiplications in the time of the calls that an iteration makes."""

    def cost(self, objective: Objective, point: Point, quality: int) -> float:
        """Return how many iterations take as long as to build that quality.

        Infinity if its matrices are too large, and for all of them if there are fewer rows than
        columns, and more than ``min_columns`` of these: the steps of plain L-BFGS stay in the
        space that the rows span, where the minimiser is, and those of a preconditioner do not
        (300 x 5,000 with columns of scales 10^-3 to 10^3: 20 iterations without, more than 1,000
        with the diagonal).
        """
        B, R, D = point.coef.shape
        is_determined = objective.rows.n_rows >= D or self.min_columns >= D
        if not is_determined or (quality > 0 and not self._fits(objective, B, 1, D)):
            return math.inf
        if quality == 0:
            return 0.0
        n_rows = self.n_rows(objective, point, quality)
        work = n_rows * self._work_per_row(D) + D**3 * self.inverse_factor
        n_matrices = B * R if self._has_blocks(objective, point, quality) else B
        return n_matrices * work / self._iteration(objective, B * R)

    def __call__(
        self, objective: Objective, point: Point, generator: torch.Generator, *, quality: int
    ) -> Curvature:
        """Approximate the Hessian of the loss at a point.

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
        curvature : Curvature
            Of the loss, without the penalty.
        """
        if quality == 0:
            return Diagonal.at(objective, point)
        n_rows = self.n_rows(objective, point, quality)
        form = Blocks if self._has_blocks(objective, point, quality) else Kronecker
        return form.sampled(objective, point, generator, n_rows)

    def n_rows(self, objective: Objective, point: Point, quality: int) -> int:
        """Rows of the sample: as many as blocks could have for an iteration, if that is more."""
        B, R, D = point.coef.shape
        n_least = max(self.rows_per_column * D, self.min_rows) << max(quality - 2, 0)
        budget = self._iteration(objective, B * R) / (B * R)
        n_wanted, n_all = max(n_least, int(budget / self._work_per_row(D))), objective.rows.n_rows
        return n_all if 2 * n_wanted >= n_all else n_wanted

    def _has_blocks(self, objective: Objective, point: Point, quality: int) -> bool:
        return quality >= 2 and self._fits(objective, *point.coef.shape)

    def _fits(self, objective: Objective, B: int, R: int, D: int) -> bool:
        return max(self.max_entries, objective.rows.n_entries // 4) >= B * R * D**2

    def _iteration(self, objective: Objective, n_outputs: int) -> float:
        """Multiplications in the time of an iteration, which multiplies the data twice."""
        rows = objective.rows
        factor = 1 if rows.is_dense else self.sparse_factor
        return 2 * rows.n_entries * (n_outputs + self.read) * factor + self.calls

    def _work_per_row(self, n_columns: int) -> float:
        """Multiplications in the time that a row takes on its way into a D x D matrix."""
        return n_columns * (n_columns * self.gram_factor + self.gather)
