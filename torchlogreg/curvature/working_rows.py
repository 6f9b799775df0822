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
"""Most entries of Z that are not zero."""

DAMPING = 1e-4
"""Least ridge, in units of what the loss has on the diagonal: with more coefficients than rows, a
model would go on without end, or as far as nobody should trust it."""


@dataclass(frozen=True, eq=False)
class RowColumns:
    """A matrix Z (p, m) with columns for every output and row; and, for every row, those of all.

    The first are zero but for the coefficients of the output.
    """

    own: Tensor
    """What the columns of its output have of a coefficient, shape (p, n)."""

    joint: Tensor
    """The columns of all outputs, shape (p, n); or (p, 0), where the outputs do not compete."""

    bounds: Sequence[int]
    """Where the coefficients of the outputs begin, and end."""

    @cached_property
    def signs(self) -> Tensor:
        """1 for the columns of an output, and -1 for those of all, shape (m,)."""
        n_own = self.own.shape[1] * (len(self.bounds) - 1)
        return torch.cat([self.own.new_ones(n_own), -self.joint.new_ones(self.joint.shape[1])])

    @cached_property
    def squares(self) -> Tensor:
        """Diagonal (p,) of Z S Z', with the signs S."""
        return self.own.square().sum(1) - self.joint.square().sum(1)

    def scaled(self, factor: Tensor) -> RowColumns:
        """Multiply the coefficients by factors (p,)."""
        factor = factor.unsqueeze(1)
        return RowColumns(self.own * factor, self.joint * factor, self.bounds)

    def project(self, step: Tensor) -> Tensor:
        """Z' s (m,), for s (p,)."""
        own = [self.own[part].T @ step[part] for part in self._parts]
        return torch.cat([*own, self.joint.T @ step])

    def combine(self, amounts: Tensor) -> Tensor:
        """Z a (p,), for a (m,)."""
        n = self.own.shape[1]
        own = [self.own[part] @ amounts[r * n : (r + 1) * n] for r, part in enumerate(self._parts)]
        return torch.cat(own).addmv_(self.joint, amounts[len(own) * n :])

    def gram(self, weight: Tensor) -> Tensor:
        """Z' A Z, shape (m, m), for a diagonal matrix A of weights (p,)."""
        other = self.scaled(weight)
        own = [self.own[part].T @ other.own[part] for part in self._parts]
        mixed = torch.cat([self.own[part].T @ other.joint[part] for part in self._parts])
        top = torch.cat([torch.block_diag(*own), mixed], dim=1)
        return torch.cat([top, torch.cat([mixed.T, self.joint.T @ other.joint], dim=1)])

    @property
    def _parts(self) -> list[slice]:
        """Coefficients of each output."""
        return [slice(*pair) for pair in pairwise(self.bounds)]


@dataclass(frozen=True, eq=False)
class RowWorking(WorkingHessian):
    r"""A diagonal and a product of low rank, :math:`\mathrm{diag}(d) + Z S Z^\top`.

    The signs S are 1 and -1. Systems are solved by the formula of Sherman, Morrison & Woodbury
    [1]_: with p coefficients, n rows and m columns of Z that costs :math:`O(p n^2 + m^3)`, and with
    a matrix (p, p) :math:`O(p^3)`. It cancels where the diagonal is small: everything is in
    float64 where the device has it, whatever the dtype of the objective. For a single problem.

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
        r"""Form it at a point, penalty included; None where another form serves better.

        That is with too many rows. Where the ridge is weak, it is :data:`DAMPING` times the
        diagonal of the loss [2]_. The arguments are those of
        :func:`~torchlogreg.curvature.chosen.chosen_hessian`.

        Notes
        -----
        With the curvatures :math:`c_r` of the rows, a row i has :math:`\sqrt{c_{ri}} x_i` in the
        coefficients of the output r. If the outputs compete, it also has
        :math:`c_{ri} / \sqrt{w_i} \, x_i` in those of all outputs, with the sign -1.
        """
        (_, R, D), rows = point.coef.shape, objective.rows
        competes = objective.family.outputs_compete
        n_columns = rows.n_rows * (R + competes)
        n_entries = len(index) * rows.n_rows * (1 + competes)
        is_large = n_columns > MOST_COLUMNS or n_entries > MOST_ENTRIES
        if is_large or len(index) < FEWER * n_columns or rows.is_stored or rows.group.size > 1:
            return None
        wide, output, column = double(index.device), index // D, index % D
        used, place = column.unique(return_inverse=True)
        parts = [some for block in rows for _, some in block.some_columns(used, len(used))]
        x, weight = torch.cat(parts, dim=1).to(wide)[place], rows.weight[0].to(wide)
        curvature = joined(objective.curvature(point))[0].to(wide)
        own = x * torch.add(curvature, weight, alpha=floor).sqrt_()[output]
        joint = own[:, :0]
        if competes:
            joint = x.mul_((curvature * inverse(weight).sqrt_())[output])
        outputs = torch.arange(R + 1, device=index.device)
        columns = RowColumns(own, joint, torch.searchsorted(output, outputs).tolist())
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
        amounts = self.columns.project(step[0]).mul_(self.columns.signs)
        return torch.addcmul(self.columns.combine(amounts), self.ridge, step[0]).unsqueeze(0)

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


class Resolvent:
    r"""Solves with :math:`A + Z S Z^\top`, given the inverse (p,) of the diagonal A, and Z.

    Coefficients where that inverse is 0 stay 0.
    """

    def __init__(self, inverse: Tensor, columns: RowColumns) -> None:
        self.inverse, self.columns = inverse, columns
        capacitance = columns.gram(inverse)
        capacitance.diagonal().add_(columns.signs)  # S is its own inverse
        self.factor = torch.linalg.lu_factor(capacitance)

    def __call__(self, right: Tensor) -> Tensor:
        """Solve for a right side (1, p)."""
        solution = self.inverse * right
        projected = self.columns.project(solution[0]).unsqueeze(-1)
        amounts = torch.linalg.lu_solve(*self.factor, projected).squeeze(-1)
        return solution - self.inverse * self.columns.combine(amounts)
