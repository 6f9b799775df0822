"""What an approximate Hessian can do.

Shapes follow the legend in :mod:`torchlogreg.problem.objective`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor


class Curvature(Protocol):
    """An approximate Hessian H of B problems: a linear map of (B, R, D) to itself.

    What is built from the rows has no penalty in it, so that one serves every C: :meth:`shifted`
    adds that. Whatever belongs to a single problem has a leading axis B, or 1 where the problems
    share it.
    """

    @property
    def dtype(self) -> torch.dtype:
        """Of the numbers that it is made of."""

    def multiply(self, v: Tensor) -> Tensor:
        """H v."""

    def solve(self, g: Tensor) -> Tensor:
        """A step s with H s = g.

        Where adding the same vector to all outputs changes no probability, of all steps that sum to
        zero over the outputs the one that minimises the model.
        """

    def shifted(self, diagonal: Tensor) -> Curvature:
        """H plus a diagonal (B, 1, D) that is the same for every output."""

    def take(self, problems: Sequence[int]) -> Curvature:
        """H of some of the problems."""


def of_problems(tensor: Tensor, problems: Sequence[int]) -> Tensor:
    """Entries of some of the problems; all of a tensor that they share."""
    return tensor if len(tensor) == 1 else tensor[list(problems)]


def with_ridge(matrices: Tensor, ridge: Tensor | None) -> Tensor:
    """Copy matrices (1 or B, ..., D, D), with a ridge (1 or B, ..., D) added to their diagonals."""
    if ridge is None:
        return matrices.clone()
    n_problems = max(len(matrices), len(ridge))
    copy = matrices.expand(n_problems, *matrices.shape[1:]).clone()
    copy.diagonal(dim1=-2, dim2=-1).add_(ridge)
    return copy


def solved(curvature: Curvature, g: Tensor) -> Tensor:
    """Solve in the precision of a curvature that was built in another one than that of g."""
    return curvature.solve(g.to(curvature.dtype)).to(g.dtype)
