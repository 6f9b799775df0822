"""scikit-learn-intelex: Intel's oneDAL behind scikit-learn's interface."""

from benchmarks.competitors.not_applicable import NotApplicableError


def fit(X, y, C, **params):
    """Fit with the defaults, or with other parameters of the estimator."""
    try:
        from sklearnex.linear_model import LogisticRegression
    except ImportError as error:
        raise NotApplicableError("scikit-learn-intelex is not installed") from error
    model = LogisticRegression(C=C, **params).fit(X, y)
    return model.coef_, model.intercept_, int(model.n_iter_[0])
