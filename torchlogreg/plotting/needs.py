"""What every display needs: a fitted classifier, and matplotlib."""

from __future__ import annotations

from typing import Any

from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted


def classifier_of(estimator: Any) -> Any:
    """Return what a search has found best, or a pipeline ends with, however nested."""
    check_is_fitted(estimator)
    if isinstance(estimator, Pipeline):
        return classifier_of(estimator[-1])
    if hasattr(estimator, "refit") and not hasattr(estimator, "coef_"):
        if not estimator.refit:
            raise ValueError(
                f"refit=False: {type(estimator).__name__} has searched, but kept no estimator. "
                "Set refit=True."
            )
        return classifier_of(estimator.best_estimator_)
    return estimator


def pyplot(caller: str) -> Any:
    """Import matplotlib's pyplot, or say how to get it."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(f"{caller} needs matplotlib: pip install 'torchlogreg[plot]'") from error
    return plt
