"""Families: the loss of one row as a function of its linear predictor.

A family is a stateless bundle of pure functions of tensors. The shapes are those of the
legend in :mod:`torchlogreg.problem.objective`; ``targets`` is whatever :meth:`Family.encode`
makes of the class codes, so that nothing is converted twice, or a view (1, 1, n) of it.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

LARGE = 2**16
"""Probabilities from which on it pays to make a flat index for them."""


class Family(Protocol):
    """What the objective and the estimators need to know about a distribution."""

    outputs_compete: bool
    r"""Whether a row's R x R Hessian in eta, with its weight w and curvature c, is
    :math:`\mathrm{diag}(c) - c c^\top / w` rather than :math:`\mathrm{diag}(c)`."""

    smoothness: float
    """Largest eigenvalue that a row's R x R Hessian in eta can have."""

    def n_outputs(self, n_classes: int) -> int:
        """Number R of linear predictors that describe ``n_classes`` classes."""

    def encode(self, codes: Tensor, dtype: torch.dtype) -> Tensor:
        """Turn class codes 0..K-1 of shape (n,) into the targets of the other methods."""

    def losses(self, eta: Tensor, targets: Tensor) -> Tensor:
        """Negative log-likelihood (B, n) of each row."""

    def evaluate(self, eta: Tensor, targets: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Weighted sum (B,) of the rows' losses and its gradient (B, R, n) in eta.

        The weights are of shape (1 or B, 1, n).
        """

    def curvature(
        self, residual: Tensor, targets: Tensor, weight: Tensor, minus_inverse: Tensor
    ) -> Tensor:
        """The vector c (B, R, n) that determines each row's weighted Hessian, from the gradient.

        No exponential is computed again, and nothing else is kept in memory for it. With the
        weights also the negative of their inverse is given.
        """

    def multiply(self, curvature: Tensor, eta: Tensor, minus_inverse: Tensor) -> Tensor:
        """Weighted Hessian of each row times eta (B, R, n)."""

    def curvature_diagonal(self, curvature: Tensor, weight: Tensor) -> Tensor:
        """Diagonal (B, R, n) of each row's weighted R x R Hessian in eta."""

    def summed_hessian(self, curvature: Tensor, weight: Tensor) -> Tensor:
        """Sum (B, R, R) of the rows' weighted Hessians in eta."""

    def classify(self, eta: Tensor) -> Tensor:
        """Code (..., n) of the most probable class, from logits (..., n, R)."""

    def proba(self, eta: Tensor) -> Tensor:
        """Probabilities (..., n, K) of all classes, from logits (..., n, R)."""

    def log_proba(self, eta: Tensor) -> Tensor:
        """Log-probabilities (..., n, K) of all classes, finite for finite logits (..., n, R)."""


SIGNS = (-1.0, 1.0)
"""Of the logit, for the first class and the second."""


class Bernoulli:
    r"""Two classes, one logit: :math:`p(y = 1) = \sigma(\eta)`.

    Everything is written in the margin :math:`m = \pm\eta`, positive for a row on the right
    side: neither the loss nor the residual of a well classified row cancels to zero.
    """

    outputs_compete = False
    smoothness = 0.25

    def n_outputs(self, n_classes: int) -> int:
        """One logit serves both classes."""
        return 1

    def encode(self, codes: Tensor, dtype: torch.dtype) -> Tensor:
        """Sign of a logit on the wrong side, shape (n,): +1 for the first class, else -1."""
        return codes.to(dtype).mul_(-2).add_(1)

    def losses(self, eta: Tensor, targets: Tensor) -> Tensor:
        r"""Loss :math:`\log(1 + e^{-m})`."""
        # Beyond the threshold softplus is the identity in any floating-point precision.
        return F.softplus(targets * eta, threshold=50).squeeze(-2)

    def evaluate(self, eta: Tensor, targets: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        r"""Losses :math:`\log(1 + e^{-m})` and residuals :math:`\mp\sigma(-m)`."""
        minus = eta * targets
        loss = (F.softplus(minus, threshold=50) * weight).sum((-2, -1))
        return loss, _bounded_(minus).sigmoid_().mul_(targets).mul_(weight)

    def curvature(
        self, residual: Tensor, targets: Tensor, weight: Tensor, minus_inverse: Tensor
    ) -> Tensor:
        r"""Variance :math:`w q (1 - q)`, with the size :math:`w q` of the residual."""
        return residual.abs().addcmul_(residual, residual * minus_inverse)

    def multiply(self, curvature: Tensor, eta: Tensor, minus_inverse: Tensor) -> Tensor:
        """Each row's Hessian is a number."""
        return curvature * eta

    def curvature_diagonal(self, curvature: Tensor, weight: Tensor) -> Tensor:
        """Each row's Hessian is a number."""
        return curvature

    def summed_hessian(self, curvature: Tensor, weight: Tensor) -> Tensor:
        """Sum of numbers, as matrices (B, 1, 1)."""
        return curvature.sum(-1, keepdim=True)

    def classify(self, eta: Tensor) -> Tensor:
        """The second class if its logit is positive."""
        return (eta.squeeze(-1) > 0).to(torch.int64)

    def proba(self, eta: Tensor) -> Tensor:
        """Probabilities of both classes, shape (..., n, 2)."""
        return (eta * eta.new_tensor(SIGNS)).sigmoid_()

    def log_proba(self, eta: Tensor) -> Tensor:
        """Log-probabilities of both classes, shape (..., n, 2)."""
        return F.logsigmoid(eta * eta.new_tensor(SIGNS))


class Categorical:
    r"""K classes, K logits: :math:`p(y = k) = e^{\eta_k} / \sum_j e^{\eta_j}`.

    The parametrisation is symmetric, as in scikit-learn: adding the same vector to the
    coefficients of all classes changes no probability. That freedom is called the gauge.
    """

    outputs_compete = True
    smoothness = 0.5

    def n_outputs(self, n_classes: int) -> int:
        """One logit per class."""
        return n_classes

    def encode(self, codes: Tensor, dtype: torch.dtype) -> Tensor:
        """Class codes as an index, shape (n,)."""
        return codes.to(torch.int64)

    def losses(self, eta: Tensor, targets: Tensor) -> Tensor:
        r"""Loss :math:`-\log p_y`."""
        index = _index(targets, eta)
        return -torch.log_softmax(eta, dim=-2).gather(-2, index).squeeze(-2)

    def evaluate(self, eta: Tensor, targets: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        r"""Losses :math:`-\log p_y` and residuals :math:`p - e_y`."""
        index = _index(targets, eta)
        log_proba = torch.log_softmax(eta, dim=-2)
        loss = (log_proba.gather(-2, index) * weight).sum((-2, -1)).neg_()
        residual = _subtract_one_(_bounded_(log_proba).exp_(), index)
        return loss, residual.mul_(weight)

    def curvature(
        self, residual: Tensor, targets: Tensor, weight: Tensor, minus_inverse: Tensor
    ) -> Tensor:
        r"""The weighted probabilities :math:`w p`, which are the residual :math:`+ w e_y`."""
        index = _index(targets, residual)
        weight = weight if weight.shape == index.shape else weight.expand_as(index)
        return residual.scatter_add(-2, index, weight)

    def multiply(self, curvature: Tensor, eta: Tensor, minus_inverse: Tensor) -> Tensor:
        r"""Product :math:`w (p \circ \eta - p p^\top \eta)`."""
        product = curvature * eta
        return product.addcmul_(curvature, product.sum(-2, keepdim=True).mul_(minus_inverse))

    def curvature_diagonal(self, curvature: Tensor, weight: Tensor) -> Tensor:
        r"""Diagonal :math:`w p (1 - p)`."""
        return torch.addcmul(curvature, curvature, curvature * inverse(weight), value=-1)

    def summed_hessian(self, curvature: Tensor, weight: Tensor) -> Tensor:
        r"""Sum of :math:`w (\mathrm{diag}(p) - p p^\top)`."""
        square = (curvature * inverse(weight)) @ curvature.mT
        return torch.diag_embed(curvature.sum(-1)) - square

    def classify(self, eta: Tensor) -> Tensor:
        """The class of the largest logit."""
        return eta.argmax(-1)

    def proba(self, eta: Tensor) -> Tensor:
        """Softmax over the classes, shape (..., n, K)."""
        return torch.softmax(eta, dim=-1)

    def log_proba(self, eta: Tensor) -> Tensor:
        """Log-softmax over the classes, shape (..., n, K)."""
        return torch.log_softmax(eta, dim=-1)


def _index(targets: Tensor, like: Tensor) -> Tensor:
    """Class codes (n,) or (1, 1, n) as an index (..., 1, n) into outputs (..., R, n)."""
    is_one = targets.ndim == like.ndim and len(like) == 1
    return targets if is_one else targets.expand(*like.shape[:-2], 1, -1)


def _subtract_one_(proba: Tensor, index: Tensor) -> Tensor:
    """Subtract 1 from the probabilities (..., R, n) that an index (..., 1, n) picks, in place.

    For many, with one flat index for all problems, that takes a tenth of the time.
    """
    if proba.numel() < LARGE:
        return proba.scatter_(-2, index, -1.0, reduce="add")
    n = proba.shape[-1]
    flat = index.view(-1, n)[0] * n + torch.arange(n, device=index.device)
    minus_one = proba.new_tensor(-1.0).expand(proba.shape[:-2].numel(), n)
    proba.view(len(minus_one), -1).index_add_(1, flat, minus_one)
    return proba


def _bounded_(log_proba: Tensor) -> Tensor:
    """Bound logarithms of probabilities from below, so that products with weights are not denormal.

    A processor takes up to a hundred times as long for such numbers. Where rows are far on the
    right side there are many. The bound is far below what a sum over rows resolves.
    """
    kind = torch.finfo(log_proba.dtype)
    return log_proba.clamp_min_(math.log(kind.tiny) - 2 * math.log(kind.eps))


def inverse(weight: Tensor) -> Tensor:
    """Inverse of weights; finite for rows that have none, so that times 0 it is 0."""
    return weight.clamp_min(torch.finfo(weight.dtype).tiny).reciprocal_()


def family_of(n_classes: int) -> Family:
    """Bernoulli for two classes, Categorical for more."""
    return Bernoulli() if n_classes == 2 else Categorical()
