"""Which curvature L-BFGS is built on, from how many rows it is estimated, and when.

Whether a dear one pays is not known before: easy data converges without. It is therefore built
when as much time has gone into iterations as it costs. Whatever the data, that takes at most twice
the time of the better of both choices. Costs are counted in multiplications, not in seconds, so
that a fit is the same whenever it is repeated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from torchlogreg.curvature import Blocks, Curvature, Dense, Diagonal, Kronecker
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

    Every quality above 2 has twice as many rows as the one before; if all problems share it, and it
    is small, it is the whole Hessian, ``Dense``. Where there are too many outputs for a matrix
    each, it is of the form of quality 1, too. With fewer rows than columns there is none, beyond
    ``min_columns`` columns.
    """

    earliest: tuple[int, ...] = (0, 0, 5, 40, 160, 640)
    """Iterations before which a quality is not built: the coefficients have not settled."""

    is_shared: bool = False
    """Whether all problems get that of the last one, penalty included: they are alike."""

    dense_entries: int = 2**20
    """Most entries of a Hessian over all coefficients, which takes the place of blocks if it is
    shared."""

    logit: float = 0.0
    """Multiplications in the time that an iteration spends on a logit of a row."""

    rows_per_column: int = 8
    """Rows in the smallest sample for every column of a D x D matrix."""

    least_per_column: int = 2
    """Fewest rows of a sketch for every column, where the rows themselves are not in memory."""

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

        Infinity if its matrices are too large, or a sketch has too few rows for them. For all of
        them if there are fewer rows than columns, and more than ``min_columns`` of these: the steps
        of plain L-BFGS stay in the space that the rows span, where the minimiser is, and those of a
        preconditioner do not (300 x 5,000 with columns of scales 10^-3 to 10^3: 20 iterations
        without, more than 1,000 with the diagonal).
        """
        B, R, D = point.coef.shape
        is_determined = objective.rows.n_rows >= D or self.min_columns >= D
        if not is_determined or (quality > 0 and not self._fits(objective, self._n_built(B), 1, D)):
            return math.inf
        if quality == 0:
            return 0.0
        sketch = objective.rows.sketch
        if sketch is not None and sketch.n_rows < self.least_per_column * D:
            return math.inf
        if self._is_dense(point, quality):
            P = R * D
            work = objective.rows.n_rows * P**2 * self.gram_factor + P**3 / 3
            return work / self._iteration(objective, B * R)
        n_rows = self.n_rows(objective, point, quality)
        work = n_rows * self._work_per_row(D) + D**3 * self.inverse_factor
        n_built = self._n_built(B)
        n_matrices = n_built * R if self._has_blocks(objective, point, quality) else n_built
        return n_matrices * work / self._iteration(objective, B * R)

    def __call__(
        self, objective: Objective, point: Point, generator: torch.Generator, *, quality: int
    ) -> Curvature:
        """Approximate the Hessian at a point, for those who only solve with it.

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
            With the penalty. Of the last problem alone, if it is shared.
        """
        n_rows = self.n_rows(objective, point, quality)
        if objective.is_stored and quality > 0:  # the diagonal is worth a read: scales differ
            objective = objective.sketch
            point = objective.at(point.coef)
        if self.is_shared:
            last = [len(point.coef) - 1]
            objective, point = objective.take(last), point.take(last)
        loss = self._loss(objective, point, generator, quality, n_rows)
        return loss.shifted(objective.ridge).into_inverse()

    def _loss(
        self, objective: Objective, point: Point, generator: torch.Generator, quality: int, n: int
    ) -> Curvature:
        """Approximate the Hessian of the loss by n rows."""
        if quality == 0:
            return Diagonal.at(objective, point)
        if self._is_dense(point, quality):
            return Dense(objective.hessian(point))
        form = Blocks if self._has_blocks(objective, point, quality) else Kronecker
        return form.sampled(objective, point, generator, n)

    def n_rows(self, objective: Objective, point: Point, quality: int) -> int:
        """Rows of the sample: as many as blocks could have for an iteration, if that is more.

        All of the sketch, where the rows are not in memory.
        """
        if objective.rows.sketch is not None:
            return objective.rows.sketch.n_rows
        B, R, D = point.coef.shape
        n_least = max(self.rows_per_column * D, self.min_rows) << max(quality - 2, 0)
        budget = self._iteration(objective, B * R) / (self._n_built(B) * R)
        n_wanted, n_all = max(n_least, int(budget / self._work_per_row(D))), objective.rows.n_rows
        return n_all if 2 * n_wanted >= n_all else n_wanted

    def _has_blocks(self, objective: Objective, point: Point, quality: int) -> bool:
        B, R, D = point.coef.shape
        return quality >= 2 and self._fits(objective, self._n_built(B), R, D)

    def _is_dense(self, point: Point, quality: int) -> bool:
        _, R, D = point.coef.shape
        return self.is_shared and quality >= 3 and R > 1 and self.dense_entries >= (R * D) ** 2

    def _n_built(self, n_problems: int) -> int:
        """Number of problems that matrices are built for."""
        return 1 if self.is_shared else n_problems

    def _fits(self, objective: Objective, B: int, R: int, D: int) -> bool:
        return max(self.max_entries, objective.rows.n_entries // 4) >= B * R * D**2

    def _iteration(self, objective: Objective, n_outputs: int) -> float:
        """Multiplications in the time of an iteration, which multiplies the data twice."""
        rows = objective.rows
        factor = 1 if rows.is_dense else self.sparse_factor
        products = 2 * rows.n_entries * (n_outputs + self.read) * factor
        return products + rows.n_rows * n_outputs * self.logit + self.calls

    def _work_per_row(self, n_columns: int) -> float:
        """Multiplications in the time that a row takes on its way into a D x D matrix."""
        return n_columns * (n_columns * self.gram_factor + self.gather)
