"""Penalties: functions of the weights that are added to the mean loss.

Shapes follow the legend in :mod:`torchlogreg.objective`. A penalty sees the weights (B, R, d)
only; the intercept is never penalised.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class L2:
    r"""Ridge penalty :math:`\tfrac{1}{2}\,\lambda_b \lVert W_b \rVert^2`.

    Parameters
    ----------
    strength : Tensor of shape (B,)
        :math:`\lambda_b \ge 0`, on the scale of the mean loss; 0 for no penalty.
    """

    strength: Tensor

    def value(self, weights: Tensor) -> Tensor:
        """Penalty of each problem, shape (B,)."""
        return 0.5 * self.strength * weights.square().sum((-2, -1))

    def gradient(self, weights: Tensor) -> Tensor:
        """Gradient in the weights, shape (B, R, d). The penalty's Hessian applied to them, too."""
        return self.curvature * weights

    @property
    def curvature(self) -> Tensor:
        """Diagonal of the Hessian in the weights, shape (B, 1, 1)."""
        return self.strength[:, None, None]


def l2_strength(C: Tensor, weight_sum: Tensor) -> Tensor:
    """Translate scikit-learn's ``C`` to the scale of the mean loss.

    Parameters
    ----------
    C : Tensor of shape (B,)
        Inverse regularisation strength of the *summed* loss; inf for no penalty.
    weight_sum : Tensor of shape (B,)
        Sum S of the row weights.

    Returns
    -------
    strength : Tensor of shape (B,)
        1 / (C S): dividing scikit-learn's objective by C S leaves the minimiser where it is.
    """
    return 1.0 / (C * weight_sum)
