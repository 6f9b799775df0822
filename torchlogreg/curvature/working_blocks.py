"""A sampled Hessian in some of the coefficients, and pairs of L-BFGS on top of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from torchlogreg.curvature.row_sample import draw, moments_of
from torchlogreg.curvature.symmetric import set_diagonal_
from torchlogreg.curvature.working import BlockWorking, DenseWorking
from torchlogreg.problem.batched import Batched
from torchlogreg.problem.objective import Objective
from torchlogreg.problem.points import Point
from torchlogreg.problem.rows import joined

OVERESTIMATE = 1.5
"""Least multiple of the blocks of outputs in a model. The Hessian is at most twice these: where two
classes compete, it is that along the direction in which one gains what the other loses."""


SMALL_BLOCK = 128
"""Coefficients up to which blocks of several outputs become one, with zeros between them."""


@dataclass(frozen=True, eq=False)
class WorkingBlocks:
    """Blocks of the Hessian in some coefficients, penalty included; in the others it is diagonal.

    There is one for every output, or for some neighbours. For a single problem.
    """

    diagonal: Tensor
    """Diagonal of the Hessian in all coefficients, flattened, shape (P,)."""

    index: Tensor
    """Coefficients that blocks were asked for."""

    places: list[Tensor]
    """Rising index of the coefficients of each block."""

    matrices: list[DenseWorking]
    """The blocks, as batches of one."""

    floor: float = 0.0
    """What was added to the curvature of the rows, in units of their weights."""

    least_scale: float = 1.0
    """Least multiple of them in a model."""

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
        *,
        largest: int,
        floor: float = 0.0,
    ) -> Self:
        """Estimate the blocks at a point.

        Parameters
        ----------
        objective, point, floor
            As for :func:`~torchlogreg.curvature.chosen.chosen_hessian`.
        places : list of Tensor
            Rising index of the coefficients asked for, of each output.
        generator : torch.Generator
            Draws the rows.
        n_rows : int
            Rows that a block is estimated from, at most and on average.
        largest : int
            Most coefficients of a block: those with most curvature. The others are diagonal.
        """
        row_curvature = [
            torch.add(part, block.wide_weight, alpha=floor)
            for part, block in zip(objective.row_curvature(point), objective.rows, strict=True)
        ]
        (squares,) = objective.rows.sum(
            lambda block, part: (block.squares(part.flatten(0, 1)),), row_curvature
        )
        loss_diagonal = squares.flatten()
        diagonal = loss_diagonal + objective.ridge[0].expand_as(squares).flatten()
        index = torch.cat(places)
        places = [_largest(chosen, loss_diagonal, largest) for chosen in places]
        curvature, (_, D) = joined(row_curvature)[0], squares.shape
        scale = torch.where(squares > 0, 1 / (squares + objective.ridge[0]), 0)
        scores = joined([block.square_norms(scale) for block in objective.rows]).mul_(curvature)
        matrices = []
        for chosen, weight, score in zip(places, curvature, scores, strict=True):
            rows = draw(objective.rows, weight, score, n_rows, generator)
            matrix = moments_of(objective.rows, *rows, chosen % D)
            set_diagonal_(matrix, loss_diagonal[chosen])
            matrix.diagonal().copy_(diagonal[chosen])
            matrices.append(matrix)
        groups = _grouped([len(matrix) for matrix in matrices])
        places = [torch.cat(places[group]) for group in groups]
        blocks = [DenseWorking(_joined(matrices[group]).unsqueeze(0)) for group in groups]
        least_scale = OVERESTIMATE if objective.family.outputs_compete else 1.0
        return cls(diagonal, index, places, blocks, floor, least_scale)

    def multiply(self, v: Tensor) -> Tensor:
        """H v, for v (m, P)."""
        product = self.diagonal * v
        for index, matrix in zip(self.places, self.matrices, strict=True):
            product[:, index] = v[:, index] @ matrix.matrix[0]
        return product

    def others(self, index: Tensor) -> Tensor:
        """Which coefficients of an index, or of those asked for, are not in a block."""
        wanted = torch.cat([self.index, index[self._is_new(index)]])
        return wanted[~torch.isin(wanted, torch.cat(self.places))]

    def n_new(self, index: Tensor) -> int:
        """Return how many of some coefficients blocks were not asked for."""
        return int(self._is_new(index).sum())

    def _is_new(self, index: Tensor) -> Tensor:
        return ~torch.isin(index, self.index)


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

    def on(self, blocks: WorkingBlocks, others: Tensor) -> BlockWorking:
        """Return what pairs and blocks say of the Hessian in the coefficients of the blocks.

        Other coefficients, of an index (q,), follow. There is a single problem.
        """
        S, Y = self.steps[0], self.changes[0]
        products = (S * Y).sum(-1)
        sizes = torch.linalg.vector_norm(S, dim=-1) * torch.linalg.vector_norm(Y, dim=-1)
        is_sound = products > torch.finfo(S.dtype).eps ** 0.5 * sizes
        S, Y = S[is_sound], Y[is_sound]
        U = blocks.multiply(S)
        scale = blocks.least_scale
        if len(S):  # so that it is not below the curvature along the last step
            scale = max(((S[-1] @ Y[-1]) / (S[-1] @ U[-1])).item(), scale)
        U *= scale
        curvature = S @ Y.T
        lower = curvature.tril(-1)
        middle = torch.cat(
            [
                torch.cat([S @ U.T, lower], dim=1),
                torch.cat([lower.T, -torch.diag(curvature.diagonal())], dim=1),
            ]
        )
        index = torch.cat([*blocks.places, others])
        low_rank = torch.cat([U, Y])[:, index].T.contiguous()
        return BlockWorking(blocks.matrices, blocks.diagonal[others], low_rank, middle, scale)


def _grouped(sizes: list[int]) -> list[slice]:
    """Group neighbouring blocks of these sizes that are small: a call for each costs more."""
    groups, start = [], 0
    for stop in range(1, len(sizes) + 1):
        if stop == len(sizes) or sum(sizes[start : stop + 1]) > SMALL_BLOCK:
            groups.append(slice(start, stop))
            start = stop
    return groups


def _joined(matrices: list[Tensor]) -> Tensor:
    """Put blocks on the diagonal of one matrix; a single one stays where it is."""
    return matrices[0] if len(matrices) == 1 else torch.block_diag(*matrices)


def _largest(index: Tensor, diagonal: Tensor, most: int) -> Tensor:
    """Of some coefficients, those with the largest diagonal (P,)."""
    if len(index) <= most:
        return index
    return index[diagonal[index].topk(most).indices.sort().values]
