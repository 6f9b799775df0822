"""A sampled Hessian in some of the coefficients, and pairs of L-BFGS on top of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from torchlogreg.curvature.chosen import bend_gauge_, chosen_hessian
from torchlogreg.curvature.row_sample import draw, second_moments
from torchlogreg.curvature.symmetric import set_diagonal_
from torchlogreg.curvature.working import BlockWorking, submatrix
from torchlogreg.problem.batched import Batched
from torchlogreg.problem.objective import Objective
from torchlogreg.problem.points import Point
from torchlogreg.problem.rows import joined

OVERESTIMATE = 1.5
"""Least multiple of the blocks of outputs in a model. The Hessian is at most twice these: where two
classes compete, it is that along the direction in which one gains what the other loses."""


@dataclass(frozen=True, eq=False)
class WorkingBlocks:
    """Blocks of the Hessian of the loss in some coefficients; in all others it is diagonal.

    There is one block with all of them, or one for every output. For a single problem.
    """

    diagonal: Tensor
    """Diagonal of the Hessian in all coefficients, flattened, shape (P,)."""

    places: list[Tensor]
    """Rising index of the coefficients of each block."""

    matrices: list[Tensor]
    """The blocks."""

    n_iter: int = 0
    """Iteration in which they were sampled."""

    @classmethod
    def sampled(
        cls,
        objective: Objective,
        point: Point,
        places: list[Tensor],
        generator: torch.Generator,
        n_rows: int,
    ) -> Self:
        """Estimate the blocks at a point from ``n_rows`` rows each, or fewer."""
        row_curvature = objective.row_curvature(point)
        (squares,) = objective.rows.sum(
            lambda block, part: (block.squares(part.flatten(0, 1)),), row_curvature
        )
        curvature = joined(row_curvature)[0]
        if len(places) == 1:
            weights, diagonals = curvature.sum(0, keepdim=True), squares.sum(0, keepdim=True)
        else:
            weights, diagonals = curvature, squares
        n_free = 1 if len(places) > 1 else max(len(curvature) - 1, 1)
        scale = torch.where(diagonals > 0, 1 / (diagonals + n_free * objective.ridge[0]), 0)
        scores = joined([block.square_norms(scale) for block in objective.rows]).mul_(weights)
        matrices, D = [], squares.shape[1]
        for chosen, weight, score in zip(places, weights, scores, strict=True):
            index, drawn = draw(weight, score, n_rows, generator)
            if len(places) == 1:
                parts = objective, point
                if index is not None:
                    parts = _sample(objective, point, index, drawn / weight[index])
                matrix = chosen_hessian(*parts, chosen)
            else:
                matrix = second_moments(objective.rows, index, drawn, columns=chosen % D)
            set_diagonal_(matrix, squares.flatten()[chosen])
            if len(places) == 1 and objective.family.outputs_compete:
                bend_gauge_(matrix, chosen % D, len(squares))
            matrices.append(matrix)
        return cls(squares.flatten(), places, matrices)

    def multiply(self, v: Tensor) -> Tensor:
        """H v, for v (m, P)."""
        product = self.diagonal * v
        for index, matrix in zip(self.places, self.matrices, strict=True):
            product[:, index] = v[:, index] @ matrix
        return product

    def within(self, places: list[Tensor]) -> list[Tensor]:
        """Return the blocks in other coefficients."""
        blocks = []
        for known, matrix, wanted in zip(self.places, self.matrices, places, strict=True):
            block = torch.diag(self.diagonal[wanted])
            if len(known) and len(wanted):
                place = torch.searchsorted(known, wanted).clamp_(max=len(known) - 1)
                here = (known[place] == wanted).nonzero().squeeze(-1)
                there = place[here]
                part = submatrix(matrix, there)
                if len(here) == len(wanted):
                    block = part
                else:
                    block[here.unsqueeze(-1), here] = part
            blocks.append(block)
        return blocks

    def n_missing(self, index: Tensor) -> int:
        """Return how many of some coefficients the blocks do not have."""
        return int((~torch.isin(index, torch.cat(self.places))).sum())


@dataclass(frozen=True, eq=False)
class Moves(Batched):
    """The last steps s and gradient differences y of B problems, the oldest first."""

    steps: Tensor
    """Shape (B, m, P)."""

    changes: Tensor
    """Shape (B, m, P)."""

    @classmethod
    def none(cls, like: Tensor) -> Self:
        """Return no moves yet, for coefficients (B, R, D)."""
        empty = like.new_zeros(len(like), 0, like[0].numel())
        return cls(empty, empty)

    def add(self, step: Tensor, change: Tensor, most: int) -> Moves:
        """Add a pair (B, R, D); the oldest beyond ``most`` leaves."""
        steps = torch.cat([self.steps, step.flatten(1).unsqueeze(1)], dim=1)
        changes = torch.cat([self.changes, change.flatten(1).unsqueeze(1)], dim=1)
        return Moves(steps[:, -most:], changes[:, -most:])

    def on(self, blocks: WorkingBlocks, ridge: Tensor, places: Sequence[Tensor]) -> BlockWorking:
        """Return what pairs and blocks say of the Hessian in some coefficients.

        Parameters
        ----------
        blocks : WorkingBlocks
            Of the one problem that there is.
        ridge : Tensor of shape (P,)
            What the penalty adds to the diagonal.
        places : list of Tensor
            Rising index of the coefficients, for each of the blocks.
        """
        S, Y = self.steps[0], self.changes[0]
        products = (S * Y).sum(-1)
        sizes = torch.linalg.vector_norm(S, dim=-1) * torch.linalg.vector_norm(Y, dim=-1)
        is_sound = products > torch.finfo(S.dtype).eps ** 0.5 * sizes
        S, Y = S[is_sound], Y[is_sound]
        U = blocks.multiply(S) + ridge * S
        scale = 1.0 if len(places) == 1 else OVERESTIMATE
        if len(S):  # so that it is not below the curvature along the last step
            scale = max(((S[-1] @ Y[-1]) / (S[-1] @ U[-1])).item(), scale)
        parts = blocks.within(list(places))
        for block, index in zip(parts, places, strict=True):
            block.diagonal().add_(ridge[index])
            block.mul_(scale)
        U = scale * U
        curvature = S @ Y.T
        lower = curvature.tril(-1)
        middle = torch.cat(
            [
                torch.cat([S @ U.T, lower], dim=1),
                torch.cat([lower.T, -torch.diag(curvature.diagonal())], dim=1),
            ]
        )
        low_rank = torch.cat([U, Y])[:, torch.cat(list(places))].T.contiguous()
        return BlockWorking(parts, low_rank, middle)


def _sample(
    objective: Objective, point: Point, index: Tensor, factor: Tensor
) -> tuple[Objective, Point]:
    """Take some rows, with their weights times a factor, of an objective and a point."""
    rows = objective.rows
    places = rows.locate(index)
    factors = factor.split([len(place) for place in places])
    blocks = tuple(
        block.evolved(weight=block.weight * part)
        for block, part in zip(rows.take_rows(index), factors, strict=True)
    )
    residual = [
        whole[..., place] * part
        for whole, place, part in zip(point.residual, places, factors, strict=True)
    ]
    return (
        replace(objective, rows=replace(rows, blocks=blocks)),
        point.evolved(residual=residual),
    )
