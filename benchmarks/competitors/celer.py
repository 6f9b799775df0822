"""celer: working sets and dual extrapolation in compiled Python, for two classes, no intercept."""

from benchmarks.competitors.not_applicable import NotApplicableError

try:
    from celer import LogisticRegression
except ImportError:
    LogisticRegression = None


def fit(X, y, C, **params):
    """Fit with its defaults, or with other parameters of the estimator."""
    if LogisticRegression is None:
        raise NotApplicableError("celer is not installed")
    if y.max() > 1:
        raise NotApplicableError("two classes only")
    model = LogisticRegression(C=C, penalty="l1", **params).fit(X, y)
    return model.coef_, model.intercept_, int(getattr(model, "n_iter_", 0))
