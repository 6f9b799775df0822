"""The Hessian as one matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from torchlogreg.curvature.base import of_problems, with_ridge
from torchlogreg.curvature.symmetric import damped_cholesky


@dataclass(frozen=True, eq=False)
class Dense:
    r"""A matrix over all coefficients of a problem.

    It is singular where the objective is flat: along the gauge, and without a penalty along
    whatever the data does not determine. A multiple of its own diagonal, of the size of the
    rounding errors, makes it positive definite whatever the scale of the columns.

    References
    ----------
    .. [1] Nocedal & Wright, Numerical Optimization, 2nd ed., Section 3.4, Algorithm 3.3 with
       Levenberg's multiple of the identity replaced by Marquardt's multiple of the diagonal.
    """

    matrix: Tensor
    """The matrix (1 or B, R D, R D)."""

    @cached_property
    def factor(self) -> Tensor | None:
        """Cholesky factor of the matrix; None if it has none, whatever is added."""
        diagonal = self.matrix.diagonal(dim1=-2, dim2=-1)
        tiny = torch.finfo(self.matrix.dtype).tiny
        # A column of zeros has no gradient either.
        diagonal += (diagonal <= tiny) * (diagonal.amax(-1, keepdim=True) + tiny)
        factor, damping = damped_cholesky(self.matrix)
        return factor if damping.isfinite().all() else None

    @property
    def dtype(self) -> torch.dtype:
        """Of the numbers that it is made of."""
        return self.matrix.dtype

    def multiply(self, v: Tensor) -> Tensor:
        """H v."""
        return (self.matrix @ v.flatten(1).unsqueeze(-1)).view_as(v)

    def solve(self, g: Tensor) -> Tensor:
        """A step s with H s = g; g itself if the matrix has no factor."""
        if self.factor is None:
            return g
        return torch.cholesky_solve(g.flatten(1).unsqueeze(-1), self.factor).view_as(g)

    def shifted(self, diagonal: Tensor) -> Dense:
        """H plus a diagonal (B, 1, D) that is the same for every output."""
        n_outputs = self.matrix.shape[-1] // diagonal.shape[-1]
        return Dense(with_ridge(self.matrix, diagonal.expand(-1, n_outputs, -1).flatten(1)))

    def take(self, problems: Sequence[int]) -> Dense:
        """H of some of the problems."""
        return replace(self, matrix=of_problems(self.matrix, problems))
