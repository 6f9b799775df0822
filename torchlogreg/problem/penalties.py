"""The penalty on the weights: a function of the coefficients that is added to the mean loss.

Shapes follow the legend in :mod:`torchlogreg.problem.objective`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from torchlogreg.problem.batched import Batched


@dataclass(frozen=True, eq=False)
class Penalty(Batched):
    r"""Elastic net :math:`\sum_{rj} \tfrac{1}{2} \lambda_{bj} W_{brj}^2 + \mu_{bj} |W_{brj}|`.

    Parameters
    ----------
    l2 : Tensor of shape (B, 1, D)
        :math:`\lambda_{bj} \ge 0` of every column, on the scale of the mean loss; 0 for the
        intercept, which is never penalised.
    l1 : Tensor of shape (B, 1, D), optional
        :math:`\mu_{bj} \ge 0`, likewise; None for the ridge penalty, which is smooth.
    is_zero : bool, default=False
        Whether there is no penalty at all, which spares its arithmetic.
    unrounded : Penalty, optional
        The same in a wider dtype, from which that in another dtype follows.
    """

    l2: Tensor
    l1: Tensor | None = None
    is_zero: bool = False
    unrounded: Penalty | None = field(default=None, kw_only=True, repr=False)

    def to(self, dtype: torch.dtype) -> Penalty:
        """Return the same penalty in another dtype."""
        source = self.unrounded or self
        l1 = None if source.l1 is None else source.l1.to(dtype)
        return replace(source, l2=source.l2.to(dtype), l1=l1, unrounded=source)

    def on(self, device: torch.device, dtype: torch.dtype) -> Penalty:
        """Return the same penalty on a device, in a dtype from which others will follow."""
        l1 = None if self.l1 is None else self.l1.to(device, dtype)
        return Penalty(self.l2.to(device, dtype), l1, self.is_zero)

    def value(self, coef: Tensor) -> Tensor:
        """Penalty of each problem, shape (B,)."""
        if self.is_zero:
            return coef.new_zeros(len(coef))
        value = 0.5 * (self.smooth_gradient(coef) * coef).sum((-2, -1))
        return value if self.l1 is None else value + (self.l1 * coef.abs()).sum((-2, -1))

    def smooth_gradient(self, coef: Tensor) -> Tensor:
        """Gradient (B, R, D) of the ridge part: linear, and so its Hessian applied to ``coef``."""
        return self.l2 * coef

    def add_gradient_(self, gradient: Tensor, coef: Tensor) -> Tensor:
        """Add the gradient at ``coef`` to another one, in place.

        Of the absolute value, which has none at 0, that is 0 there: enough for stochastic gradients
        but not for exact solvers.
        """
        if self.is_zero:
            return gradient
        gradient.addcmul_(self.l2, coef)
        return gradient if self.l1 is None else gradient.addcmul_(self.l1, coef.sign())

    def prox(self, coef: Tensor, step: Tensor) -> Tensor:
        r"""Minimise :math:`\tfrac{1}{2} \lVert W - coef \rVert^2 / step` plus the penalty over W.

        ``step`` is broadcast against ``coef``. The coefficients are shrunk towards zero, and those
        for which the absolute value weighs more than what lies beyond stay at it.

        References
        ----------
        .. [1] Parikh & Boyd, Proximal Algorithms, 2014, Section 6.5.2.
        """
        if self.l1 is not None:
            coef = torch.nn.functional.relu(coef.abs() - step * self.l1) * coef.sign()
        return coef / (1 + step * self.l2)

    def distance(self, gradient: Tensor, coef: Tensor) -> Tensor:
        r"""Distance of every entry from the condition of a minimum, shape (B, R, D).

        That is the distance of 0 from the subdifferential, given the gradient of loss and penalty
        as :meth:`add_gradient_` makes it: its size where there is one, and what exceeds
        :math:`\mu` where :math:`\mu |W|` has none.
        """
        size = gradient.abs()
        if self.l1 is None:
            return size
        return torch.where(coef == 0, torch.nn.functional.relu(size - self.l1), size)

    def fix_gauge(self, coef: Tensor) -> Tensor:
        """Of all coefficients with the same probabilities, those with the lowest ridge penalty.

        They are centred over the outputs. Columns with a penalty on the absolute value are left
        alone: their minimum is elsewhere.
        """
        centred = coef - coef.mean(-2, keepdim=True)
        return centred if self.l1 is None else torch.where(self.l1 == 0, centred, coef)


def make_penalty(
    C: Tensor,
    weight_sum: Tensor,
    n_features: int,
    *,
    fit_intercept: bool,
    l1_ratio: float = 0.0,
) -> Penalty:
    """Translate scikit-learn's ``C`` and ``l1_ratio`` to the scale of the mean loss.

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
    l1_ratio : float, default=0.0
        The part of the strength that goes to the absolute values.

    Returns
    -------
    penalty : Penalty
        With the strength 1 / (C S): dividing scikit-learn's objective by C S leaves the minimiser
        where it is.
    """
    strength = (1.0 / (C * weight_sum)).view(-1, 1, 1).expand(-1, 1, n_features + fit_intercept)
    strength = strength.contiguous()
    if fit_intercept:
        strength[..., -1] = 0
    is_zero = not strength.any()
    if l1_ratio == 0:
        return Penalty(strength, is_zero=is_zero)
    return Penalty((1 - l1_ratio) * strength, None if is_zero else l1_ratio * strength, is_zero)
