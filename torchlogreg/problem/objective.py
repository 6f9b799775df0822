r"""The objective: data + family + penalty, for B problems at once.

.. math::

    f_b(\theta) = \sum_i w_{bi} \, \ell(y_i, \eta_{bi})
        + \tfrac{1}{2} \lambda_b \lVert W_b \rVert^2 + \mu_b \lVert W_b \rVert_1,
        \qquad \eta_b = X W_b^\top + c_b,

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
``residual``   (B, R, n)       gradient of the mean loss in eta, weights w included
``grad``       (B, R, D)       gradient of the objective, without the absolute values
=============  ==============  ==================================================================

What there is one number of for each problem (value, slope, step) is of shape (B,). It lives on
the host, as a tuple, where decisions are made at once; one transfer brings all of it. An
objective that is not attended leaves it on the device as a tensor, and nobody waits.

Every sum over rows goes through :meth:`Rows.sum`, so the rows need not be in one piece.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass

import torch
from torch import Tensor

from torchlogreg.problem.centring import double
from torchlogreg.problem.line import KinkedLine, Line
from torchlogreg.problem.points import Point, compute
from torchlogreg.problem.products import symmetric_product
from torchlogreg.problem.row_block import RowBlock
from torchlogreg.problem.rows import kept
from torchlogreg.problem.sums import RowSums

LEAST_CURVATURE = 1e-8
"""Least curvature of a row's loss that models of the objective have."""


