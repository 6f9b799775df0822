"""The Hessian in more coefficients than there are rows: a diagonal, and what each row adds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor

from torchlogreg.curvature.working import SHIFT, WorkingHessian
from torchlogreg.problem.centring import double
from torchlogreg.problem.families import inverse
from torchlogreg.problem.objective import Objective
from torchlogreg.problem.points import Point
from torchlogreg.problem.rows import joined

FEWER = 2
"""How many coefficients there must be for a column of Z: with less, one matrix is as good."""

MOST_COLUMNS = 2000
"""Most columns of Z."""

MOST_ENTRIES = 2**25
"""Most features of the rows, counted again for every output."""

DAMPING = 1e-4
"""Least ridge, in units of what the loss has on the diagonal: with more coefficients than rows, a
model would go on without end, or as far as nobody should trust it."""


@dataclass(frozen=True, eq=False)
class RowColumns:
    """A matrix Z (p, m) with R columns for every row: its features, times a root of its Hessian."""

    features: Tensor
    """What every row has of the feature of a coefficient, shape (p, n)."""

    roots: Tensor
    """Of every row a matrix (R, R) that, times its transpose, is its Hessian in eta; (n, R, R)."""

    bounds: Sequence[int]
    """Where the coefficients of the outputs begin, and end."""

    @cached_property
    def squares(self) -> Tensor:
        """Diagonal (p,) of Z Z'."""
        diagonal = self.roots.square().sum(2).T
        parts = [self.features[part].square() @ diagonal[r] for r, part in enumerate(self._parts)]
        return torch.cat(parts)

    def scaled(self, factor: Tensor) -> RowColumns:
        """Multiply the coefficients by factors (p,)."""
        return RowColumns(self.features * factor.unsqueeze(1), self.roots, self.bounds)

    def project(self, step: Tensor) -> Tensor:
        """Z' s (m,), for s (p,)."""
        eta = torch.stack([self.features[part].T @ step[part] for part in self._parts], dim=1)
        return (self.roots.mT @ eta.unsqueeze(2)).flatten()

    def combine(self, amounts: Tensor) -> Tensor:
        """Z a (p,), for a (m,)."""
        eta = (self.roots @ amounts.view(len(self.roots), -1, 1)).squeeze(2)
        return torch.cat([self.features[part] @ eta[:, r] for r, part in enumerate(self._parts)])

    def gram(self, weight: Tensor) -> Tensor:
        """Z' A Z, shape (m, m), for a diagonal matrix A of weights (p,)."""
        other = self.scaled(weight).features
        grams = torch.stack([self.features[part].T @ other[part] for part in self._parts], dim=2)
        n, R = self.roots.shape[:2]
        half = (grams.unsqueeze(2) * self.roots.mT).reshape(n, n * R, R)  # of rows j, and i
        return (half @ self.roots).view(n, n, R, R).permute(1, 2, 0, 3).reshape(n * R, n * R)

    @cached_property
    def _parts(self) -> list[slice]:
        """Coefficients of each output."""
        return [slice(*pair) for pair in pairwise(self.bounds)]


