"""scikit-learn-intelex: Intel's oneDAL behind scikit-learn's interface."""

from benchmarks.competitors.not_applicable import NotApplicableError

try:
    from sklearnex.linear_model import LogisticRegression
except ImportError:
    LogisticRegression = None


def fit(X, y, C, max_iter=10_000, **params):
    """Fit with the defaults, or with other parameters of the estimator."""
    if LogisticRegression is None:
        raise NotApplicableError("scikit-learn-intelex is not installed")
    model = LogisticRegression(C=C, max_iter=max_iter, **params).fit(X, y)
    return model.coef_, model.intercept_, int(model.n_iter_[0])
