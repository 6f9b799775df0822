"""Hessians in some of the coefficients, and what it takes to minimise a model with a kink."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from torchlogreg.curvature.symmetric import damped_cholesky_
from torchlogreg.problem.batched import Batched

SINGLE_COEF = 200
"""Coefficients from which on only the rows and columns of a face are factorised."""


class WorkingHessian(ABC):
    """A symmetric positive semi-definite matrix (p, p) for each of B problems."""

    @property
    @abstractmethod
    def diagonal(self) -> Tensor:
        """Its diagonal, or that of its largest part; shape (B, p)."""

    @abstractmethod
    def multiply(self, step: Tensor) -> Tensor:
        """H s, for s (B, p)."""

    @abstractmethod
    def solve_on(self, face: Tensor, right: Tensor) -> Tensor:
        """Solve the equations in the entries of a face (B, p); the others are 0."""

    @abstractmethod
    def plus(self, weight: Tensor) -> Callable[[Tensor], Tensor]:
        """Return what solves with H plus a diagonal (B, p)."""


@dataclass(frozen=True, eq=False)
class DenseWorking(Batched, WorkingHessian):
    """One matrix for each problem."""

    matrix: Tensor
    """Shape (B, p, p)."""

    @cached_property
    def diagonal(self) -> Tensor:
        """Its diagonal (B, p)."""
        return self.matrix.diagonal(dim1=-2, dim2=-1)

    def multiply(self, step: Tensor) -> Tensor:
        """H s, for s (B, p)."""
        return (self.matrix @ step.unsqueeze(-1)).squeeze(-1)

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

    def plus(self, weight: Tensor) -> Callable[[Tensor], Tensor]:
        """Return what solves with H plus a diagonal (B, p)."""
        matrix = self.matrix.clone()
        matrix.diagonal(dim1=-2, dim2=-1).add_(weight)
        factor = damped_cholesky_(matrix)
        return lambda right: torch.cholesky_solve(right.unsqueeze(-1), factor).squeeze(-1)


@dataclass(frozen=True, eq=False)
class BlockWorking(WorkingHessian):
    r"""A matrix for every output, less a product of low rank: :math:`B - U M^{-1} U^\top`.

    The product is what pairs of L-BFGS have shown, in their compact form [1]_. Systems are solved
    block by block, and with it by the formula of Sherman, Morrison & Woodbury. For a single
    problem.

    References
    ----------
    .. [1] Byrd, Nocedal & Schnabel, Representations of quasi-Newton matrices and their use in
       limited memory methods, Math. Programming 63 (1994), Theorem 2.3.
    """

    blocks: list[Tensor]
    """Of every output, shape (p_r, p_r); the p_r add up to p."""

    low_rank: Tensor
    """U, shape (p, k)."""

    middle: Tensor
    """M, shape (k, k)."""

    @cached_property
    def diagonal(self) -> Tensor:
        """Diagonal (1, p) of the blocks."""
        return torch.cat([block.diagonal() for block in self.blocks]).unsqueeze(0)

    def multiply(self, step: Tensor) -> Tensor:
        """H s, for s (1, p)."""
        parts = step[0].split([len(block) for block in self.blocks])
        product = torch.cat([block @ part for block, part in zip(self.blocks, parts, strict=True)])
        if self.low_rank.shape[1]:
            inner = _solved(self.middle, self.low_rank.T @ step[0])
            product -= self.low_rank @ inner
        return product.unsqueeze(0)

    def solve_on(self, face: Tensor, right: Tensor) -> Tensor:
        """Solve the equations in the entries of a face (1, p); the others are 0."""
        index = face[0].nonzero().squeeze(-1)
        sizes, solvers, counts = [len(block) for block in self.blocks], [], []
        for block, part in zip(self.blocks, face[0].split(sizes), strict=True):
            chosen = part.nonzero().squeeze(-1)
            solvers.append(_solver(submatrix(block, chosen)))
            counts.append(len(chosen))
        solve = _low_rank_solver(solvers, counts, self.low_rank[index], self.middle)
        solution = solve(right[0, index])
        return torch.zeros_like(right).index_copy_(1, index, solution.unsqueeze(0))

    def plus(self, weight: Tensor) -> Callable[[Tensor], Tensor]:
        """Return what solves with H plus a diagonal (1, p)."""
        sizes = [len(block) for block in self.blocks]
        solvers: list[Callable[[Tensor], Tensor]] = []
        for block, part in zip(self.blocks, weight[0].split(sizes), strict=True):
            matrix = block.clone()
            matrix.diagonal().add_(part)
            inverse = torch.cholesky_inverse(damped_cholesky_(matrix))
            solvers.append(inverse.matmul)
        solve = _low_rank_solver(solvers, sizes, self.low_rank, self.middle)
        return lambda right: solve(right[0]).unsqueeze(0)


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
        solution = torch.cholesky_solve(right, factor)
        return solution + torch.cholesky_solve(right - known @ solution, factor)

    return solve


def _low_rank_solver(
    solvers: list[Callable[[Tensor], Tensor]], sizes: list[int], low_rank: Tensor, middle: Tensor
) -> Callable[[Tensor], Tensor]:
    """Return what solves with blocks less a product of low rank, for a vector (p,)."""

    def solve_blocks(right: Tensor) -> Tensor:
        parts = zip(solvers, right.split(sizes), strict=True)
        return torch.cat([solve(part) for solve, part in parts])

    solved: Tensor = solve_blocks(low_rank)
    capacitance = middle - low_rank.T @ solved

    def solve(right: Tensor) -> Tensor:
        solution: Tensor = solve_blocks(right.unsqueeze(-1)).squeeze(-1)
        if not low_rank.shape[1]:
            return solution
        return solution + solved @ _solved(capacitance, low_rank.T @ solution)

    return solve


def _solved(matrix: Tensor, right: Tensor) -> Tensor:
    """Solve for a vector; not a number, or infinite, if the matrix is singular."""
    solution: Tensor = torch.linalg.solve_ex(matrix, right.unsqueeze(-1)).result.squeeze(-1)
    return solution
