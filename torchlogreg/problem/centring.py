r"""Coordinates in which the columns of X lie around zero.

With an intercept, :math:`X W^\top + c = (X - 1\mu^\top) W^\top + c'` for any vector :math:`\mu` and
:math:`c' = c + W\mu`. The penalty does not see the intercept, so that the objective is the same
function of (W, c'), with the same minimiser. But columns that lie far from zero, compared with
their deviations, spoil the condition of the problem in (W, c), and the rounding errors of its
sums. Solvers therefore work in (W, c'); a large X is never shifted as a whole.

Shapes follow the legend in :mod:`torchlogreg.problem.objective`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

FAR = 3.0
"""Median absolute deviations beyond which a column lies far from zero."""

MANY = 100
"""Rows that are looked at."""

FEW = 8
"""Those that are looked at first: a column with both signs in them does not lie far from zero."""


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

    def outer_intercept(self, coef: Tensor) -> Tensor:
        """Intercepts (B, R) of the outer coefficients, from inner ones."""
        return self._intercept(coef, -1)

    def outer_gradient(self, grad: Tensor) -> Tensor:
        """Turn a gradient in inner coefficients into that in outer ones."""
        weights, intercept = grad[..., :-1], grad[..., -1:]
        moved = torch.addcmul(weights, intercept, self.location.to(grad.dtype))
        return torch.cat([moved, intercept], dim=-1)

    def rounding(self, coef: Tensor) -> float:
        """Return what the rounding of outer intercepts may add to an outer gradient, about.

        A change of an intercept changes the gradient in it by no more, and that of the weights by
        so much times the location.
        """
        location = self.location.to(coef.dtype).abs()
        moved = (coef[..., :-1].abs() @ location).max().item()
        size = 1 + location.max().item()
        return float(torch.finfo(coef.dtype).eps * size * (1 + moved))

    def _move_intercept(self, coef: Tensor, sign: int) -> Tensor:
        moved = self._intercept(coef, sign).unsqueeze(-1)
        return torch.cat([coef[..., :-1], moved], dim=-1)

    def _intercept(self, coef: Tensor, sign: int) -> Tensor:
        weights, intercept = coef[..., :-1], coef[..., -1]
        return torch.add(intercept, weights @ self.location.to(coef.dtype), alpha=sign)


def centre_of(X: Tensor) -> Centre | None:
    """Return the centre of some rows of a dense or CSR matrix: the medians of its columns.

    Means would follow a single outlier away from all other rows. Columns that do not lie far from
    zero stay where they are. None if there are no others: then it is not worth the arithmetic.

    Parameters
    ----------
    X : Tensor of shape (n, d)
        About ``MANY`` rows of the matrix, spread over all of them.
    """
    if X.layout is torch.strided:
        lowest, highest = X[:: max(len(X) // FEW, 1)].aminmax(dim=0)
        columns = ((lowest > 0) | (highest < 0)).nonzero().squeeze(-1)
        filled = X if len(columns) == X.shape[1] else X[:, columns]
    else:
        columns, filled = _filled_columns(X)
    filled = filled.to(torch.promote_types(X.dtype, torch.float32))
    if not len(columns):
        return None
    location = filled.median(0).values
    deviation = (filled - location).abs_().median(0).values
    location *= location.abs() > FAR * deviation
    if not location.any():
        return None
    return Centre(location.new_zeros(X.shape[1]).index_copy_(0, columns, location))


def _filled_columns(X: Tensor) -> tuple[Tensor, Tensor]:
    """Index of the columns of a CSR matrix most of whose entries are stored, and these, dense.

    The median of all others is zero.
    """
    row = torch.repeat_interleave(torch.arange(len(X), device=X.device), X.crow_indices().diff())
    column = X.col_indices()
    is_filled = 2 * torch.bincount(column, minlength=X.shape[1]) > len(X)
    place, kept = is_filled.cumsum(0) - 1, is_filled[column]
    filled = X.values().new_zeros(len(X), int(is_filled.sum()))
    filled.index_put_((row[kept], place[column[kept]]), X.values()[kept], accumulate=True)
    return is_filled.nonzero().squeeze(-1), filled


def double(device: torch.device) -> torch.dtype:
    """Return the widest floating-point type that a device has: float64, but on Apple's GPUs."""
    return torch.float32 if device.type == "mps" else torch.float64
