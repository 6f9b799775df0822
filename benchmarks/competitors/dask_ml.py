"""dask-ml (``pip install dask-ml``), for two classes. It does not tell its iterations."""

import warnings

import numpy as np

from benchmarks.competitors.not_applicable import NotApplicableError

try:
    from dask_glm.regularizers import L2
    from dask_ml.linear_model import LogisticRegression
except ImportError:
    LogisticRegression, L2 = None, object


class FreeIntercept(L2):
    """dask-glm's ridge penalty without that on the intercept, which is the last coefficient."""

    def f(self, beta):
        """Half the sum of squares."""
        return super().f(beta[:-1])

    def gradient(self, beta):
        """The weights, and zero."""
        return beta * (np.arange(len(beta)) < len(beta) - 1)

    def proximal_operator(self, beta, t):
        """Shrink the weights."""
        return np.append(super().proximal_operator(beta[:-1], t), beta[-1])


def fit(X, y, C, n_classes=2, **params):
    """Fit to Dask arrays as they are: the scaling that is usual there changes the penalty."""
    if LogisticRegression is None:
        raise NotApplicableError("dask-ml is not installed")
    if n_classes > 2:
        raise NotApplicableError("two classes only")
    penalty, unscaled = FreeIntercept(), {"normalize": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = LogisticRegression(C=C, penalty=penalty, solver_kwargs=unscaled, **params).fit(X, y)
    return model.coef_.reshape(1, -1), np.atleast_1d(model.intercept_), None
