"""Competitors, one a file: ``fit(X, y, C)`` returns coef (R, d), intercept (R,), iterations."""

from benchmarks.competitors import ours, sklearn_1000, sklearn_default, torch_lbfgs

COMPETITORS = {
    "torchlogreg": ours.fit,
    "sklearn": sklearn_default.fit,
    "sklearn max_iter=1000": sklearn_1000.fit,
    "torch.optim.LBFGS": torch_lbfgs.fit,
}

REFERENCE = "sklearn"
"""The competitor that ratios refer to."""
