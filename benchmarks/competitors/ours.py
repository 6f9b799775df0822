"""TorchLogisticRegression."""

from torchlogreg import TorchLogisticRegression


def fit(X, y, C, **params):
    """Fit with the defaults, or with other parameters of the estimator."""
    model = TorchLogisticRegression(C, **params).fit(X, y)
    return model.coef_, model.intercept_, int(model.n_iter_[0])
