"""Penalties: functions of the coefficients that are added to the mean loss.

Shapes follow the legend in :mod:`torchlogreg.objective`.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    """

    strength: Tensor

    def value(self, coef: Tensor) -> Tensor:
        """Penalty of each problem, shape (B,)."""
        return 0.5 * (self.gradient(coef) * coef).sum((-2, -1))

    def gradient(self, coef: Tensor) -> Tensor:
        """Gradient (B, R, D); it is linear, and so the penalty's Hessian applied to ``coef``."""
        return self.strength * coef


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
