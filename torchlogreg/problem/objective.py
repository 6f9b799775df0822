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
``grad``       (B, R, D)       gradient of the objective
=============  ==============  ==================================================================

What there is one number of for each problem (value, slope, step) is of shape (B,). It lives on
the host, as a NumPy array, where decisions are made at once; one transfer brings all of it. An
objective that is not attended leaves it on the device as a tensor, and nobody waits.

Every sum over rows is a sum over row blocks, so the rows need not be in one piece.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from torchlogreg.problem.centring import Centre, double
from torchlogreg.problem.families import Family
from torchlogreg.problem.penalties import L2
from torchlogreg.problem.points import Numbers, Point, Trial
from torchlogreg.problem.products import chunks
from torchlogreg.problem.rows import RowBlock, by_block

SUBSAMPLE = 10
"""One row of so many is in a subsample."""

ROWS_A_COLUMN = 1000
"""Fewest rows of a subsample for every column of X: the minimisers are then hardly different."""

FAR_IN_FLOAT32 = 100.0
"""Deviations from zero beyond which float32 leaves too few digits of a column."""

LEAST_CURVATURE = 1e-8
"""Least curvature of a row's loss that models of the objective have."""

INTERCEPT_STEPS = 6
"""Steps of Newton's method on the intercepts: it starts where they are all but right."""

