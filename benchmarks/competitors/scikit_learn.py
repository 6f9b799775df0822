"""scikit-learn's LogisticRegression: lbfgs, by default with max_iter=100."""

from sklearn.linear_model import LogisticRegression


def fit(X, y, C, **params):
    """Fit with the defaults, or with other parameters of the estimator."""
    model = LogisticRegression(C=C, **params).fit(X, y)
    return model.coef_, model.intercept_, int(model.n_iter_[0])
