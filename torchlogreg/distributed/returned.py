"""What comes back from the process that has fitted an estimator to the one that wants it."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from torchlogreg.estimators.fit_tasks import LISTENERS


def take_fitted(estimator: Any, fitted: Any, shortfall: str | None) -> None:
    """Give an estimator the attributes of a copy that was fitted elsewhere; warn as that one did.

    Parameters and callbacks stay what they are: those of the copy went through a pickle.
    """
    kept = {*estimator.get_params(deep=False), *LISTENERS}
    for name in [name for name in vars(estimator) if name not in kept]:
        del estimator.__dict__[name]
    estimator.__dict__.update({n: value for n, value in vars(fitted).items() if n not in kept})
    if shortfall is not None:
        warnings.warn(shortfall, ConvergenceWarning, stacklevel=3)


def shortfall_of(fitted: Any) -> str | None:
    """Say why an estimator has not reached ``tol``: warnings stay in the process of the fit."""
    if "net_" in vars(fitted):
        reason: str | None = fitted.net_.shortfall()
        return reason
    largest = float(np.max(fitted.optimality_))
    if largest <= fitted.tol:
        return None
    return (
        f"{fitted.solver_} failed to converge for some models: the gradient norm is up to "
        f"{largest:.2e} (tol={fitted.tol:g}). Increase the number of iterations (max_iter), scale "
        "the columns of X, or leave out the largest Cs. The logs of the workers name the models."
    )


def first_of(errors: Iterable[Any]) -> Any:
    """Return the error of the process in which it arose: those that are told name that process."""
    return min(errors, key=lambda error: str(error).startswith("Process "))
