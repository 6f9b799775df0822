"""The Hessian as one matrix."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from torchlogreg.curvature.base import Curvature
from torchlogreg.curvature.symmetric import damped_cholesky_, solve_cholesky


@dataclass(frozen=True, eq=False)
class Dense(Curvature):
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
    """The matrix (B, R D, R D) without ``ridge``."""

    @cached_property
    def factor(self) -> Tensor:
        """Cholesky factor of the matrix; not a number if it has none, whatever is added."""
        matrix = self.matrix.clone()
        diagonal = matrix.diagonal(dim1=-2, dim2=-1)
        if self.ridge is not None:
            diagonal.unflatten(-1, (-1, self.ridge.shape[-1])).add_(self.ridge)
        return damped_cholesky_(matrix, diagonal)

    def solve(self, g: Tensor) -> Tensor:
        """A step s with H s = g; not a number if the matrix has no factor."""
        is_shared = len(self.factor) < len(g)
        columns = g.flatten(1).T if is_shared else g.reshape(len(g), -1, 1)
        step = solve_cholesky(self.factor[0] if is_shared else self.factor, columns)
        return (step.T if is_shared else step).reshape(g.shape)

    def _multiply(self, v: Tensor) -> Tensor:
        return (self.matrix @ v.flatten(1).unsqueeze(-1)).view_as(v)
