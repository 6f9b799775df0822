"""TorchLogisticRegression with its defaults."""

from torchlogreg import TorchLogisticRegression


def fit(X, y, C):
    """Fit with the defaults."""
    model = TorchLogisticRegression(C).fit(X, y)
    return model.coef_, model.intercept_, int(model.n_iter_[0])
