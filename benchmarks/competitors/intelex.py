"""scikit-learn-intelex: Intel's oneDAL behind scikit-learn's interface."""


def fit(X, y, C, **params):
    """Fit with the defaults, or with other parameters of the estimator."""
    from sklearnex.linear_model import LogisticRegression

    model = LogisticRegression(C=C, **params).fit(X, y)
    return model.coef_, model.intercept_, int(model.n_iter_[0])
