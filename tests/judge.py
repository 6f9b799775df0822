"""The judge of fitted models: scikit-learn's objective and its gradient in float64 NumPy."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.special import logsumexp


@dataclass(frozen=True)
class Verdict:
    """What is true of some coefficients."""

    objective: float
    """Mean loss plus penalty: scikit-learn's objective over C times the sum of the weights."""

    optimality: float
    """Largest absolute entry of its gradient, or of its smallest subgradient."""

    rounding: float
    """How much of that the rounding errors of sums in float64 can make up."""


def judge(model, X, y, sample_weight=None):
    """Evaluate a model, ours or scikit-learn's, without any code of the package."""
    X = np.asarray(X.toarray() if sparse.issparse(X) else X, dtype=np.float64)
    coef, intercept = (np.asarray(a, dtype=np.float64) for a in (model.coef_, model.intercept_))
    weight = np.ones(len(y)) if sample_weight is None else sample_weight
    strength = 1 / (model.C * weight.sum())
    weight = weight / weight.sum()
    is_own = y[:, None] == model.classes_
    eta = X @ coef.T + intercept
    two = len(coef) == 1
    logits = np.hstack([np.zeros_like(eta), eta]) if two else eta
    log_sum = logsumexp(logits, axis=1, keepdims=True)
    residual = weight[:, None] * (np.exp(logits - log_sum) - is_own)[:, two:]
    loss = weight @ (log_sum[:, 0] - (logits * is_own).sum(axis=1))
    ratio = getattr(model, "l1_ratio", 0.0)
    ratio, l1 = (0.0, 0.0) if strength == 0 else (ratio, ratio * strength)
    smooth = residual.T @ X + (1 - ratio) * strength * coef
    at_zero = np.maximum(np.abs(smooth) - l1, 0)
    gradient = [np.where(coef == 0, at_zero, np.abs(smooth + l1 * np.sign(coef)))]
    if model.fit_intercept:
        gradient.append(residual.sum(axis=0))
    size = 1 + (np.abs(X) @ np.abs(coef).T + np.abs(intercept)).max()
    return Verdict(
        objective=float(
            loss + 0.5 * (1 - ratio) * strength * (coef**2).sum() + l1 * np.abs(coef).sum()
        ),
        optimality=max(float(np.abs(part).max()) for part in gradient),
        rounding=10 * np.finfo(np.float64).eps * float((weight @ np.abs(X)).max()) * size,
    )
