"""Families: the loss of one row as a function of its linear predictor.

A family is a stateless bundle of pure functions of tensors. The shapes are those of the
legend in :mod:`torchlogreg.problem.objective`; ``targets`` is whatever :meth:`Family.encode`
makes of the class codes, so that nothing is converted twice.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F


class Family(Protocol):
    """What the objective and the estimators need to know about a distribution."""

    outputs_compete: bool
    r"""Whether a row's R x R Hessian in eta is :math:`\mathrm{diag}(c) - c c^\top` rather than
    :math:`\mathrm{diag}(c)`, with its curvature c."""

    smoothness: float
    """Largest eigenvalue that a row's R x R Hessian in eta can have."""

    def n_outputs(self, n_classes: int) -> int:
        """Number R of linear predictors that describe ``n_classes`` classes."""

    def encode(self, codes: Tensor, dtype: torch.dtype) -> Tensor:
        """Turn class codes 0..K-1 of shape (n,) into the targets of the other methods."""

    def evaluate(self, eta: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Negative log-likelihood (B, n) of each row and its gradient (B, R, n) in eta."""

    def curvature(self, residual: Tensor, targets: Tensor) -> Tensor:
        """The vector c (B, R, n) that determines each row's Hessian, from the gradient in eta.

        No exponential is computed again, and nothing else is kept in memory for it.
        """

    def curvature_diagonal(self, curvature: Tensor) -> Tensor:
        """Diagonal (B, R, n) of each row's R x R Hessian in eta."""

    def summed_hessian(self, curvature: Tensor, weight: Tensor) -> Tensor:
        """Weighted sum (B, R, R) of the rows' Hessians in eta, from (B, R, n) and (1 or B, n)."""

    def classify(self, eta: Tensor) -> Tensor:
        """Code (..., n) of the most probable class."""

    def proba(self, eta: Tensor) -> Tensor:
        """Probabilities (..., K, n) of all classes."""

    def log_proba(self, eta: Tensor) -> Tensor:
        """Log-probabilities (..., K, n) of all classes, finite for finite eta."""


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
        """Signs -1 and +1, shape (n,)."""
        return codes.to(dtype).mul_(2).sub_(1)

    def evaluate(self, eta: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        r"""Loss :math:`\log(1 + e^{-m})` and residual :math:`\mp\sigma(-m)`."""
        minus = (eta * targets).neg_()
        # Beyond the threshold softplus is the identity in any floating-point precision.
        loss = F.softplus(minus, threshold=50).squeeze(-2)
        return loss, torch.sigmoid(minus).mul_(targets).neg_()

    def curvature(self, residual: Tensor, targets: Tensor) -> Tensor:
        r"""Variance :math:`q (1 - q)`, with the size :math:`q = \sigma(-m)` of the residual."""
        wrong = residual.abs()
        return wrong - wrong.square()

    def curvature_diagonal(self, curvature: Tensor) -> Tensor:
        """Each row's Hessian is a number."""
        return curvature

    def summed_hessian(self, curvature: Tensor, weight: Tensor) -> Tensor:
        """Sum of numbers, as matrices (B, 1, 1)."""
        return curvature @ weight.unsqueeze(-1)

    def classify(self, eta: Tensor) -> Tensor:
        """The second class if its logit is positive."""
        return (eta.squeeze(-2) > 0).to(torch.int64)

    def proba(self, eta: Tensor) -> Tensor:
        """Probabilities of both classes, shape (..., 2, n)."""
        return torch.sigmoid(torch.cat([-eta, eta], dim=-2))

    def log_proba(self, eta: Tensor) -> Tensor:
        """Log-probabilities of both classes, shape (..., 2, n)."""
        return F.logsigmoid(torch.cat([-eta, eta], dim=-2))


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

    def evaluate(self, eta: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        r"""Loss :math:`-\log p_y` and residual :math:`p - e_y`."""
        index = targets.expand(*eta.shape[:-2], 1, -1)
        log_proba = torch.log_softmax(eta, dim=-2)
        loss = -log_proba.gather(-2, index).squeeze(-2)
        proba = log_proba.exp_()
        return loss, proba.scatter_(-2, index, -1.0, reduce="add")

    def curvature(self, residual: Tensor, targets: Tensor) -> Tensor:
        r"""The probabilities p, which are the residual :math:`+ e_y`."""
        index = targets.expand(*residual.shape[:-2], 1, -1)
        return residual.scatter(-2, index, 1.0, reduce="add")

    def curvature_diagonal(self, curvature: Tensor) -> Tensor:
        r"""Diagonal :math:`p (1 - p)`."""
        return curvature - curvature.square()

    def summed_hessian(self, curvature: Tensor, weight: Tensor) -> Tensor:
        r"""Sum of :math:`\mathrm{diag}(p) - p p^\top`."""
        weighted = curvature * weight.unsqueeze(-2)
        return torch.diag_embed(weighted.sum(-1)) - weighted @ curvature.mT

    def classify(self, eta: Tensor) -> Tensor:
        """The class of the largest logit."""
        return eta.argmax(-2)

    def proba(self, eta: Tensor) -> Tensor:
        """Softmax over the classes, shape (..., K, n)."""
        return torch.softmax(eta, dim=-2)

    def log_proba(self, eta: Tensor) -> Tensor:
        """Log-softmax over the classes, shape (..., K, n)."""
        return torch.log_softmax(eta, dim=-2)


def family_of(n_classes: int) -> Family:
    """Bernoulli for two classes, Categorical for more."""
    return Bernoulli() if n_classes == 2 else Categorical()
