"""Products of the pairs of L-BFGS with each other: small arrays, kept where they are decided on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchlogreg.problem.batched import Batched

Small = Any
"""A small array of B problems: of NumPy, whose calls are cheap, if the pairs are attended;
otherwise a tensor on their device, which nobody waits for."""


@dataclass(frozen=True, eq=False)
class Products(Batched):
    r"""Products of the pairs with each other, slot by slot; those of an empty slot are 0.

    With the pairs as rows of S and Y and the initial matrix H of the solution, :math:`R` is the
    part of :math:`SY^\top` with an s not younger than y. It is a triangle if the slots are sorted
    by age. So its inverse loses a row and a column with the oldest pair, and gains one with a new
    one: nothing is factorised, and the slots need not be sorted.
    """

    inverse: Small
    """Inverse of R, shape (B, m, m)."""

    middle: Small
    """Y H Yᵀ, shape (B, m, m)."""

    curvature: Small
    """s y of every pair, shape (B, m)."""

    def put(self, slot: int, steps_y: Small, middle: Small, is_sound: Small) -> None:
        """Enter a pair in the place of another, from S y and Y H y (B, m), in place."""
        own = steps_y[:, slot]
        where = namespace(own).where
        safe = where(is_sound, own, 1.0)[:, None]
        self.inverse[:, slot], self.inverse[:, :, slot] = 0, 0
        column = (self.inverse @ steps_y[..., None])[..., 0] / -safe
        column[:, slot] = where(is_sound, 1 / safe[:, 0], 0.0)
        self.inverse[:, :, slot] = column
        self.middle[:, slot] = self.middle[:, :, slot] = middle
        self.curvature[:, slot] = own

    def to(self, dtype: torch.dtype) -> Products:
        """Return the same tensors in another dtype."""
        return Products(*(part.to(dtype) for part in vars(self).values()))

    def weights(self, steps_g: Small, changes_g: Small, scale: Small, n: int) -> Small:
        """Weights (B, n, 2) of every s and H y in the solution, from S g and Y H g (B, n)."""
        inverse = self.inverse[:, :n, :n]
        p = inverse @ steps_g[..., None]
        q = self.curvature[:, :n, None] * p
        q = q + scale[:, None, None] * (self.middle[:, :n, :n] @ p - changes_g[..., None])
        top, bottom = inverse.swapaxes(1, 2) @ q, -scale[:, None, None] * p
        return namespace(top).concatenate([top, bottom], axis=-1)


def namespace(array: Small) -> Any:
    """The library whose functions take the array: ``where`` and ``concatenate`` are in both."""
    return torch if isinstance(array, Tensor) else np


def to_small(tensor: Tensor, is_attended: bool) -> Small:
    """Bring a tensor to the host if it is attended."""
    return np.array(tensor.tolist()) if is_attended else tensor


def to_like(array: Small, tensor: Tensor) -> Tensor:
    """Bring a small array to the device and dtype of a tensor."""
    whole: Tensor = array if isinstance(array, Tensor) else torch.from_numpy(array)
    return whole.to(tensor)