@dataclass(frozen=True, eq=False)
class RowWorking(WorkingHessian):
    r"""A diagonal and a product of low rank, :math:`\mathrm{diag}(d) + Z Z^\top`.

    Systems are solved by the formula of Sherman, Morrison & Woodbury [1]_: with p coefficients, n
    rows and R outputs that costs :math:`O(p n^2 + (n R)^3)`, and with a matrix (p, p)
    :math:`O(p^3)`. It cancels where the diagonal is small: everything is in float64 where the
    device has it, whatever the dtype of the objective. For a single problem.

    References
    ----------
    .. [1] Golub & Van Loan, Matrix Computations, 4th ed., equation (2.1.4).
    .. [2] Marquardt, An algorithm for least-squares estimation of nonlinear parameters, J. SIAM 11
       (1963).
    """

    most_steps: ClassVar[int] = 20

    ridge: Tensor
    """d, shape (p,), positive."""

    columns: RowColumns
    """Z."""

    is_estimate: bool = False
    """Whether some coefficients with a penalty have more ridge than that."""

    @classmethod
    def at(
        cls, objective: Objective, point: Point, index: Tensor, *, floor: float = 0.0
    ) -> RowWorking | None:
        """Form it at a point, penalty included; None where another form serves better.

        That is with too many rows. Where the ridge is weak, it is :data:`DAMPING` times the
        diagonal of the loss [2]_. The arguments are those of
        :func:`~torchlogreg.curvature.chosen.chosen_hessian`.
        """
        (_, R, D), rows = point.coef.shape, objective.rows
        n_columns, n_entries = rows.n_rows * R, len(index) * rows.n_rows
        is_large = n_columns > MOST_COLUMNS or n_entries > MOST_ENTRIES
        if is_large or len(index) < FEWER * n_columns or rows.is_stored or rows.group.size > 1:
            return None
        wide, output, column = double(index.device), index // D, index % D
        used, place = column.unique(return_inverse=True)
        parts = [some for block in rows for _, some in block.some_columns(used, len(used))]
        features = torch.cat(parts, dim=1).to(wide)[place]
        curvature = joined(objective.curvature(point))[0].to(wide)
        competes = objective.family.outputs_compete
        roots = row_roots(curvature, rows.weight[0].to(wide), floor, competes=competes)
        outputs = torch.arange(R + 1, device=index.device)
        columns = RowColumns(features, roots, torch.searchsorted(output, outputs).tolist())
        ridge, least = objective.ridge[0, 0].to(wide)[column], DAMPING * columns.squares
        l1 = objective.penalty.l1
        is_penalised = (ridge > 0) if l1 is None else l1[0, 0, column] > 0
        is_estimate = bool((is_penalised & (ridge < least)).any())
        raised = torch.maximum(ridge, least)
        # A column of zeros has no gradient either.
        raised = torch.where(raised > torch.finfo(wide).tiny, raised, 1)
        return cls(raised, columns, is_estimate)

    @cached_property
    def diagonal(self) -> Tensor:
        """Its diagonal (1, p)."""
        return (self.ridge + self.columns.squares).unsqueeze(0)

    def multiply(self, step: Tensor) -> Tensor:
        """H s, for s (1, p)."""
        product = self.columns.combine(self.columns.project(step[0]))
        return torch.addcmul(product, self.ridge, step[0]).unsqueeze(0)

    def solve_on(self, face: Tensor, right: Tensor) -> Tensor:
        """Solve the equations in the entries of a face (1, p); the others are 0."""
        solve, right = Resolvent(face[0] / self.ridge, self.columns), torch.where(face, right, 0)
        solution = solve(right)
        return solution + solve(torch.where(face, right - self.multiply(solution), 0))

    def reflect(self, v: Tensor) -> Tensor:
        """Reflected resolvent, for v (1, p)."""
        return torch.sub(2 * SHIFT * self._resolvent(v), v)

    @cached_property
    def _resolvent(self) -> Resolvent:
        """Inverse of H in units of its diagonal, with :data:`SHIFT` added."""
        unit = 1 / self.root[0]
        return Resolvent(1 / (self.ridge * unit.square() + SHIFT), self.columns.scaled(unit))


def row_roots(curvature: Tensor, weight: Tensor, floor: float, *, competes: bool) -> Tensor:
    r"""Return matrices (n, R, R) that, times their transposes, are the rows' Hessians in eta.

    With the curvature c (R, n), the weight w (n,) and a floor f, that of a row is :math:`E - c
    c^\top / w` if the outputs compete, otherwise E, where :math:`E = \mathrm{diag}(c + f w)`. With
    :math:`u = E^{-1/2} c / \sqrt{w}` the root is :math:`E^{1/2} (I - \beta u u^\top)`, where
    :math:`\beta = 1 / (1 + \sqrt{1 - u^\top u})`. In that nothing cancels where a row is sure of
    its class, as it does in the difference itself.
    """
    if competes:  # their sum is rounded, and what follows takes it for the weight
        curvature = curvature * (weight * inverse(curvature.sum(0)))
    raised = curvature + floor * weight
    scale = raised.sqrt().T
    if not competes:
        return torch.diag_embed(scale)
    u = (curvature * inverse(raised).sqrt_() * inverse(weight).sqrt_()).T
    left = floor * (curvature * inverse(raised)).sum(0)  # 1 - u'u
    beta = 1 / (1 + left.sqrt())
    roots = (-beta.unsqueeze(1) * scale * u).unsqueeze(2) * u.unsqueeze(1)
    roots.diagonal(dim1=1, dim2=2).add_(scale)
    return roots


class Resolvent:
    r"""Solves with :math:`A + Z Z^\top`, given the inverse (p,) of the diagonal A, and Z.

    Coefficients where that inverse is 0 stay 0.
    """

    def __init__(self, inverse: Tensor, columns: RowColumns) -> None:
        self.inverse, self.columns = inverse, columns
        capacitance = columns.gram(inverse)
        capacitance.diagonal().add_(1)
        self.factor = torch.linalg.lu_factor(capacitance)

    def __call__(self, right: Tensor) -> Tensor:
        """Solve for a right side (1, p)."""
        solution = self.inverse * right
        projected = self.columns.project(solution[0]).unsqueeze(-1)
        amounts = torch.linalg.lu_solve(*self.factor, projected).squeeze(-1)
        return solution - self.inverse * self.columns.combine(amounts)
