"""Penalties: functions of the coefficients that are added to the mean loss.

Shapes follow the legend in :mod:`torchlogreg.problem.objective`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class L2:
    r"""Ridge penalty :math:`\tfrac{1}{2} \sum_{rj} \lambda_{bj} W_{brj}^2`.

    Parameters
    ----------
    strength : Tensor of shape (B, 1, D)
        :math:`\lambda_{bj} \ge 0` of every column, on the scale of the mean loss; 0 for the
        intercept, which is never penalised.
    unrounded : Tensor of shape (B, 1, D), optional
        The strength in a wider dtype, from which that in another dtype follows.
    """

    strength: Tensor
    unrounded: Tensor | None = field(default=None, kw_only=True)

    def to(self, dtype: torch.dtype) -> Self:
        """Return the same penalty in another dtype."""
        source = self.strength if self.unrounded is None else self.unrounded
        return replace(self, strength=source.to(dtype), unrounded=source)

    def value(self, coef: Tensor) -> Tensor:
        """Penalty of each problem, shape (B,)."""
        return 0.5 * (self.gradient(coef) * coef).sum((-2, -1))

    def gradient(self, coef: Tensor) -> Tensor:
        """Gradient (B, R, D); it is linear, and so the penalty's Hessian applied to ``coef``."""
        return self.strength * coef

    def add_gradient_(self, gradient: Tensor, coef: Tensor) -> Tensor:
        """Add the gradient at ``coef`` to another one, in place."""
        return gradient.addcmul_(self.strength, coef)


class NoPenalty(L2):
    """The ridge penalty with a strength of zero, which spares its arithmetic."""

    def value(self, coef: Tensor) -> Tensor:
        """Nothing for each problem, shape (B,)."""
        return coef.new_zeros(len(coef))

    def add_gradient_(self, gradient: Tensor, coef: Tensor) -> Tensor:
        """Add nothing."""
        return gradient


@dataclass(frozen=True, eq=False)
class ElasticNet(L2):
    r"""Ridge penalty plus :math:`\sum_{rj} \lambda^{(1)}_{bj} |W_{brj}|`.

    It has a gradient almost everywhere, which is enough for stochastic gradients but not for the
    exact solvers.

    Parameters
    ----------
    strength : Tensor of shape (B, 1, D)
        As for :class:`L2`.
    l1 : Tensor of shape (B, 1, D)
        :math:`\lambda^{(1)}_{bj} \ge 0` of every column; 0 for the intercept.
    """

    l1: Tensor

    def to(self, dtype: torch.dtype) -> Self:
        """Return the same penalty in another dtype."""
        return replace(super().to(dtype), l1=self.l1.to(dtype))

    def value(self, coef: Tensor) -> Tensor:
        """Penalty of each problem, shape (B,)."""
        return super().value(coef) + (self.l1 * coef.abs()).sum((-2, -1))

    def add_gradient_(self, gradient: Tensor, coef: Tensor) -> Tensor:
        """Add the gradient at ``coef`` to another one, in place: 0 where a coefficient is 0."""
        return super().add_gradient_(gradient, coef).addcmul_(self.l1, coef.sign())


def elastic_net(strength: Tensor, l1_ratio: float) -> L2:
    """Split the strength of a penalty (B, 1, D) into those of its two parts.

    ``l1_ratio`` is scikit-learn's: the part of the strength that goes to the absolute values.
    """
    if l1_ratio == 0:
        return L2(strength)
    return ElasticNet((1 - l1_ratio) * strength, l1_ratio * strength)


def l2_strength(C: Tensor, weight_sum: Tensor, n_features: int, fit_intercept: bool) -> Tensor:
    """Translate scikit-learn's ``C`` to the scale of the mean loss.

    Parameters
    ----------
    C : Tensor of shape (B,)
        Inverse regularisation strength of the *summed* loss; inf for no penalty.
    weight_sum : Tensor of shape (B,)
        Sum S of the row weights.
    n_features : int
        Number d of columns of X.
    fit_intercept : bool
        Whether another column, for the intercept, follows.

    Returns
    -------
    strength : Tensor of shape (B, 1, D)
        1 / (C S) for the columns of X: dividing scikit-learn's objective by C S leaves the
        minimiser where it is. 0 for the intercept.
    """
    strength = (1.0 / (C * weight_sum)).to(C.dtype)[:, None, None].expand(-1, 1, n_features)
    return torch.nn.functional.pad(strength, (0, int(fit_intercept)))
