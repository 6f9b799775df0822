"""To scikit-learn's estimator and back: the converters made for one serve the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.utils.validation import check_is_fitted

from torchlogreg.data.containers import as_numpy, as_tensor
from torchlogreg.estimators.cross_validation import TorchLogisticRegressionCV
from torchlogreg.estimators.logistic import TorchLogisticRegression

SHARED = ("tol", "fit_intercept", "class_weight", "warm_start", "random_state")
"""Parameters that both have, with the same meaning."""

SOLVERS = ("lbfgs", "newton-cg", "newton-cholesky")
"""Solvers that both have."""


def to_sklearn(model: TorchLogisticRegression | TorchLogisticRegressionCV) -> LogisticRegression:
    """Return a fitted ``LogisticRegression`` with the same predictions.

    What takes one can then take the model: converters to ONNX (``skl2onnx``), PMML and others.

    Parameters
    ----------
    model : TorchLogisticRegression or TorchLogisticRegressionCV
        A fitted estimator, with tensors or arrays.

    Returns
    -------
    estimator : sklearn.linear_model.LogisticRegression
        Its attributes are copies, as NumPy arrays. ``C`` and ``l1_ratio`` are those of the model,
        or those that it has chosen: another fit of the estimator solves the same problem. Solvers
        that scikit-learn does not have become "lbfgs", or "saga" with ``l1_ratio > 0``.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the model is not fitted.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from torchlogreg import TorchLogisticRegression
    >>> from torchlogreg.interchange import to_sklearn
    >>> X, y = load_iris(return_X_y=True)
    >>> model = TorchLogisticRegression().fit(X, y)
    >>> to_sklearn(model).score(X, y) == model.score(X, y)
    True
    """
    check_is_fitted(model, "coef_")
    is_chosen = isinstance(model, TorchLogisticRegressionCV)
    C, l1_ratio = (model.C_, model.l1_ratio_) if is_chosen else (model.C, model.l1_ratio)
    l1_ratio = l1_ratio if np.isfinite(C) else 0.0
    solver = getattr(model, "solver_", "lbfgs")
    given = model.get_params(deep=False)
    estimator = LogisticRegression(
        C=C,
        l1_ratio=l1_ratio,
        solver="saga" if l1_ratio > 0 else solver if solver in SOLVERS else "lbfgs",
        max_iter=100 if model.max_iter is None else model.max_iter,
        **{name: given[name] for name in SHARED if given.get(name) is not None},
    )
    _copy_model(model, estimator)
    estimator.n_iter_ = np.array([np.max(as_numpy(model.n_iter_))], dtype=np.int32)
    return estimator


def from_sklearn(estimator: LogisticRegression, *, device: Any = None) -> TorchLogisticRegression:
    """Return a fitted ``TorchLogisticRegression`` with the predictions of scikit-learn's.

    Parameters
    ----------
    estimator : sklearn.linear_model.LogisticRegression or LogisticRegressionCV
        A fitted estimator.
    device : str or torch.device, default=None
        The parameter ``device`` of the result, for later fits.

    Returns
    -------
    model : TorchLogisticRegression
        Its attributes are copies. With ``warm_start=True`` a fit starts at them; its ``module_`` is
        a ``torch.nn.Module`` with the coefficients. Another fit solves the same problem, unless it
        was solved by "liblinear", which penalises the intercept.

    Raises
    ------
    TypeError
        If the estimator is another one.
    ValueError
        If it has one model for each class, as older versions made with "liblinear".
    sklearn.exceptions.NotFittedError
        If it is not fitted.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from torchlogreg.interchange import from_sklearn
    >>> X, y = load_iris(return_X_y=True)
    >>> from_sklearn(LogisticRegression(solver="newton-cg").fit(X, y)).module_
    MultinomialLogistic(n_features=4, n_outputs=3, bias=True)
    """
    if not isinstance(estimator, LogisticRegression):
        raise TypeError(
            f"estimator={estimator!r} is a {type(estimator).__name__}: LogisticRegression and "
            "LogisticRegressionCV of sklearn.linear_model are accepted. Of a pipeline, take the "
            "last step."
        )
    check_is_fitted(estimator, "coef_")
    if estimator.solver == "liblinear" and len(estimator.classes_) > 2:
        raise ValueError(
            "solver='liblinear' with more than two classes gives one model for each class against "
            "the rest, which is no multinomial model. Fit with another solver."
        )
    C, l1_ratio = (_chosen(estimator, name) for name in ("C", "l1_ratio"))
    penalty = getattr(estimator, "penalty", "deprecated")
    C = np.inf if penalty is None else C
    l1_ratio = {"l1": 1.0, "l2": 0.0}.get(penalty, l1_ratio)
    model = TorchLogisticRegression(
        C=C,
        l1_ratio=l1_ratio,
        max_iter=estimator.max_iter,
        device=device,
        **{name: getattr(estimator, name) for name in SHARED if hasattr(estimator, name)},
    )
    _copy_model(estimator, model)
    model.n_iter_ = np.array([np.max(estimator.n_iter_)], dtype=np.int32)
    return model


def _chosen(estimator: Any, name: str) -> float:
    """Return a parameter, or what a cross-validation has chosen for it: the same for each class."""
    chosen: Any = getattr(estimator, f"{name}_", getattr(estimator, name, None))
    value = np.ravel(chosen)[0]
    return 0.0 if value is None else float(value)


def _copy_model(source: Any, target: Any) -> None:
    """Give one fitted estimator what predictions need of another one, as arrays."""
    target.coef_, target.intercept_ = _array(source.coef_), _array(source.intercept_)
    target.classes_ = np.array(source.classes_)
    target.n_features_in_ = source.n_features_in_
    if hasattr(source, "feature_names_in_"):
        target.feature_names_in_ = source.feature_names_in_


def _array(part: Any) -> np.ndarray:
    """Return a dense copy."""
    tensor = as_tensor(part)
    array: np.ndarray = as_numpy(tensor if tensor.layout is torch.strided else tensor.to_dense())
    return array.copy()
