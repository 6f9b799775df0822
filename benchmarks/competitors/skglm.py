"""skglm: proximal Newton with coordinate descent in compiled Python, for two classes."""

from benchmarks.competitors.not_applicable import NotApplicableError

try:
    from skglm import SparseLogisticRegression
except ImportError:
    SparseLogisticRegression = None


def fit(X, y, C, l1_ratio=1.0, **params):
    """Fit with its defaults, or with other parameters of the estimator."""
    if SparseLogisticRegression is None:
        raise NotApplicableError("skglm is not installed")
    if y.max() > 1:
        raise NotApplicableError("two classes only")
    strength = 1 / (C * X.shape[0])
    model = SparseLogisticRegression(alpha=strength, l1_ratio=l1_ratio, **params).fit(X, y)
    return model.coef_.reshape(1, -1), model.intercept_, int(getattr(model, "n_iter_", 0))
