"""What the last moves have shown of the Hessian: the pairs of L-BFGS."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torchlogreg.curvature.base import Curvature, solved
from torchlogreg.curvature.pair_products import Products, Small, namespace, to_like, to_small


@dataclass(frozen=True, eq=False)
class Pairs(Curvature):
    r"""Pairs of steps s and gradient differences y, on top of any other curvature.

    The initial matrix is ``initial`` divided by ``scale``. A pair of zeros stands for one that
    rounding has spoilt. The pairs are in a ring of slots, which :meth:`add` writes to: the pairs
    that it was called on must not be used again when all slots are full.

    Notes
    -----
    With the scaled inverse H of the initial matrix, the pairs as rows of S and Y,
    :math:`p = R^{-1} S g` and the diagonal D of R, the solution is

    .. math:: Hg + S^\top R^{-\top} (D p + Y H (Y^\top p - g)) - H Y^\top p .

    H is applied to gradients only: to :math:`y = g_{+} - g` it is a difference of what is known. So
    a solution takes two products with the pairs and one application of H.

    References
    ----------
    .. [1] Byrd, Nocedal & Schnabel, Representations of quasi-Newton matrices and their use in
       limited memory methods, Math. Programming 63 (1994), Theorem 2.2 (solve).
    .. [2] Nocedal & Wright, Numerical Optimization, 2nd ed., Theorem 7.4 (multiply); the scale is
       that of eq. (7.20), with the initial matrix in it.
    """

    slots: Tensor
    """Of each pair s and its H y without the scale, shape (B, m, 2, P)."""

    changes: Tensor
    """Of each pair y, shape (B, m, P)."""

    products: Products
    """Their products with each other."""

    scale: Small
    """What the inverse of the initial matrix is multiplied by, shape (B,)."""

    count: int = 0
    """Number of pairs that were ever added: the next one goes to slot ``count % m``."""

    initial: Curvature | None = None
    """The initial matrix; None for the identity."""

    is_trusted: Tensor | None = None
    """Whether a problem has the initial matrix rather than the identity, shape (B, 1, 1); None for
    all."""

    is_attended: bool = True
    """Whether small arrays are brought to the host at once."""

    @classmethod
    def none(
        cls,
        like: Tensor,
        initial: Curvature | None = None,
        *,
        n_slots: int = 0,
        is_attended: bool = True,
    ) -> Pairs:
        """Return no pairs yet, for coefficients (B, R, D)."""
        B, P = len(like), like[0].numel()
        small = [
            to_small(array, is_attended)
            for array in (
                like.new_zeros(B, n_slots, n_slots),
                like.new_zeros(B, n_slots, n_slots),
                like.new_zeros(B, n_slots),
                like.new_ones(B),
            )
        ]
        return cls(
            like.new_zeros(B, n_slots, 2, P),
            like.new_zeros(B, n_slots, P),
            Products(*small[:3]),
            small[3],
            initial=initial,
            is_attended=is_attended,
        )

    def __len__(self) -> int:
        """Return the number of pairs."""
        return min(self.count, self.slots.shape[1])

    @property
    def steps(self) -> Tensor:
        """Steps (B, m, P), the oldest first."""
        return self._by_age(self.slots[:, :, 0])

    @property
    def differences(self) -> Tensor:
        """Differences of the gradients (B, m, P), the oldest first."""
        return self._by_age(self.changes)

    def cleared(self) -> Pairs:
        """Return no pairs, on nothing."""
        like = self.changes.new_zeros(len(self.scale), 1, self.changes.shape[-1])
        return Pairs.none(like, is_attended=self.is_attended)

    def add(self, step: Tensor, change: Tensor, change_solved: Tensor, most: int) -> Pairs:
        """Add a pair (B, R, D) in the place of the oldest beyond ``most``.

        ``change_solved`` is :meth:`initial_solve` of the change.
        """
        if self.slots.shape[1] != most:
            S, Y = self.steps[:, -most:], self.differences[:, -most:]
            pairs = self.refilled(S, Y, step.shape, most).evolved(scale=self.scale)
            return pairs.add(step, change, change_solved, most)
        slot, n = self.count % most, min(self.count + 1, most)
        own = self.slots[:, slot].copy_(torch.stack([step, change_solved], 1).flatten(2))
        y = self.changes[:, slot].copy_(change.flatten(1))
        lengths = self._as_small(torch.linalg.vector_norm(step, dim=(-2, -1)))
        lengths = lengths * self._as_small(torch.linalg.vector_norm(y, dim=-1))
        products = self._multiplied(y, n)
        is_sound = products[:, slot, 0] > torch.finfo(y.dtype).eps * lengths
        if isinstance(is_sound, Tensor) or not is_sound.all():
            spoilt = torch.as_tensor(~is_sound, device=y.device)
            own.masked_fill_(spoilt[:, None, None], 0)
            y.masked_fill_(spoilt[:, None], 0)
            products = namespace(products).where(is_sound[:, None, None], products, 0.0)
        self.products.put(slot, *self._padded(products), is_sound)
        return self.evolved(count=self.count + 1)._rescaled(slot)

    def on(self, initial: Curvature, is_sound: Tensor, shape: torch.Size) -> Pairs:
        """Return the same pairs on top of another curvature where that is sound (B,).

        ``shape`` is that of the coefficients (B, R, D).
        """
        is_trusted = None if is_sound.all() else is_sound[:, None, None]
        pairs = self.evolved(initial=initial, is_trusted=is_trusted)
        return pairs.refilled(self.steps, self.differences, shape) if len(self) else pairs

    def refilled(
        self, S: Tensor, Y: Tensor, shape: torch.Size, n_slots: int | None = None
    ) -> Pairs:
        """Return other pairs (B, m, P), the oldest first, on the same initial matrix."""
        n_slots = n_slots or self.slots.shape[1] or S.shape[1]
        empty = Pairs.none(S.new_zeros(shape), n_slots=n_slots, is_attended=self.is_attended)
        pairs = empty.evolved(initial=self.initial, is_trusted=self.is_trusted, scale=self.scale)
        for s, y in zip(S.unbind(1), Y.unbind(1), strict=True):
            step, change = s.view(shape), y.view(shape)
            pairs = pairs.add(step, change, pairs.initial_solve(change), n_slots)
        return pairs

    def initial_solve(self, g: Tensor) -> Tensor:
        """A step s that the initial matrix, without the scale, maps to g."""
        return g if self.initial is None else self._where_trusted(solved(self.initial, g), g)

    def solve(self, g: Tensor) -> Tensor:
        """A step s with H s = g."""
        return self.completed(g, self.initial_solve(g))

    def completed(self, g: Tensor, g_solved: Tensor) -> Tensor:
        """A step s with H s = g, from what :meth:`initial_solve` makes of g."""
        scale, n = self.scale, len(self)
        step: Tensor = g_solved * self._scale_like(g)
        if not n:
            return step
        products = self._multiplied(g, n)
        weights = self.products.weights(products[..., 0], products[..., 1], scale, n)
        weights = to_like(weights.reshape(len(g), 1, -1), g)
        return step.view(len(g), 1, -1).baddbmm_(weights, self._filled(n)).view_as(g)

    def _multiply(self, v: Tensor) -> Tensor:
        """H v, by the compact representation."""
        if not len(self):
            return self._initial_multiply(v)
        S, Y = self.steps, self.differences
        steps = S.unflatten(-1, v.shape[1:]).unbind(1)
        U = torch.stack([self._initial_multiply(s).flatten(1) for s in steps], dim=1)
        products = S @ Y.mT
        lower, D = products.tril(-1), torch.diag_embed(products.diagonal(dim1=-2, dim2=-1))
        middle = torch.cat(
            [torch.cat([S @ U.mT, lower], dim=-1), torch.cat([lower.mT, -D], dim=-1)], dim=-2
        )
        middle.diagonal(dim1=-2, dim2=-1)[(middle == 0).all(-1)] = 1  # left-out pairs
        low_rank = torch.cat([U, Y], dim=-2)
        right = low_rank @ v.flatten(1).unsqueeze(-1)
        correction: Tensor = low_rank.mT @ torch.linalg.solve(middle, right)
        return self._initial_multiply(v) - correction.view_as(v)

    def shifted(self, diagonal: Tensor) -> Pairs:
        """H plus a diagonal (B, 1, D) that is the same for every output.

        Gradients then differ by that times the step, too: no pair is lost.
        """
        if self.initial is None:
            raise ValueError("Pairs on the identity have no shift: give them an initial matrix.")
        shape = torch.Size(
            (len(self.scale), self.changes.shape[-1] // diagonal.shape[-1], diagonal.shape[-1])
        )
        S = self.steps
        Y = self.differences + (diagonal.unsqueeze(1) * S.unflatten(-1, shape[1:])).flatten(2)
        initial = self.initial.shifted(self._scale_like(diagonal) * diagonal)
        pairs = self.evolved(initial=initial).refilled(S, Y, shape)
        return pairs.evolved(scale=self.scale)

    def to(self, dtype: torch.dtype) -> Pairs:
        """Return the same pairs in another dtype; the initial matrix keeps its own."""
        parts: dict[str, Any] = {"slots": self.slots.to(dtype), "changes": self.changes.to(dtype)}
        if not self.is_attended:  # otherwise small arrays have a dtype of their own
            parts |= {"products": self.products.to(dtype), "scale": self.scale.to(dtype)}
        return self.evolved(**parts)

    def _multiplied(self, v: Tensor, n: int) -> Small:
        """Products (B, n, 2) of v, (B, P) or (B, R, D), with steps and H y of the first slots."""
        products = torch.bmm(self._filled(n), v.reshape(len(v), -1, 1))
        return self._as_small(products).reshape(len(v), n, 2)

    def _filled(self, n: int) -> Tensor:
        """Steps and H y (B, 2 n, P) of the first slots."""
        return (self.slots if n == self.slots.shape[1] else self.slots[:, :n]).flatten(1, 2)

    def _padded(self, products: Small) -> tuple[Small, Small]:
        """Products with all slots, those with empty ones 0."""
        whole = 0 * self.products.curvature
        steps, middle = whole, whole + 0
        steps[:, : products.shape[1]] = products[..., 0]
        middle[:, : products.shape[1]] = products[..., 1]
        return steps, middle

    def _by_age(self, known: Tensor) -> Tensor:
        n_slots = self.slots.shape[1]
        if self.count <= n_slots:
            return known[:, : self.count]
        return known.roll(-(self.count % n_slots), 1)

    def _scale_like(self, v: Tensor) -> Any:
        """The scale, to multiply (B, R, D) by."""
        if self.is_attended and len(self.scale) == 1:
            return float(self.scale[0])
        return to_like(self.scale, v)[:, None, None]

    def _initial_multiply(self, v: Tensor) -> Tensor:
        product = v if self.initial is None else self._where_trusted(self.initial.multiply(v), v)
        scaled: Tensor = product / self._scale_like(v)
        return scaled

    def _as_small(self, tensor: Tensor) -> Small:
        return to_small(tensor, self.is_attended)

    def _where_trusted(self, new: Tensor, old: Tensor) -> Tensor:
        return new if self.is_trusted is None else torch.where(self.is_trusted, new, old)

    def _rescaled(self, slot: int) -> Pairs:
        """Scale the initial matrix so that it fits the curvature along the last step.

        With any initial matrix: where the classes are nearly separated, the Hessian shrinks with
        every iteration.
        """
        expected = self.products.middle[:, slot, slot]
        where, is_known = namespace(expected).where, expected > 0
        scale = self.products.curvature[:, slot] / where(is_known, expected, 1.0)
        is_fit = is_known & (scale > 0) & (scale < math.inf)
        return self.evolved(scale=where(is_fit, scale, self.scale))
