"""What a batched grid search gives to scikit-learn's: candidates that share what they can."""

from __future__ import annotations

import functools
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, clone

from torchlogreg.estimators.fit_tasks import heard_by_those_of, tell_of_fitted, told
from torchlogreg.estimators.folds import for_splitters
from torchlogreg.estimators.scikit_learn import CallbackSupportMixin
from torchlogreg.estimators.scoring import rows_of
from torchlogreg.estimators.search_folds import FoldModels, Shared


class Splitter:
    """A splitter for numbers of rows, which gives the rows themselves to another one."""

    def __init__(self, splitter: Any, X: Any) -> None:
        self.splitter = splitter
        self.X = X

    def split(self, rows: Any, y: Any = None, **params: Any) -> Any:
        """Split the rows."""
        return self.splitter.split(for_splitters(self.X), y, **params)

    def get_n_splits(self, rows: Any = None, y: Any = None, **params: Any) -> int:
        """Return how often they are split."""
        n_splits: int = self.splitter.get_n_splits(for_splitters(self.X), y, **params)
        return n_splits

    def get_metadata_routing(self) -> Any:
        """Return what the splitter asks for."""
        return self.splitter.get_metadata_routing()


class Member(CallbackSupportMixin, BaseEstimator):
    """A candidate: a pipeline for numbers of rows, which shares what it can with the others."""

    def __init__(self, estimator: Any, shared: Shared) -> None:
        self.estimator = estimator
        self.shared = shared

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters of the pipeline."""
        params: dict[str, Any] = self.estimator.get_params(deep)
        return params

    def set_params(self, **params: Any) -> Self:
        """Set parameters of the pipeline."""
        self.candidate = params
        self.estimator.set_params(**params)
        return self

    def __sklearn_clone__(self) -> Member:
        return Member(clone(self.estimator), self.shared)

    def __sklearn_tags__(self) -> Any:
        return self.estimator.__sklearn_tags__()

    def get_metadata_routing(self) -> Any:
        """Return what the pipeline asks for."""
        return self.estimator.get_metadata_routing()

    def fit(self, rows: np.ndarray, y: np.ndarray, **params: Any) -> Self:
        """Take the model from those of the fold; fit that of all rows as usual."""
        self.fold: FoldModels | None = None
        if np.array_equal(rows, np.arange(self.shared.n_rows)):
            self.fitted_ = clone(self.estimator)
            with heard_by_those_of(self, self.fitted_):
                self.fitted_.fit(self.shared.X, y, **params)
        else:
            self.fold = self.shared.fold(self.candidate, rows)
            is_new = self.fold is None
            if self.fold is None:
                self.fold = self.shared.solve(self, rows, y, params)
            self.classifier_ = self.fold.model(self.candidate)
            self.fitted_ = self.fold.pipeline(self.classifier_)
            if not is_new:
                with heard_by_those_of(self, self.fitted_):
                    tell_of_fitted(self.fitted_, told(lambda: rows_of(self.shared.X, rows), y))
        self.classes_ = self.fitted_.classes_
        return self

    def predict(self, rows: np.ndarray) -> Any:
        """Predict labels."""
        return self._ask("predict", rows)

    def predict_proba(self, rows: np.ndarray) -> Any:
        """Predict probabilities."""
        return self._ask("predict_proba", rows)

    def predict_log_proba(self, rows: np.ndarray) -> Any:
        """Predict logarithms of the probabilities."""
        return self._ask("predict_log_proba", rows)

    def decision_function(self, rows: np.ndarray) -> Any:
        """Predict logits."""
        return self._ask("decision_function", rows)

    def score(self, rows: np.ndarray, y: Any, **params: Any) -> Any:
        """Return the accuracy."""
        return self._ask("score", rows, y, **params)

    def _ask(self, method: str, rows: np.ndarray, *args: Any, **params: Any) -> Any:
        if self.fold is None:
            return getattr(self.fitted_, method)(rows_of(self.shared.X, rows), *args, **params)
        return getattr(self.classifier_, method)(self.fold.transformed(rows), *args, **params)


def for_members(scoring: Any) -> Any:
    """Let functions that score estimators see pipelines and rows, not members and their numbers."""
    if isinstance(scoring, dict):
        return {name: for_members(scorer) for name, scorer in scoring.items()}
    if not callable(scoring) or hasattr(scoring, "_score_func"):
        return scoring  # scikit-learn's own ask for predictions only

    @functools.wraps(scoring)
    def score(estimator: Any, X: Any, y: Any, **params: Any) -> Any:
        if isinstance(estimator, Member):
            estimator, X = estimator.fitted_, rows_of(estimator.shared.X, X)
        return scoring(estimator, X, y, **params)

    return score
