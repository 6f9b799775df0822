"""The penalty on the weights: a function of the coefficients that is added to the mean loss.

Shapes follow the legend in :mod:`torchlogreg.problem.objective`.
"""

from __future__ import annotations

from collections.abc import Sequence
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

    @classmethod
    def joined(cls, penalties: Sequence[Penalty]) -> Penalty:
        """Return the penalty of all the problems of several ones, of the same kind."""
        if len(penalties) == 1:
            return penalties[0]
        l1 = [penalty.l1 for penalty in penalties if penalty.l1 is not None]
        wide = [penalty.unrounded for penalty in penalties if penalty.unrounded is not None]
        return cls(
            torch.cat([penalty.l2 for penalty in penalties]),
            torch.cat(l1) if l1 else None,
            all(penalty.is_zero for penalty in penalties),
            unrounded=cls.joined(wide) if wide else None,
        )

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
        return value if self.l1 is None else value + self.kink(coef)

    def smooth_gradient(self, coef: Tensor) -> Tensor:
        """Gradient (B, R, D) of the ridge part: linear, and so its Hessian applied to ``coef``."""
        return self.l2 * coef

    def add_gradient_(self, gradient: Tensor, coef: Tensor) -> Tensor:
        """Add the gradient of the ridge part at ``coef`` to another one, in place."""
        return gradient if self.is_zero else gradient.addcmul_(self.l2, coef)

    def kink(self, coef: Tensor) -> Tensor:
        r"""Part of the penalty that is on the absolute values, shape (B,)."""
        if self.l1 is None:
            return coef.new_zeros(len(coef))
        return (self.l1 * coef.abs()).sum((-2, -1))

    def kink_slope(self, coef: Tensor, direction: Tensor) -> Tensor:
        """Derivative (B,) of :meth:`kink` along a direction, in the sense in which that points."""
        if self.l1 is None:
            return coef.new_zeros(len(coef))
        slope = torch.where(coef == 0, direction.abs(), coef.sign() * direction)
        return (self.l1 * slope).sum((-2, -1))

    def subgradient(self, gradient: Tensor, coef: Tensor) -> Tensor:
        """Add to the gradient of loss and ridge part that of the absolute values, 0 at 0.

        Enough for stochastic gradients, but not for exact solvers.
        """
        return gradient if self.l1 is None else torch.addcmul(gradient, self.l1, coef.sign())

    def least_subgradient(self, gradient: Tensor, coef: Tensor) -> Tensor:
        r"""Smallest subgradient (B, R, D) of the objective: its negative is the steepest descent.

        ``gradient`` is that of loss and ridge part.
        """
        return gradient if self.l1 is None else least_subgradient(gradient, coef, self.l1)

    def fix_gauge(self, coef: Tensor) -> Tensor:
        """Of all coefficients with the same probabilities, those with the lowest ridge penalty.

        They are centred over the outputs. Columns with a penalty on the absolute value are left
        alone: their minimum is elsewhere.
        """
        centred = coef - coef.mean(-2, keepdim=True)
        return centred if self.l1 is None else torch.where(self.l1 == 0, centred, coef)

    def fix_kinked_gauge(self, coef: Tensor) -> Tensor:
        r"""The same with the absolute values: of all shifts of a column, the lowest penalty.

        The slope :math:`\mu \sum_r \mathrm{sign}(W_r + c) + \lambda \sum_r (W_r + c)` in the
        shift c of a column rises, and jumps where an entry becomes zero. Without a ridge part, c
        is minus a median. Columns without a penalty on the absolute value are centred.
        """
        if self.l1 is None:
            return self.fix_gauge(coef)
        R = coef.shape[-2]
        zeros = -coef.sort(-2, descending=True).values
        total = coef.sum(-2, keepdim=True)
        signs = torch.arange(2 - R, R + 1, 2, device=coef.device, dtype=coef.dtype).unsqueeze(-1)
        n_passed = ((self.l1 * signs + self.l2 * (total + R * zeros)) < 0).sum(-2, keepdim=True)
        following = zeros.gather(-2, n_passed.clamp(max=R - 1))
        lowest = -(self.l1 * (2 * n_passed - R) / self.l2 + total) / R
        shift = torch.where(n_passed < R, torch.minimum(lowest, following), lowest)
        return torch.where(self.l1 == 0, coef - coef.mean(-2, keepdim=True), coef + shift)


def least_subgradient(gradient: Tensor, coef: Tensor, kink: Tensor) -> Tensor:
    r"""Smallest subgradient of a smooth function plus :math:`\mu \lVert W \rVert_1`.

    Its gradient is given. At 0 the absolute value can take away up to :math:`\mu`, the ``kink``, of
    it. All have one shape, or can be brought to it.
    """
    left = gradient - torch.clamp(gradient, -kink, kink)
    return torch.where(coef == 0, left, torch.addcmul(gradient, kink, coef.sign()))


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
