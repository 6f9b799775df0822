"""What the last moves have shown of the Hessian: the pairs of L-BFGS."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from torchlogreg.curvature.base import Curvature, solved


@dataclass(frozen=True, eq=False)
class Pairs(Curvature):
    r"""Pairs of steps s and gradient differences y, on top of any other curvature.

    The initial matrix is ``initial`` divided by ``scale``. A pair of zeros stands for one that
    rounding has spoilt.

    Notes
    -----
    With the pairs as rows of S and Y (B, m, P), the first loop of the two-loop recursion is
    the triangular system :math:`R\alpha = Sg` with :math:`R = \mathrm{triu}(SY^\top)`, and
    the second is :math:`R^\top\delta = \mathrm{diag}(R)\,\alpha - Yr` with
    :math:`r = H_0(g - Y^\top\alpha)`; the solution is :math:`r + S^\top\delta`. That is
    a dozen kernels instead of a hundred, for any number of problems.

    References
    ----------
    .. [1] Nocedal & Wright, Numerical Optimization, 2nd ed., Algorithm 7.4 (solve), Theorem 7.4
       (multiply); the scale is that of eq. (7.20), with the initial matrix in it.
    """

    S: Tensor
    """Steps (B, m, P), the last one at the end."""

    Y: Tensor
    """Differences of the gradients (B, m, P)."""

    scale: Tensor
    """What the inverse of the initial matrix is multiplied by, shape (B, 1, 1)."""

    initial: Curvature | None = None
    """The initial matrix; None for the identity."""

    is_trusted: Tensor | None = None
    """Whether a problem has the initial matrix rather than the identity, shape (B, 1, 1); None for
    all."""

    @classmethod
    def none(cls, like: Tensor, initial: Curvature | None = None) -> Pairs:
        """Return no pairs yet, for coefficients (B, R, D)."""
        empty = like.new_zeros(len(like), 0, like[0].numel())
        return cls(empty, empty, like.new_ones(len(like), 1, 1), initial)

    def __len__(self) -> int:
        """Return the number m of pairs."""
        return self.S.shape[1]

    def cleared(self) -> Pairs:
        """Return no pairs, on nothing."""
        empty = self.S[:, :0]
        return Pairs(empty, empty, torch.ones_like(self.scale))

    def add(self, step: Tensor, change: Tensor, most: int) -> Pairs:
        """Return the pairs with one more (B, R, D), and without the oldest beyond ``most``."""
        s, y = step.flatten(1).unsqueeze(-2), change.flatten(1).unsqueeze(-2)
        lengths = s.norm(dim=-1, keepdim=True) * y.norm(dim=-1, keepdim=True)
        is_sound = s @ y.mT > torch.finfo(s.dtype).eps * lengths
        first = max(len(self) + 1 - most, 0)
        S, Y = (
            torch.cat([known[:, first:], torch.where(is_sound, row, 0)], dim=-2)
            for known, row in ((self.S, s), (self.Y, y))
        )
        return replace(self, S=S, Y=Y)._rescaled(step.shape)

    def on(self, initial: Curvature, is_sound: Tensor, shape: torch.Size) -> Pairs:
        """Return the same pairs on top of another curvature where that is sound (B,).

        ``shape`` is that of the coefficients (B, R, D).
        """
        is_trusted = None if is_sound.all() else is_sound[:, None, None]
        pairs = replace(self, initial=initial, is_trusted=is_trusted)
        return pairs._rescaled(shape) if len(self) else pairs

    def solve(self, g: Tensor) -> Tensor:
        """A step s with H s = g, by the two-loop recursion."""
        if not len(self):
            return self.scale * self._initial_solve(g)
        right = g.flatten(1).unsqueeze(-1)
        R = torch.triu(self.S @ self.Y.mT)
        curvature = R.diagonal(dim1=-2, dim2=-1).unsqueeze(-1).clone()
        R.diagonal(dim1=-2, dim2=-1)[curvature.squeeze(-1) == 0] = 1  # left-out pairs
        alpha = torch.linalg.solve_triangular(R, self.S @ right, upper=True)
        q = right - self.Y.mT @ alpha
        r = self.scale * self._initial_solve(q.view_as(g)).reshape_as(q)
        delta = torch.linalg.solve_triangular(R.mT, curvature * alpha - self.Y @ r, upper=False)
        solution: Tensor = r + self.S.mT @ delta
        return solution.view_as(g)

    def _multiply(self, v: Tensor) -> Tensor:
        """H v, by the compact representation."""
        if not len(self):
            return self._initial_multiply(v)
        steps = self.S.unflatten(-1, v.shape[1:]).unbind(1)
        U = torch.stack([self._initial_multiply(s).flatten(1) for s in steps], dim=1)
        products = self.S @ self.Y.mT
        lower, D = products.tril(-1), torch.diag_embed(products.diagonal(dim1=-2, dim2=-1))
        middle = torch.cat(
            [torch.cat([self.S @ U.mT, lower], dim=-1), torch.cat([lower.mT, -D], dim=-1)], dim=-2
        )
        middle.diagonal(dim1=-2, dim2=-1)[(middle == 0).all(-1)] = 1  # left-out pairs
        low_rank = torch.cat([U, self.Y], dim=-2)
        right = low_rank @ v.flatten(1).unsqueeze(-1)
        correction: Tensor = low_rank.mT @ torch.linalg.solve(middle, right)
        return self._initial_multiply(v) - correction.view_as(v)

    def shifted(self, diagonal: Tensor) -> Pairs:
        """H plus a diagonal (B, 1, D) that is the same for every output.

        Gradients then differ by that times the step, too: no pair is lost.
        """
        if self.initial is None:
            raise ValueError("Pairs on the identity have no shift: give them an initial matrix.")
        steps = self.S.unflatten(-1, (-1, diagonal.shape[-1]))
        Y = self.Y + (diagonal.unsqueeze(1) * steps).flatten(2)
        return replace(self, Y=Y, initial=self.initial.shifted(self.scale * diagonal))

    def to(self, dtype: torch.dtype) -> Pairs:
        """Return the same pairs in another dtype; the initial matrix keeps its own."""
        numbers = {name: getattr(self, name).to(dtype) for name in ("S", "Y", "scale")}
        return replace(self, **numbers)

    def _initial_solve(self, g: Tensor) -> Tensor:
        return g if self.initial is None else self._where_trusted(solved(self.initial, g), g)

    def _initial_multiply(self, v: Tensor) -> Tensor:
        if self.initial is None:
            return v / self.scale
        return self._where_trusted(self.initial.multiply(v), v) / self.scale

    def _where_trusted(self, new: Tensor, old: Tensor) -> Tensor:
        return new if self.is_trusted is None else torch.where(self.is_trusted, new, old)

    def _rescaled(self, shape: torch.Size) -> Pairs:
        """Scale the initial matrix so that it fits the curvature along the last step.

        With any initial matrix: where the classes are nearly separated, the Hessian shrinks with
        every iteration.
        """
        s, y = self.S[:, -1:], self.Y[:, -1:]
        expected = y @ self._initial_solve(y.view(shape)).reshape_as(y).mT
        scale = (s @ y.mT) / expected
        return replace(self, scale=torch.where((scale > 0) & scale.isfinite(), scale, self.scale))
