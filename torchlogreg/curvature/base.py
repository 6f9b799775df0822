"""What an approximate Hessian can do.

Shapes follow the legend in :mod:`torchlogreg.problem.objective`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields

import torch
from torch import Tensor

from torchlogreg.problem.batched import Batched


@dataclass(frozen=True, eq=False)
class Curvature(Batched, ABC):
    """An approximate Hessian H of B problems: a linear map of (B, R, D) to itself.

    What is built from the rows has no penalty in it, so that one serves every C: :meth:`shifted`
    adds that. The first field is what a form is made of. :meth:`take` gives H of some problems.
    """

    ridge: Tensor | None = field(default=None, kw_only=True)
    """What is added to the diagonal of H for every output, shape (1 or B, 1, D)."""

    @property
    def dtype(self) -> torch.dtype:
        """Of the numbers that it is made of."""
        first: Tensor = getattr(self, next(f.name for f in fields(self) if not f.kw_only))
        return first.dtype

    @abstractmethod
    def solve(self, g: Tensor) -> Tensor:
        """A step s with H s = g.

        Where adding the same vector to all outputs changes no probability, of all steps that sum to
        zero over the outputs the one that minimises the model.
        """

    @abstractmethod
    def _multiply(self, v: Tensor) -> Tensor:
        """H v without the ridge."""

    def multiply(self, v: Tensor) -> Tensor:
        """H v."""
        product = self._multiply(v)
        return product if self.ridge is None else torch.addcmul(product, self.ridge, v)

    def shifted(self, diagonal: Tensor) -> Curvature:
        """H plus a diagonal (1 or B, 1, D) that is the same for every output."""
        return self.evolved(ridge=diagonal if self.ridge is None else self.ridge + diagonal)

    def into_inverse(self) -> Curvature:
        """Return the same H for those who only solve, in less memory where it is large.

        That may be the memory of this one, which must not be used again.
        """
        return self


def with_ridge(matrices: Tensor, ridge: Tensor | None, *, in_place: bool = False) -> Tensor:
    """Matrices (1 or B, ..., D, D), with a ridge (1 or B, ..., D) added to their diagonals.

    A copy; or in place, unless the matrices are shared by problems with a ridge each.
    """
    n_problems = len(matrices) if ridge is None else max(len(matrices), len(ridge))
    if not in_place or n_problems > len(matrices):
        matrices = matrices.expand(n_problems, *matrices.shape[1:]).clone()
    if ridge is not None:
        matrices.diagonal(dim1=-2, dim2=-1).add_(ridge)
    return matrices


def solved(curvature: Curvature, g: Tensor) -> Tensor:
    """Solve in the precision of a curvature that was built in another one than that of g."""
    if curvature.dtype == g.dtype:
        return curvature.solve(g)
    return curvature.solve(g.to(curvature.dtype)).to(g.dtype)
