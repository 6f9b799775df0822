"""Sampled blocks of a Hessian in some of the coefficients, and pairs of L-BFGS on top of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from torchlogreg.curvature.row_sample import draw, leverage, second_moments
from torchlogreg.curvature.symmetric import set_diagonal_
from torchlogreg.curvature.working import BlockWorking
from torchlogreg.problem.batched import Batched
from torchlogreg.problem.objective import Objective
from torchlogreg.problem.points import Point
from torchlogreg.problem.rows import joined

OVERESTIMATE = 1.5
"""Least multiple of the blocks in a model. The Hessian is at most twice its diagonal blocks: where
two classes compete, it is that along the direction in which one gains what the other loses."""


@dataclass(frozen=True, eq=False)
class WorkingBlocks:
    """Diagonal blocks of the Hessian of the loss, in some columns of every output.

    In all other coefficients they are the diagonal. For a single problem.
    """

    diagonal: Tensor
    """Diagonal of the Hessian in all coefficients, shape (R, D)."""

    columns: list[Tensor]
    """Rising index of the columns of every output."""

    matrices: list[Tensor]
    """The blocks in these."""

    @classmethod
    def sampled(
        cls,
        objective: Objective,
        point: Point,
        columns: list[Tensor],
        generator: torch.Generator,
        n_rows: int,
    ) -> Self:
        """Estimate the blocks at a point from ``n_rows`` rows each, or fewer."""
        row_curvature = objective.row_curvature(point)
        exact, score = leverage(objective, row_curvature, objective.ridge, n_rows)
        curvature = joined(row_curvature)
        if exact is None:
            (squares,) = objective.rows.sum(
                lambda block, part: (block.squares(part.flatten(0, 1)),), row_curvature
            )
            exact = squares.view_as(point.coef)
        matrices = []
        for r, chosen in enumerate(columns):
            sample = draw(curvature[0, r], score[0, r], n_rows, generator)
            matrix = second_moments(objective.rows, *sample, columns=chosen)
            set_diagonal_(matrix, exact[0, r, chosen])
            matrices.append(matrix)
        return cls(exact[0], columns, matrices)

    def multiply(self, v: Tensor) -> Tensor:
        """H v, for v (m, R, D)."""
        product = self.diagonal * v
        for r, (columns, matrix) in enumerate(zip(self.columns, self.matrices, strict=True)):
            product[:, r, columns] = v[:, r, columns] @ matrix
        return product

    def within(self, columns: list[Tensor]) -> list[Tensor]:
        """Return the blocks in other columns."""
        blocks = []
        for r, (known, wanted) in enumerate(zip(self.columns, columns, strict=True)):
            block = torch.diag(self.diagonal[r, wanted])
            if len(known) and len(wanted):
                place = torch.searchsorted(known, wanted).clamp_(max=len(known) - 1)
                here = (known[place] == wanted).nonzero().squeeze(-1)
                place = place[here]
                block[here.unsqueeze(-1), here] = self.matrices[r][place.unsqueeze(-1), place]
            blocks.append(block)
        return blocks

    def n_missing(self, columns: list[Tensor]) -> int:
        """Return how many coefficients in other columns the blocks do not have."""
        pairs = zip(self.columns, columns, strict=True)
        return sum(int((~torch.isin(wanted, known)).sum()) for known, wanted in pairs)


@dataclass(frozen=True, eq=False)
class Moves(Batched):
    """The last steps s and gradient differences y of B problems, the oldest first."""

    steps: Tensor
    """Shape (B, m, P)."""

    changes: Tensor
    """Shape (B, m, P)."""

    def add(self, step: Tensor, change: Tensor, most: int) -> Moves:
        """Add a pair (B, R, D); the oldest beyond ``most`` leaves."""
        steps = torch.cat([self.steps, step.flatten(1).unsqueeze(1)], dim=1)
        changes = torch.cat([self.changes, change.flatten(1).unsqueeze(1)], dim=1)
        return Moves(steps[:, -most:], changes[:, -most:])

    def on(
        self, blocks: WorkingBlocks, ridge: Tensor, columns: list[Tensor], index: Tensor
    ) -> BlockWorking:
        """Return what pairs and blocks say of the Hessian in some coefficients.

        Parameters
        ----------
        blocks : WorkingBlocks
            Of the one problem that there is.
        ridge : Tensor of shape (D,)
            What the penalty adds to the diagonal for every output.
        columns : list of Tensor
            Of every output, the columns of the coefficients.
        index : Tensor of shape (p,)
            Rising index of the coefficients (1, R, D), flattened.
        """
        S, Y = self.steps[0], self.changes[0]
        products = (S * Y).sum(-1)
        sizes = torch.linalg.vector_norm(S, dim=-1) * torch.linalg.vector_norm(Y, dim=-1)
        is_sound = products > torch.finfo(S.dtype).eps ** 0.5 * sizes
        S, Y = S[is_sound], Y[is_sound]
        V = S.view(len(S), *blocks.diagonal.shape)
        U = (blocks.multiply(V) + ridge * V).flatten(1)
        scale = OVERESTIMATE
        if len(S):  # so that it fits the curvature along the last step
            scale = max(((S[-1] @ Y[-1]) / (S[-1] @ U[-1])).item(), OVERESTIMATE)
        parts = []
        for block, some in zip(blocks.within(columns), columns, strict=True):
            block.diagonal().add_(ridge[some])
            parts.append(block.mul_(scale))
        U = scale * U
        curvature = S @ Y.T
        lower = curvature.tril(-1)
        middle = torch.cat(
            [
                torch.cat([S @ U.T, lower], dim=1),
                torch.cat([lower.T, -torch.diag(curvature.diagonal())], dim=1),
            ]
        )
        return BlockWorking(parts, torch.cat([U, Y])[:, index].T.contiguous(), middle)
