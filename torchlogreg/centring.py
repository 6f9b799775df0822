r"""Coordinates in which the columns of X lie around zero.

With an intercept, :math:`X W^\top + c = (X - 1\mu^\top) W^\top + c'` for any vector :math:`\mu` and
:math:`c' = c + W\mu`. The penalty does not see the intercept, so that the objective is the same
function of (W, c'), with the same minimiser. But columns that lie far from zero, compared with their
deviations, spoil the condition of the problem in (W, c), and the rounding errors of its sums.
Solvers therefore work in (W, c'); a large X is never shifted as a whole.

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

    location: Tensor
    """The vector (d,): any is right, one in the midst of the rows helps."""

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
        moved = torch.add(intercept, weights @ self.location.to(coef.dtype), alpha=sign)
        return torch.cat([weights, moved.unsqueeze(-1)], dim=-1)

    def _move_weights(self, grad: Tensor, sign: int) -> Tensor:
        weights, intercept = grad[..., :-1], grad[..., -1:]
        moved = torch.add(weights, intercept * self.location.to(grad.dtype), alpha=sign)
        return torch.cat([moved, intercept], dim=-1)


def medians(X: Tensor) -> Tensor:
    """Return the median (d,) of each column of a dense or CSR matrix with few rows.

    A mean would follow a single outlier away from all other rows. Where most entries of a
    column are not stored, the median is zero.
    """
    X = X.to(torch.promote_types(X.dtype, torch.float32))
    if X.layout is torch.strided:
        return X.median(0).values
    n_stored = torch.bincount(X.col_indices(), minlength=X.shape[1])
    is_filled = 2 * n_stored > len(X)
    index = X.to_sparse_coo().coalesce()
    kept = is_filled[index.indices()[1]]
    rows, columns = index.indices()[:, kept]
    place = is_filled.cumsum(0) - 1
    filled = X.values().new_zeros(len(X), int(is_filled.sum()))
    filled[rows, place[columns]] = index.values()[kept]
    result = X.values().new_zeros(X.shape[1])
    result[is_filled] = filled.median(0).values
    return result


def double(device: torch.device) -> torch.dtype:
    """Return the widest floating-point type that a device has: float64, but on Apple's GPUs."""
    return torch.float32 if device.type == "mps" else torch.float64
