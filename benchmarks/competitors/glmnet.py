"""glmnet, Stanford's own for Python (``pip install glmstar``): coordinate descent along a path."""

import warnings

import numpy as np

from benchmarks.competitors.not_applicable import NotApplicableError

try:
    from glmnet import LogNet, MultiClassNet
    from glmnet.paths.fastnet import FastNetControl
except ImportError:
    LogNet = None

N_PENALTIES = 20
"""On the way to the one that is asked for: every fit of glmnet starts at the one before."""


def fit(X, y, C, l1_ratio=1.0, thresh=1e-7):
    """Fit a path from the penalty with which all weights are zero, and return its end."""
    strength = 1 / (C * X.shape[0])
    share = np.bincount(y) / len(y)
    residual = np.eye(len(share))[y] - share
    strongest = np.abs(X.T @ residual).max() / X.shape[0] / l1_ratio
    penalties = np.geomspace(max(strongest, strength), strength, N_PENALTIES)
    coefs, intercepts = path(X, y, penalties, l1_ratio, thresh)
    return coefs[-1], intercepts[-1], N_PENALTIES


def path(X, y, penalties, l1_ratio=1.0, thresh=1e-7):
    """Fit all penalties, on the scale of the mean loss, the strongest first.

    Returns weights (n_penalties, R, d) and intercepts (n_penalties, R).
    """
    if LogNet is None:
        raise NotApplicableError("glmstar is not installed")
    # It ends a path early unless it is told not to.
    control = FastNetControl(thresh=thresh, maxit=10**7, fdev=0.0, devmax=1.0)
    is_binary = y.max() == 1
    model = (LogNet if is_binary else MultiClassNet)(
        lambda_values=penalties, alpha=l1_ratio, standardize=False, control=control
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X.astype(np.float64), y)
    coefs, intercepts = np.asarray(model.coefs_), np.asarray(model.intercepts_)
    if len(coefs) < len(penalties):
        raise NotApplicableError("ended its path early")
    if is_binary:
        return coefs[:, None, :], intercepts.reshape(-1, 1)
    n_classes = int(y.max()) + 1
    coefs = coefs if coefs.shape[1] == n_classes else coefs.transpose(0, 2, 1)
    return coefs, intercepts