LARGE_ENTRIES = 2**20
"""Fewest entries of X with which time goes into the products with X rather than into the calls."""


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
    is_attended : bool, default=True
        Whether numbers are brought to the host as soon as they are asked for.
    centre : Centre, optional
        What is taken from the rows: all coefficients and gradients are then *inner* ones, those of
        centred columns, but for those that :meth:`outer` and its counterparts take or return.
    """

    blocks: Sequence[RowBlock]
    family: Family
    penalty: L2
    is_attended: bool = True
    centre: Centre | None = None

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
        loss, residual = self._loss(eta)
        value, penalty = self._numbers(loss, self.penalty.value(coef))
        return Point(coef, value + penalty, penalty, self._gradient(coef, residual), eta)

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
        grad, predictors = torch.zeros_like(exact), []
        for block in self.blocks:
            parts = []
            for piece in block.pieces(wide):
                eta = piece.predictor(exact)
                _, residual = self._block_loss(piece, eta)
                grad += piece.adjoint(residual)
                parts.append(eta.to(self.dtype))
            predictors.append(torch.cat(parts, dim=-1))
        grad = self.penalty.to(wide).add_gradient_(grad, exact).to(self.dtype)
        # Values are compared with those of later trials, and rounded as these are.
        loss, _ = self._loss(predictors)
        value, penalty = self._numbers(loss, self.penalty.value(inner))
        return Point(inner, value + penalty, penalty, grad, predictors)

    def inner(self, coef: Tensor) -> Tensor:
        """Turn the user's coefficients into those that are minimised over."""
        if self.centre is None:
            return coef
        return self.centre.inner(coef.to(double(coef.device))).to(coef.dtype)

    def outer(self, coef: Tensor) -> Tensor:
        """Turn the coefficients that are minimised over into the user's, in float64."""
        return coef if self.centre is None else self.centre.outer(coef.to(double(coef.device)))

    def outer_gradient(self, grad: Tensor) -> Tensor:
        """Turn a gradient into that in the user's coefficients."""
        return grad if self.centre is None else self.centre.outer_gradient(grad)

    def optimality(self, point: Point) -> Tensor:
        """Largest absolute entry (B,) of the gradient in the user's coefficients."""
        return self.outer_gradient(point.grad).abs().amax((-2, -1))

    def along(self, point: Point, direction: Tensor) -> Line:
        """Restrict the objective to ``point.coef + step * direction``: X is read once."""
        return Line(self, point, direction)

    def polished(self, point: Point) -> Tensor:
        """Minimise over the intercepts alone, by Newton's method: X is not read.

        Returns inner coefficients (B, R, D). The gradient in the user's coefficients has the
        intercept's part in every entry, times the mean of the column.
        """
        if self.centre is None:
            return point.coef
        shift = torch.zeros_like(point.coef[..., -1:])
        weight = torch.cat([block.weight for block in self.blocks], dim=-1)
        smallest = torch.full_like(shift[:, 0, 0], torch.inf)
        best = shift
        for _ in range(INTERCEPT_STEPS):
            eta = [start + shift for start in point.eta]
            _, residual = self._loss(eta)
            grad = _total([part.sum(-1) for part in residual]).unsqueeze(-1)
            norm = grad.abs().amax((-2, -1))
            best = torch.where((norm < smallest)[:, None, None], shift, best)
            smallest = torch.minimum(norm, smallest)
            curvature = self.family.curvature(torch.cat(eta, dim=-1))
            rows = weight.expand(len(curvature), -1)
            pairs = zip(curvature, rows, strict=True)
            hessian = torch.stack([self.family.summed_hessian(*pair) for pair in pairs])
            shift = shift - torch.linalg.pinv(hessian, hermitian=True) @ grad
        coef = torch.cat([point.coef[..., :-1], point.coef[..., -1:] + best], dim=-1)
        return self.fix_gauge(coef)

    def hvp(self, point: Point, v: Tensor) -> Tensor:
        """Hessian at ``point`` times ``v``, both of shape (B, R, D): X is read twice."""
        residual = []
        for block, eta in zip(self.blocks, point.eta, strict=True):
            product = self.family.curvature_product(self.family.curvature(eta), block.predictor(v))
            residual.append(product.mul_(block.weight.unsqueeze(-2)))
        return self._gradient(v, residual)

    def hessian(self, point: Point) -> Tensor:
        """Hessian at ``point`` over the flattened coefficients, shape (B, R * D, R * D).

        A row's Hessian in eta is diagonal, but for a term of rank one where the outputs compete:
        the first gives a D x D matrix for every output, the second a square of all of them.
        """
        B, R, D = point.coef.shape
        hessian = point.coef.new_zeros(B, R * D, R * D)
        for block, eta in zip(self.blocks, point.eta, strict=True):
            for rows in chunks(block.n_rows, B * R * D):
                columns = block.design(rows)
                curvature = self.family.curvature(eta[..., rows])
                plain = (curvature.unsqueeze(-2) * columns).flatten(1, 2)
                weighted = plain * block.weight[:, None, rows]
                own = (weighted @ columns.T).unflatten(1, (R, D))
                hessian.view(B, R, D, R, D).diagonal(dim1=1, dim2=3).add_(own.permute(0, 2, 3, 1))
                if self.family.outputs_compete:
                    hessian.baddbmm_(weighted, plain.mT, alpha=-1)
        hessian.diagonal(dim1=-2, dim2=-1).unflatten(-1, (R, D)).add_(self.penalty.strength)
        return hessian

    def row_curvature(self, point: Point) -> list[Tensor]:
        """Diagonals (B, R, n) of the rows' weighted Hessians in eta, block by block.

        Not less than ``LEAST_CURVATURE`` times the weight: where all rows of a class are
        saturated, a model of its unpenalised intercept would take steps without measure.
        """
        diagonals = []
        for block, eta in zip(self.blocks, point.eta, strict=True):
            diagonal = self.family.curvature_diagonal(self.family.curvature(eta))
            diagonal = diagonal.clamp(min=LEAST_CURVATURE)
            diagonals.append(diagonal.mul_(block.weight.unsqueeze(-2)))
        return diagonals

    def select(self, mask: Tensor, new: Point, old: Point) -> Point:
        """Take each problem from ``new`` where the mask (B,) holds, from ``old`` elsewhere."""
        wide = mask[:, None, None]
        pairs = zip(new.eta, old.eta, strict=True)
        return Point(
            torch.where(wide, new.coef, old.coef),
            torch.where(mask, new.value, old.value),
            torch.where(mask, new.penalty, old.penalty),
            torch.where(wide, new.grad, old.grad),
            [torch.where(wide, eta, old_eta) for eta, old_eta in pairs],
        )

    def unattended(self) -> Objective:
        """Return the same objective, whose numbers stay on the device."""
        return replace(self, is_attended=False)

    def subsample(self, generator: torch.Generator) -> Objective | None:
        """Return the objective of one row in ten; None if those are too few."""
        n_sampled = self.n_rows // SUBSAMPLE
        if n_sampled < ROWS_A_COLUMN * self.blocks[0].n_columns:
            return None
        offset = torch.randint(
            SUBSAMPLE, (n_sampled,), generator=generator, device=generator.device
        )
        first = torch.arange(n_sampled, device=generator.device) * SUBSAMPLE
        index = (first + offset).to(self.blocks[0].weight.device)
        blocks = [block.take(some) for block, some in by_block(self.blocks, index)]
        total = torch.stack([block.weight.sum(-1) for block in blocks]).sum(0)
        if not (total > 0).all():
            return None
        return replace(self, blocks=[block.reweight(1 / total) for block in blocks])

    def stages(self) -> tuple[Objective, ...]:
        """Return stand-ins that are ever more precise and dear; the last is the objective itself.

        Large dense data in float64 is read in float32 first: products in single precision take
        a fraction of the time, and the minimisers agree to seven digits or so.
        """
        n_entries = self.n_rows * self.blocks[0].n_columns
        is_large = self.blocks[0].is_dense and n_entries >= LARGE_ENTRIES
        if self.dtype != torch.float64 or not is_large or self._lies_far_from_zero():
            return (self,)
        blocks = [block.to(torch.float32) for block in self.blocks]
        penalty = self.penalty.to(torch.float32)
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
        separated = torch.ones(len(point.coef), dtype=torch.bool, device=point.coef.device)
        for block, eta in zip(self.blocks, point.eta, strict=True):
            loss, _ = self.family.loss_and_residual(eta, block.targets)
            separated &= ((loss < math.log(2)) | (block.weight == 0)).all(-1)
        return bool(separated.any())

    def _lies_far_from_zero(self) -> bool:
        """Whether a column is so far from zero that float32 leaves few digits of its deviation."""
        n_rows = self.blocks[0].n_rows
        index = torch.arange(0, n_rows, max(n_rows // 1000, 1), device=self.blocks[0].weight.device)
        columns = self.blocks[0].design(index)
        deviation, mean = torch.std_mean(columns, dim=1)
        return bool(((deviation > 0) & (mean.abs() > FAR_IN_FLOAT32 * deviation)).any())

    def _numbers(self, *numbers: Tensor) -> Sequence[Numbers]:
        """Bring tensors (B,) to the host in one transfer, if the objective is attended."""
        if not self.is_attended:
            return numbers
        return tuple(torch.stack(numbers).cpu().double().numpy())

    def _block_loss(self, block: RowBlock, eta: Tensor) -> tuple[Tensor, Tensor]:
        """What a block adds to the mean loss (B,), and its weighted residual (B, R, n)."""
        loss, residual = self.family.loss_and_residual(eta, block.targets)
        return (loss * block.weight).sum(-1), residual.mul_(block.weight.unsqueeze(-2))

    def _loss(self, eta: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Mean loss (B,) and weighted residual, block by block."""
        pairs = zip(self.blocks, eta, strict=True)
        losses, residuals = zip(*(self._block_loss(*pair) for pair in pairs), strict=True)
        return _total(list(losses)), list(residuals)

    def _gradient(self, coef: Tensor, residual: Sequence[Tensor]) -> Tensor:
        """Gradient (B, R, D): the data's part from the weighted residual, plus the penalty's."""
        pairs = zip(self.blocks, residual, strict=True)
        gradient = _total([block.adjoint(residual_block) for block, residual_block in pairs])
        return self.penalty.add_gradient_(gradient, coef)


class Line:
    """The objective along ``point.coef + step * direction``.

    The linear predictor is linear in the step, so that a trial costs a pass over eta, not
    over X: a line search is all but free.
    """

    def __init__(self, objective: Objective, point: Point, direction: Tensor) -> None:
        self.objective = objective
        self.origin = point
        self.direction = direction
        self._eta = [block.predictor(direction) for block in objective.blocks]
        along = objective.penalty.gradient(direction)
        products = (point.grad * direction, along * point.coef, along * direction)
        sums = [product.sum((-2, -1)) for product in products]
        self.slope, *penalty = objective._numbers(*sums)
        """Derivative at step 0 of each problem."""
        self._penalty = [point.penalty, *penalty]

    @property
    def resolution(self) -> float:
        """Relative spacing of the numbers that values are computed with."""
        return torch.finfo(self.direction.dtype).eps

    def at(self, step: Numbers) -> Trial:
        """Evaluate value and slope at the step lengths ``step`` (B,)."""
        starts = zip(self.origin.eta, self._eta, strict=True)
        eta = [self._move(start, along, step) for start, along in starts]
        loss, residual = self.objective._loss(eta)
        pairs = zip(residual, self._eta, strict=True)
        slopes = [torch.linalg.vecdot(r.flatten(1), along.flatten(1)) for r, along in pairs]
        value, slope = self.objective._numbers(loss, _total(slopes))
        start, start_slope, curvature = self._penalty
        with np.errstate(over="ignore", invalid="ignore"):  # the search backs away from it
            penalty = start + step * (start_slope + 0.5 * step * curvature)
            slope = slope + start_slope + step * curvature
            value = value + penalty
        return Trial(step, value, penalty, slope, eta, residual)

    def point(self, trial: Trial) -> Point:
        """Complete a trial to a point with its gradient: X is read once."""
        coef = self._move(self.origin.coef, self.direction, trial.step)
        gradient = self.objective._gradient(coef, trial.residual)
        return Point(coef, trial.value, trial.penalty, gradient, trial.eta)

    @staticmethod
    def _move(start: Tensor, along: Tensor, step: Numbers) -> Tensor:
        """Go from ``start`` (B, ...) along a direction by the step of each problem."""
        if len(step) == 1 and not isinstance(step, Tensor):
            return torch.add(start, along, alpha=step.item())
        factor = torch.as_tensor(step, dtype=start.dtype, device=start.device)
        return torch.addcmul(start, along, factor[:, None, None])


def _total(parts: list[Tensor]) -> Tensor:
    """Sum the parts that the blocks contribute."""
    return parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)