@dataclass(frozen=True)
class Objective(RowSums):
    """Penalised mean loss of B problems over the same rows.

    Value, gradient and Hessian are closed forms: one pass over the data each and no autograd
    graph. Two objectives are equal if they have the same rows, family and penalty.

    If the rows are centred, all coefficients and gradients are *inner* ones, those of centred
    columns. Only :meth:`outer` and its counterparts take or return those of the user.

    Parameters
    ----------
    rows, family, penalty, is_attended
        As for :class:`~torchlogreg.problem.sums.RowSums`.
    """

    @property
    def ridge(self) -> Tensor:
        """Diagonal (B, 1, D) that the penalty adds to the Hessian for every output."""
        return self.penalty.l2

    def rounding(self, coef: Tensor) -> float:
        """Return what the rounding of the user's coefficients may add to a gradient, about.

        Infinity in single precision, where sums over the rows add more than that.
        """
        centre = self.rows.centre
        if self.dtype != double(coef.device):
            return math.inf
        return 0.0 if centre is None else centre.rounding(coef)

    def predictor_rounding(self, coef: Tensor) -> float:
        """Return what rounding the terms of a linear predictor may add to a gradient, about.

        It stays there as long as the linear predictor is updated. Infinity where it is not known:
        in single precision, and where it would take another read.
        """
        if self.dtype != double(coef.device) or self.rows.is_stored:
            return math.inf
        scale = self.rows.scale
        terms = (coef.abs() * scale.unsqueeze(1)).sum(-1)
        return float(torch.finfo(self.dtype).eps * terms.max() * scale.max())

    def at(self, coef: Tensor) -> Point:
        """Evaluate value and gradient at ``coef``: each block of X is read once, and used twice."""
        predictors, residuals = [], []

        def part(block: RowBlock, *slots: Tensor | None) -> tuple[Tensor, Tensor]:
            eta = block.predictor(coef)
            loss, residual = self.family.evaluate(eta, block.wide_targets, block.wide_weight)
            predictors.append(kept(eta, slots[0]))
            residuals.append(kept(residual, slots[1]))
            return loss, block.adjoint(residual)

        loss, grad = self.rows.sum(part, self.rows.slots(coef), self.rows.slots(coef))
        value, penalty = self.numbers((loss, self.penalty.value(coef)))
        grad = self.penalty.add_gradient_(grad, coef)
        value = compute(operator.add, value, penalty)
        return Point(coef, value, penalty, grad, predictors, residuals)

    def along(self, point: Point, direction: Tensor) -> Line:
        """Restrict the objective to ``point.coef + step * direction``.

        X is read once; if it is not in memory, with the first trial.
        """
        kind = Line if self.penalty.l1 is None else KinkedLine
        eta = None
        if not self.rows.is_stored:
            eta = [block.predictor(direction) for block in self.rows]
        return kind(self, point, direction, eta)

    def hessian(self, point: Point) -> Tensor:
        """Hessian of the loss over the flattened coefficients, shape (B, R * D, R * D).

        Without the penalty, which adds :attr:`ridge` to its diagonal. A row's Hessian in eta is
        diagonal, plus a term of rank one where the outputs compete: the first gives a D x D
        matrix for every output, the second a square of all of them.
        """
        B, R, D = point.coef.shape

        def part(block: RowBlock, residual: Tensor) -> tuple[Tensor]:
            curvature = block.curvature(self.family, residual)
            chunks = list(block.chunks(B * R * D))
            if len(chunks) == 1:
                return (hessian(block, curvature, None),)
            total = point.coef.new_zeros(B, R * D, R * D)
            for rows in chunks:
                total += hessian(block, curvature[..., rows], rows)
            return (total,)

        def hessian(block: RowBlock, curvature: Tensor, rows: slice | None) -> Tensor:
            columns = block.design(rows)
            scaled = (curvature.unsqueeze(-2) * columns).flatten(1, 2)
            own = symmetric_product(scaled.view(B * R, D, -1), columns).view(B, R, D, D)
            if not self.family.outputs_compete:
                return own.squeeze(1)  # a single output
            factor = block.minus_inverse if rows is None else block.minus_inverse[..., rows]
            matrix = symmetric_product(scaled * factor, scaled)
            _diagonal_blocks(matrix, R).add_(own)
            return matrix

        (total,) = self.rows.sum(part, point.residual)
        return total

    def curvature(self, point: Point) -> list[Tensor]:
        """Curvatures (B, R, n) of the rows, which determine the Hessian, block by block."""
        return [
            block.curvature(self.family, residual)
            for block, residual in zip(self.rows, point.residual, strict=True)
        ]

    def mean_curvature(self, curvature: list[Tensor]) -> Tensor:
        """Weighted mean (B, R, 1) of the diagonals of the rows' Hessians in eta, from curvatures.

        Not less than ``LEAST_CURVATURE``.
        """

        def part(block: RowBlock, curvature: Tensor) -> tuple[Tensor]:
            diagonal = self.family.curvature_diagonal(curvature, block.wide_weight)
            return (diagonal.sum(-1, keepdim=True),)

        (mean,) = self.rows.sum(part, curvature)
        return mean.clamp_(min=LEAST_CURVATURE)

    def hessian_product(self, curvature: list[Tensor], v: Tensor) -> Tensor:
        """Hessian, penalty included, times v (B, R, D): X is read twice."""

        def part(block: RowBlock, curvature: Tensor) -> tuple[Tensor]:
            weighted = self.family.multiply(curvature, block.predictor(v), block.minus_inverse)
            return (block.adjoint(weighted),)

        (product,) = self.rows.sum(part, curvature)
        return product.addcmul_(self.ridge, v)

    def row_curvature(self, point: Point) -> list[Tensor]:
        """Diagonals (B, R, n) of the rows' weighted Hessians in eta, block by block.

        Not less than ``LEAST_CURVATURE`` times the weight: where all rows of a class are
        saturated, a model of its unpenalised intercept would take steps without measure.
        """
        diagonals = []
        for block, residual in zip(self.rows, point.residual, strict=True):
            weight = block.wide_weight
            diagonal = self.family.curvature_diagonal(
                block.curvature(self.family, residual), weight
            )
            diagonals.append(torch.maximum(diagonal, LEAST_CURVATURE * weight))
        return diagonals

    def fix_gauge(self, coef: Tensor) -> Tensor:
        """Remove from ``coef`` (B, R, D) the part that no probability depends on."""
        return self.penalty.fix_gauge(coef) if self.family.outputs_compete else coef

    def inner(self, coef: Tensor) -> Tensor:
        """Turn the user's coefficients into those that are minimised over."""
        if self.rows.centre is None or not coef.any():
            return coef
        return self.rows.centre.inner(coef.to(double(coef.device))).to(coef.dtype)

    def outer(self, coef: Tensor) -> Tensor:
        """Turn the coefficients that are minimised over into the user's, in float64."""
        centre = self.rows.centre
        if centre is None:
            return coef
        outer = centre.outer(coef.to(double(coef.device)))
        # With kinks the weights do not sum to zero over the outputs, nor what the centre moves.
        return outer if self.penalty.l1 is None else self.fix_gauge(outer)

    def outer_gradient(self, grad: Tensor) -> Tensor:
        """Turn a gradient into that in the user's coefficients."""
        return grad if self.rows.centre is None else self.rows.centre.outer_gradient(grad)

    def ascent(self, point: Point) -> Tensor:
        """Direction (B, R, D) of steepest ascent: the gradient, or the smallest subgradient."""
        return self.penalty.least_subgradient(point.grad, point.coef)

    def kink_slope(self, point: Point, direction: Tensor) -> Tensor:
        """Derivative (B,) of the absolute values along a direction; the gradient has the rest."""
        return self.penalty.kink_slope(point.coef, direction)

    def least_subgradient(self, point: Point) -> Tensor:
        """Smallest subgradient (B, R, D) in the user's coefficients: 0 at a minimum."""
        return self.penalty.least_subgradient(self.outer_gradient(point.grad), point.coef)

    def optimality(self, point: Point) -> Tensor:
        """Largest distance (B,) of an entry from the condition of a minimum, for the user."""
        return self.least_subgradient(point).abs().amax((-2, -1))

    def recheck(self, coef: Tensor) -> Point:
        """Evaluate at outer coefficients, with the sums over the rows in float64.

        What has piled up in linear predictors that were updated is gone, and the gradient is
        true to the resolution of the dtype even where the terms that cancel in it are large.
        X is converted a piece of rows at a time and read once.
        """
        inner = self.inner(coef)
        wide = double(coef.device)
        if self.dtype == wide:
            return self.at(inner)
        exact = self.inner(coef.to(wide))
        predictors = []

        def part(block: RowBlock, slot: Tensor | None) -> tuple[Tensor]:
            grad, done = torch.zeros_like(exact), 0
            etas = inner.new_empty(*exact.shape[:2], block.n_rows) if slot is None else slot
            for piece in block.pieces(wide):
                eta = piece.predictor(exact)
                etas[..., done : done + len(piece)] = eta
                _, residual = self.family.evaluate(eta, piece.wide_targets, piece.wide_weight)
                grad += piece.adjoint(residual)
                done += len(piece)
            predictors.append(etas)
            return (grad,)

        (grad,) = self.rows.sum(part, self.rows.slots(inner))
        grad = self.penalty.to(wide).add_gradient_(grad, exact).to(self.dtype)
        # Values are compared with those of later trials, and rounded as these are.
        residual, (loss,) = self.loss(predictors)
        value, penalty = self.numbers((loss, self.penalty.value(inner)))
        value = compute(operator.add, value, penalty)
        return Point(inner, value, penalty, grad, predictors, residual)

    def is_separated(self, point: Point) -> Tensor:
        """Whether the model puts every row on the right side, for each problem (B,).

        A row's loss is below log 2 only if its class is more probable than all the others
        together. If that holds for all rows, longer and longer multiples of the weights bring
        the mean loss to zero: without a penalty there is no minimiser.
        """

        def n_wrong(block: RowBlock, eta: Tensor) -> tuple[Tensor]:
            loss = self.family.losses(eta, block.targets)
            return ((~(loss < math.log(2)) & (block.weight > 0)).sum(-1),)

        (wrong,) = self.rows.sum(n_wrong, point.eta)
        return wrong == 0


def _diagonal_blocks(matrices: Tensor, n_blocks: int) -> Tensor:
    """View of the blocks on the diagonals of matrices (B, P, P), shape (B, R, P / R, P / R)."""
    B, P, _ = matrices.shape
    size = P // n_blocks
    return matrices.as_strided((B, n_blocks, size, size), (P * P, size * (P + 1), P, 1))
