r"""The objective: data + family + penalty, for B problems at once.

.. math::

    f_b(\theta) = \sum_i w_{bi} \, \ell(y_i, \eta_{bi})
        + \tfrac{1}{2} \lambda_b \lVert W_b \rVert^2, \qquad \eta_b = X W_b^\top + c_b,

with row weights :math:`w_{bi} = s_{bi} / \sum_j s_{bj}` that sum to one.

This is scikit-learn's objective divided by C times the sum of the row weights: the same
minimiser, on the scale of the mean loss.

Legend of shapes
----------------
The whole package uses these names and shapes.

=============  ==============  ==================================================================
name           shape           meaning
=============  ==============  ==================================================================
n, d, K        --              rows, features, classes
R              --              linear predictors: 1 for two classes, K otherwise
B              --              problems solved at once; they share X
D              --              d + 1 with an intercept, d without
``X``          (n, d)          features, dense or CSR
``codes``      (n,)            class codes 0..K-1, int64
``targets``    (n,)            the codes as the family wants them
``weight``     (1 or B, n)     row weights w, non-negative, each problem's sum to one
``coef``       (B, R, D)       weights, the intercept in the last column
``eta``        (B, R, n)       linear predictor (logits)
``residual``   (B, R, n)       gradient of the row loss in eta
``value``      (B,)            objective
``grad``       (B, R, D)       gradient of the objective
``step``       (B,)            step length along a direction
=============  ==============  ==================================================================

Every sum over rows is a sum over row blocks, so the rows need not be in one piece.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Protocol

import torch
from torch import Tensor

from torchlogreg.families import Family
from torchlogreg.penalties import L2
from torchlogreg.products import chunks

SUBSAMPLE = 10
"""One row of so many is in a subsample."""

LARGE_ENTRIES = 2**20
"""Fewest entries of X with which time goes into the products with X rather than into the calls."""


class RowBlock(Protocol):
    """Some rows of the data; what the objective asks of them."""

    @property
    def targets(self) -> Tensor:
        """Targets (n,) of these rows."""

    @property
    def weight(self) -> Tensor:
        """Weights (1 or B, n) of these rows; over all blocks they sum to one."""

    @property
    def n_rows(self) -> int:
        """Number n of rows."""

    @property
    def n_features(self) -> int:
        """Number d of columns."""

    @property
    def is_dense(self) -> bool:
        """Whether X is dense."""

    def predictor(self, coef: Tensor) -> Tensor:
        """Linear predictor (B, R, n) for coefficients (B, R, D)."""

    def adjoint(self, residual: Tensor) -> Tensor:
        """Residual times X of each problem: (B, R, n) to (B, R, d)."""

    def squares(self, weight: Tensor) -> Tensor:
        """Weights times the squares of X: (R, n) to (R, d)."""

    def design(self, n_columns: int, rows: slice | Tensor) -> Tensor:
        """Dense columns (n_columns, m) of m rows, given as a slice or by index.

        A column of ones is appended if ``n_columns`` is d + 1.
        """

    def take(self, index: Tensor) -> RowBlock:
        """Copy the rows of that index, with their weights as they are."""

    def reweight(self, factor: Tensor) -> RowBlock:
        """Return the same rows, with the weights of each problem times a factor (1 or B,)."""

    def to(self, dtype: torch.dtype) -> RowBlock:
        """Return the same rows, whose results are of another dtype."""


@dataclass(frozen=True, eq=False)
class Point:
    """The objective at some coefficients."""

    coef: Tensor
    """Coefficients (B, R, D)."""

    value: Tensor
    """Objective (B,)."""

    grad: Tensor
    """Gradient (B, R, D)."""

    eta: Sequence[Tensor]
    """Linear predictor (B, R, n), block by block."""


@dataclass(frozen=True, eq=False)
class Trial:
    """The objective restricted to a line, at one step length."""

    step: Tensor
    """Step length (B,)."""

    value: Tensor
    """Objective (B,)."""

    slope: Tensor
    """Derivative of the objective along the line (B,)."""

    eta: Sequence[Tensor]
    """Linear predictor (B, R, n), block by block."""

    residual: Sequence[Tensor]
    """Weighted residual (B, R, n), block by block."""


@dataclass(frozen=True, eq=False)
class Objective:
    """Penalised mean loss of B problems over the same rows.

    Value, gradient, Hessian-vector product and Hessian are closed forms: one pass over the
    data each and no autograd graph.

    Parameters
    ----------
    blocks : sequence of RowBlock
        The data.
    family : Family
        Loss of a row.
    penalty : L2
        Penalty on the weights.
    """

    blocks: Sequence[RowBlock]
    family: Family
    penalty: L2

    @property
    def dtype(self) -> torch.dtype:
        """Of the coefficients, and of all results."""
        return self.penalty.strength.dtype

    @property
    def n_rows(self) -> int:
        """Number n of rows of all blocks."""
        return sum(block.n_rows for block in self.blocks)

    def at(self, coef: Tensor) -> Point:
        """Evaluate value and gradient at ``coef``: X is read twice."""
        eta = [block.predictor(coef) for block in self.blocks]
        value, residual = self._loss(eta)
        value = value + self.penalty.value(self.weights(coef))
        return Point(coef, value, self._gradient(coef, residual), eta)

    def along(self, point: Point, direction: Tensor) -> Line:
        """Restrict the objective to ``point.coef + step * direction``: X is read once."""
        return Line(self, point, direction)

    def hvp(self, point: Point, v: Tensor) -> Tensor:
        """Hessian at ``point`` times ``v``, both of shape (B, R, D): X is read twice."""
        residual = []
        for block, eta in zip(self.blocks, point.eta, strict=True):
            product = self.family.curvature_product(self.family.curvature(eta), block.predictor(v))
            residual.append(product.mul_(block.weight.unsqueeze(-2)))
        return self._gradient(v, residual)

    def hessian(self, point: Point) -> Tensor:
        """Hessian at ``point`` over the flattened coefficients, shape (B, R * D, R * D).

        Every row's R x R Hessian weights the rows of X, once for each pair of outputs: the
        blocks (r, s) and (s, r) are the same symmetric D x D matrix.
        """
        B, R, D = point.coef.shape
        first, second, pair_of = _pairs(R, point.coef.device)
        identity = torch.eye(R, dtype=point.coef.dtype, device=point.coef.device).unsqueeze(-1)
        blocks = point.coef.new_zeros(B, len(first) * D, D)
        for block, eta in zip(self.blocks, point.eta, strict=True):
            for rows in chunks(block.n_rows, B * len(first) * max(D, 2)):
                curvature = self.family.curvature(eta[..., rows]).unsqueeze(-3)
                row_hessians = self.family.curvature_product(curvature, identity)
                pairs = row_hessians[:, first, second] * block.weight[:, None, rows]
                columns = block.design(D, rows)
                blocks += (pairs.unsqueeze(-2) * columns).flatten(1, 2) @ columns.T
        by_pair: Tensor = blocks.unflatten(1, (-1, D))[:, pair_of]
        hessian = by_pair.transpose(2, 3).reshape(B, R * D, R * D)
        diagonal = hessian.diagonal(dim1=-2, dim2=-1).unflatten(-1, (R, D))
        self.weights(diagonal).add_(self.penalty.curvature)
        return hessian

    def curvature(self, point: Point) -> Tensor:
        """What the family needs for the rows' Hessians, shape (B, R, n)."""
        return torch.cat([self.family.curvature(eta) for eta in point.eta], dim=-1)

    def curvature_diagonal(self, point: Point) -> Tensor:
        """Diagonals of the rows' weighted Hessians in eta, shape (B, R, n)."""
        weight = torch.cat([block.weight for block in self.blocks], dim=-1)
        return self.family.curvature_diagonal(self.curvature(point)).mul_(weight.unsqueeze(-2))

    def subsample(self, generator: torch.Generator) -> Objective | None:
        """Return the objective of a tenth of the rows; None if those would be too few.

        A tenth must have enough rows to determine a D x D matrix, and be worth the effort.
        """
        n, d = self.n_rows, self.blocks[0].n_features
        n_sampled = n // SUBSAMPLE
        if n_sampled < 4 * (d + 1) or n * d < LARGE_ENTRIES:
            return None
        order = torch.randperm(n, generator=generator, device=generator.device)
        index = order[:n_sampled].sort().values.to(self.blocks[0].weight.device)
        blocks = [block.take(some) for block, some in by_block(self.blocks, index)]
        total = torch.stack([block.weight.sum(-1) for block in blocks]).sum(0)
        if not (total > 0).all():
            return None
        return replace(self, blocks=[block.reweight(1 / total) for block in blocks])

    def stages(self) -> tuple[Objective, ...]:
        """Return stand-ins that are ever more precise and dear; the last is the objective itself.

        Large dense data in float64 is read in float32 first: that is half the arithmetic, and
        the minimisers agree to seven digits or so.
        """
        d = self.blocks[0].n_features
        is_double = self.dtype == torch.float64
        if not (is_double and self.blocks[0].is_dense and self.n_rows * d >= LARGE_ENTRIES):
            return (self,)
        blocks = [block.to(torch.float32) for block in self.blocks]
        penalty = L2(self.penalty.strength.to(torch.float32))
        return (replace(self, blocks=blocks, penalty=penalty), self)

    def fix_gauge(self, coef: Tensor) -> Tensor:
        """Remove from ``coef`` (B, R, D) the part that no probability depends on."""
        return self.family.fix_gauge(coef)

    def is_separated(self, point: Point) -> bool:
        """Whether the model puts every row on the right side in some problem.

        A row's loss is below log 2 only if its class is more probable than all the others
        together. If that holds for all rows, longer and longer multiples of the weights bring
        the mean loss to zero: without a penalty there is no minimiser.
        """
        separated = torch.ones_like(point.value, dtype=torch.bool)
        for block, eta in zip(self.blocks, point.eta, strict=True):
            loss, _ = self.family.loss_and_residual(eta, block.targets)
            separated &= ((loss < math.log(2)) | (block.weight == 0)).all(-1)
        return bool(separated.any())

    def _loss(self, eta: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Mean loss (B,) and weighted residual, block by block."""
        residuals = []
        value = eta[0].new_zeros(eta[0].shape[0])
        for block, eta_block in zip(self.blocks, eta, strict=True):
            loss, residual = self.family.loss_and_residual(eta_block, block.targets)
            value = value + (loss * block.weight).sum(-1)
            residuals.append(residual.mul_(block.weight.unsqueeze(-2)))
        return value, residuals

    def _gradient(self, coef: Tensor, residual: Sequence[Tensor]) -> Tensor:
        """Gradient (B, R, D): the data's part from the weighted residual, plus the penalty's."""
        gradient = torch.zeros_like(coef)
        weights = self.weights(gradient)
        for block, residual_block in zip(self.blocks, residual, strict=True):
            weights += block.adjoint(residual_block)
            gradient[..., block.n_features :] += residual_block.sum(-1, keepdim=True)
        weights += self.penalty.gradient(self.weights(coef))
        return gradient

    def weights(self, coef: Tensor) -> Tensor:
        """View of the coefficients without the intercept, shape (B, R, d)."""
        return coef[..., : self.blocks[0].n_features]


class Line:
    """The objective along ``point.coef + step * direction``.

    The linear predictor is linear in the step, so that a trial costs a pass over eta, not
    over X: a line search is all but free.
    """

    def __init__(self, objective: Objective, point: Point, direction: Tensor) -> None:
        self.objective = objective
        self.origin = point
        self.direction = direction
        self.slope = (point.grad * direction).sum((-2, -1))
        """Derivative (B,) at step 0."""
        self._eta = [block.predictor(direction) for block in objective.blocks]
        weights, along = objective.weights(point.coef), objective.weights(direction)
        penalty = objective.penalty
        self._penalty = penalty.value(weights)
        self._penalty_slope = (penalty.gradient(weights) * along).sum((-2, -1))
        self._penalty_curvature = 2 * penalty.value(along)

    def at(self, step: Tensor) -> Trial:
        """Evaluate value and slope at the step lengths ``step`` (B,)."""
        factor = step[:, None, None]
        eta = [
            torch.addcmul(start, along, factor)
            for start, along in zip(self.origin.eta, self._eta, strict=True)
        ]
        value, residual = self.objective._loss(eta)
        slope = self._penalty_slope + step * self._penalty_curvature
        for residual_block, along in zip(residual, self._eta, strict=True):
            slope = slope + (residual_block * along).sum((-2, -1))
        value = value + self._penalty
        value = value + step * (self._penalty_slope + 0.5 * step * self._penalty_curvature)
        return Trial(step, value, slope, eta, residual)

    def point(self, trial: Trial) -> Point:
        """Complete a trial to a point with its gradient: X is read once."""
        coef = torch.addcmul(self.origin.coef, self.direction, trial.step[:, None, None])
        gradient = self.objective._gradient(coef, trial.residual)
        return Point(coef, trial.value, gradient, trial.eta)


def by_block(blocks: Sequence[RowBlock], index: Tensor) -> list[tuple[RowBlock, Tensor]]:
    """Split an index of all rows into one for each block."""
    pieces = []
    start = 0
    for block in blocks:
        inside = (index >= start) & (index < start + block.n_rows)
        pieces.append((block, index[inside] - start))
        start += block.n_rows
    return pieces


@cache
def _pairs(R: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """All pairs r <= s of outputs, and the table (R, R) of their positions in that order."""
    first, second = torch.triu_indices(R, R, device=device)
    position = torch.empty(R, R, dtype=torch.int64, device=device)
    position[first, second] = position[second, first] = torch.arange(len(first), device=device)
    return first, second, position
