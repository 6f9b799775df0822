"""Hessians in some of the coefficients, and what it takes to minimise a model with a kink."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from torchlogreg.curvature.symmetric import damped_cholesky_, multiply, solve_cholesky
from torchlogreg.problem.batched import Batched
from torchlogreg.problem.products import multiply_transposed

SINGLE_COEF = 200
"""Coefficients from which on only the rows and columns of a face are factorised."""

SHIFT = 0.3
"""What the splitting method adds to the diagonal of H, in units of it."""


class WorkingHessian(ABC):
    """A symmetric positive semi-definite matrix H (p, p) for each of B problems."""

    is_estimate: bool
    """Whether the true one may be far from it."""

    most_steps: ClassVar[int]
    """Most steps towards the minimiser of a model with it: it need not be found to the end."""

    @property
    @abstractmethod
    def diagonal(self) -> Tensor:
        """Its diagonal, or that of its largest part; shape (B, p)."""

    @cached_property
    def root(self) -> Tensor:
        """Root (B, p) of the diagonal, 1 where that is 0."""
        tiny = torch.finfo(self.diagonal.dtype).tiny
        return torch.where(self.diagonal > tiny, self.diagonal, 1).sqrt()

    @abstractmethod
    def multiply(self, step: Tensor) -> Tensor:
        """H s, for s (B, p)."""

    @abstractmethod
    def solve_on(self, face: Tensor, right: Tensor) -> Tensor:
        """Solve the equations in the entries of a face (B, p); the others are 0."""

    @abstractmethod
    def reflect(self, v: Tensor) -> Tensor:
        r"""Reflected resolvent :math:`(2 \rho (H' + \rho I)^{-1} - I) v`, for v (B, p).

        H' is H in units of its diagonal, and :math:`\rho` is :data:`SHIFT`.
        """


@dataclass(frozen=True, eq=False)
class DenseWorking(Batched, WorkingHessian):
    """One matrix for each problem."""

    is_estimate = False
    most_steps: ClassVar[int] = 20

    matrix: Tensor
    """Shape (B, p, p)."""

    @cached_property
    def diagonal(self) -> Tensor:
        """Its diagonal (B, p)."""
        return self.matrix.diagonal(dim1=-2, dim2=-1)

    @cached_property
    def reflection(self) -> Tensor:
        """Matrix (B, p, p) of the reflected resolvent."""
        scaled = self.matrix / self.root.unsqueeze(-1)
        scaled /= self.root.unsqueeze(-2)
        scaled.diagonal(dim1=-2, dim2=-1).add_(SHIFT)
        inverse: Tensor = torch.cholesky_inverse(damped_cholesky_(scaled)).mul_(2 * SHIFT)
        inverse.diagonal(dim1=-2, dim2=-1).sub_(1)
        return inverse

    def multiply(self, step: Tensor) -> Tensor:
        """H s, for s (B, p)."""
        return multiply(self.matrix, step)

    def solve_on(self, face: Tensor, right: Tensor) -> Tensor:
        """Solve the equations in the entries of a face (B, p); the others are 0."""
        if len(face) == 1 and face.shape[1] >= SINGLE_COEF:
            index = face[0].nonzero().squeeze(-1)
            solve = _solver(submatrix(self.matrix[0], index))
            solution = solve(right[0, index].unsqueeze(-1)).squeeze(-1)
            return torch.zeros_like(right).index_copy_(1, index, solution.unsqueeze(0))
        mask = face.to(right.dtype)
        matrix = self.matrix * mask.unsqueeze(-1) * mask.unsqueeze(-2)
        matrix.diagonal(dim1=-2, dim2=-1).add_(1 - mask)
        return _solver(matrix)((right * mask).unsqueeze(-1)).squeeze(-1)

    def reflect(self, v: Tensor) -> Tensor:
        """Reflected resolvent, for v (B, p)."""
        return multiply(self.reflection, v)


@dataclass(frozen=True, eq=False)
class BlockWorking(WorkingHessian):
    r"""Blocks and a diagonal, times a scale, less a product of low rank :math:`U M^{-1} U^\top`.

    The product is what pairs of L-BFGS have shown, in their compact form [1]_. Systems are solved
    block by block, and with it by the formula of Sherman, Morrison & Woodbury. For a single
    problem.

    References
    ----------
    .. [1] Byrd, Nocedal & Schnabel, Representations of quasi-Newton matrices and their use in
       limited memory methods, Math. Programming 63 (1994), Theorem 2.3.
    """

    is_estimate = True
    most_steps: ClassVar[int] = 4

    blocks: Sequence[DenseWorking]
    """Of the first coefficients, with one matrix each. What has been computed of a block stays
    known to it, whatever the scale and the product of the next model."""

    rest: Tensor
    """Diagonal (q,) of the coefficients that follow."""

    low_rank: Tensor
    """U, shape (p, k)."""

    middle: Tensor
    """M, shape (k, k)."""

    scale: float = 1.0
    """Multiple of blocks and diagonal."""

    @cached_property
    def diagonal(self) -> Tensor:
        """Diagonal (1, p), without the product."""
        parts = [*(block.diagonal[0] for block in self.blocks), self.rest]
        return torch.cat(parts).mul_(self.scale).unsqueeze(0)

    def multiply(self, step: Tensor) -> Tensor:
        """H s, for s (1, p)."""
        *parts, last = self._split(step, dim=1)
        products = [block.multiply(part) for block, part in zip(self.blocks, parts, strict=True)]
        product = torch.cat([*products, self.rest * last], dim=1).mul_(self.scale)
        if self.low_rank.shape[1]:
            product -= self.low_rank @ _solved(self.middle, self.low_rank.T @ step[0])
        return product

    def solve_on(self, face: Tensor, right: Tensor) -> Tensor:
        """Solve the equations in the entries of a face (1, p); the others are 0."""
        index = face[0].nonzero().squeeze(-1)
        solve, low_rank = self._solver_on(face[0]), self.low_rank[index]
        solution = solve(right[0, index].unsqueeze(-1)).squeeze(-1)
        if low_rank.shape[1]:
            solved = solve(low_rank)
            capacitance = self.middle - low_rank.T @ solved
            solution += solved @ _solved(capacitance, low_rank.T @ solution)
        return torch.zeros_like(right).index_copy_(1, index, solution.unsqueeze(0))

    def reflect(self, v: Tensor) -> Tensor:
        """Reflected resolvent, for v (1, p)."""
        reflected = self._reflect_blocks(v)
        if self.low_rank.shape[1]:
            resolved, capacitance = self._resolved
            reflected += resolved @ _solved(capacitance, resolved.T @ v[0]).mul_(2 / SHIFT)
        return reflected

    @cached_property
    def _resolved(self) -> tuple[Tensor, Tensor]:
        """Resolvent of the blocks times U, in units of the diagonal, and what takes M's place."""
        scaled = self.low_rank / self.root.T
        resolved = 0.5 * (scaled + self._reflect_blocks(scaled.T).T)
        return resolved, self.middle - scaled.T @ resolved / SHIFT

    def _reflect_blocks(self, v: Tensor) -> Tensor:
        """Reflected resolvent of blocks and diagonal alone, for v (m, p)."""
        *parts, last = self._split(v, dim=1)
        pairs = zip(self.blocks, parts, strict=True)
        reflected = [multiply_transposed(part, block.reflection[0]) for block, part in pairs]
        resolvent = SHIFT / (SHIFT + (self.rest > 0).to(v.dtype))
        return torch.cat([*reflected, (2 * resolvent - 1) * last], dim=1)

    def _solver_on(self, face: Tensor) -> Callable[[Tensor], Tensor]:
        """Return what solves with blocks and diagonal, in the entries of a face (p,)."""
        *faces, last = self._split(face)
        solvers, sizes = [], []
        for block, part in zip(self.blocks, faces, strict=True):
            index = part.nonzero().squeeze(-1)
            solvers.append(_solver(submatrix(block.matrix[0], index)))
            sizes.append(len(index))
        rest = self.rest[last].unsqueeze(-1)
        inverse = torch.where(rest > 0, 1 / rest, 0)

        def solve(right: Tensor) -> Tensor:
            *parts, last = right.split([*sizes, len(rest)])
            solved = [solve(part) for solve, part in zip(solvers, parts, strict=True)]
            return torch.cat([*solved, inverse * last]).div_(self.scale)

        return solve

    def _split(self, whole: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
        """Split what coefficients have into that of each block, and of the diagonal."""
        parts: tuple[Tensor, ...] = whole.split(
            [*(b.matrix.shape[1] for b in self.blocks), len(self.rest)], dim
        )
        return parts


def submatrix(matrix: Tensor, index: Tensor) -> Tensor:
    """Copy rows and columns of a matrix."""
    return matrix.index_select(0, index).index_select(1, index)


def _solver(matrix: Tensor) -> Callable[[Tensor], Tensor]:
    """Return what solves with a matrix (..., p, p), which is written to, for (..., p, m).

    It is damped, as directions in which it is singular would be without end; the error of that is
    solved for once.
    """
    known = matrix.clone()
    matrix.diagonal(dim1=-2, dim2=-1).mul_(1 + torch.finfo(matrix.dtype).eps ** 0.5)
    factor = damped_cholesky_(matrix)

    def solve(right: Tensor) -> Tensor:
        solution = solve_cholesky(factor, right)
        return solution + solve_cholesky(factor, right - known @ solution)

    return solve


def _solved(matrix: Tensor, right: Tensor) -> Tensor:
    """Solve for a vector; not a number, or infinite, if the matrix is singular."""
    solution: Tensor = torch.linalg.solve_ex(matrix, right.unsqueeze(-1)).result.squeeze(-1)
    return solution
