r"""Coordinates in which the columns of X have the mean zero.

With an intercept, :math:`X W^\top + c = (X - 1\mu^\top) W^\top + c'` for any vector :math:`\mu` and
:math:`c' = c + W\mu`. The penalty does not see the intercept, so that the objective is the same
function of (W, c'), with the same minimiser. But means that are large next to the deviations
spoil the condition of the problem in (W, c) and not in (W, c'), and so do their rounding errors.
Solvers therefore work in (W, c'); X is never shifted as a whole.

Shapes follow the legend in :mod:`torchlogreg.objective`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Centre:
    """The vector that is taken from every row, and what that does to coefficients.

    The user's coefficients (W, c) are *outer* ones, those of the solver (W, c') *inner* ones. All
    methods take and return tensors (B, R, D) whose last column belongs to the intercept.
    """

    mean: Tensor
    """Means (d,) of the columns. Any vector is right; one close to the means helps."""

    def inner(self, coef: Tensor) -> Tensor:
        """Turn outer coefficients into inner ones."""
        return self._move_intercept(coef, 1)

    def outer(self, coef: Tensor) -> Tensor:
        """Turn inner coefficients into outer ones."""
        return self._move_intercept(coef, -1)

    def inner_gradient(self, grad: Tensor) -> Tensor:
        """Turn a gradient in outer coefficients into that in inner ones."""
        return self._move_weights(grad, -1)

    def outer_gradient(self, grad: Tensor) -> Tensor:
        """Turn a gradient in inner coefficients into that in outer ones."""
        return self._move_weights(grad, 1)

    def _move_intercept(self, coef: Tensor, sign: int) -> Tensor:
        weights, intercept = coef[..., :-1], coef[..., -1]
        moved = torch.add(intercept, weights @ self.mean.to(coef.dtype), alpha=sign)
        return torch.cat([weights, moved.unsqueeze(-1)], dim=-1)

    def _move_weights(self, grad: Tensor, sign: int) -> Tensor:
        weights, intercept = grad[..., :-1], grad[..., -1:]
        moved = torch.add(weights, intercept * self.mean.to(grad.dtype), alpha=sign)
        return torch.cat([moved, intercept], dim=-1)


def double(device: torch.device) -> torch.dtype:
    """Return the widest floating-point type that a device has: float64, but on Apple's GPUs."""
    return torch.float32 if device.type == "mps" else torch.float64
