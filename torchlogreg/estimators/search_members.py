"""What a batched grid search gives to scikit-learn's: candidates that share what they can."""

from __future__ import annotations

import copy
import functools
from typing import Any, Self

import joblib
import numpy as np
import torch
from sklearn import get_config
from sklearn.base import BaseEstimator, clone
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import process_routing

from torchlogreg.data.containers import as_numpy
from torchlogreg.data.validation import check_training_data, row_weights
from torchlogreg.estimators.base import warn_of_shortfall
from torchlogreg.estimators.grid import MEGABYTE, solve_grid
from torchlogreg.estimators.logistic import TorchLogisticRegression
from torchlogreg.estimators.prediction import with_coef
from torchlogreg.estimators.scoring import for_splitters, rows_of

TOGETHER = ("C", "l1_ratio", "class_weight")
"""Parameters of the classifier whose values are solved together."""


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


class Member(BaseEstimator):
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
        self.fold: _Fold | None = None
        if len(rows) == self.shared.n_rows:
            self.fitted_ = clone(self.estimator).fit(self.shared.X, y, **params)
        else:
            self.fold = self.shared.fold(self.estimator, self.candidate, rows, y, params)
            self.classifier_ = self.fold.model(self.candidate)
            self.fitted_ = self.fold.pipeline(self.classifier_)
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


class Shared:
    """What all candidates share: the rows, and what was solved in each fold."""

    def __init__(self, X: Any, estimator: Any, candidates: list[dict[str, Any]], budget: float):
        self.X = X
        self.n_rows = n_rows_of(X)
        self.budget = budget
        self._prefix = _prefix(estimator)
        self._candidates = candidates
        self._folds: dict[tuple[bytes, str], _Fold] = {}

    def fold(
        self,
        estimator: Any,
        candidate: dict[str, Any],
        rows: np.ndarray,
        y: np.ndarray,
        params: dict[str, Any],
    ) -> _Fold:
        """Return the fold with these rows, for candidates that share all but the penalty."""
        key = rows.tobytes(), self._rest(candidate)
        if key not in self._folds:
            alike = [other for other in self._candidates if self._rest(other) == key[1]]
            self._folds[key] = _Fold(estimator, self, alike, rows, y, params)
        return self._folds[key]

    def together(self, candidate: dict[str, Any]) -> dict[str, Any]:
        """Return those parameters of a candidate that are solved together, by their short names."""
        names = {self._prefix + name: name for name in TOGETHER}
        return {names[name]: value for name, value in candidate.items() if name in names}

    def _rest(self, candidate: dict[str, Any]) -> str:
        """Return a digest of the others."""
        names = {self._prefix + name for name in TOGETHER}
        rest = {name: value for name, value in candidate.items() if name not in names}
        digest: str = joblib.hash(rest)
        return digest


class _Fold:
    """The rows of a fold through the transformers, and the models of all penalties."""

    def __init__(
        self,
        estimator: Any,
        shared: Shared,
        candidates: list[dict[str, Any]],
        rows: np.ndarray,
        y: np.ndarray,
        params: dict[str, Any],
    ) -> None:
        self.shared = shared
        self._estimator = clone(estimator)
        self._classifier = last_step(self._estimator)
        self._transformer = _transformer(self._estimator)
        weight = _sample_weight(self._estimator, params)
        X = rows_of(shared.X, rows)
        if self._transformer is not None:
            X = self._transformer.fit_transform(X, y)
        self._seen: list[tuple[bytes, Any]] = []
        self._solve(candidates, X, y, weight)

    def _solve(self, candidates: list[dict[str, Any]], X: Any, y: np.ndarray, weight: Any) -> None:
        """Find the models for all penalties of the candidates."""
        model = self._classifier
        penalties = [self._penalty(candidate) for candidate in candidates]
        Cs, ratios = (np.unique([p[name] for p in penalties]) for name in ("C", "l1_ratio"))
        weights = {joblib.hash(p["class_weight"]): p["class_weight"] for p in penalties}
        self._places: list[Any] = [Cs.tolist(), ratios.tolist(), list(weights)]
        data = check_training_data(model, X, y, weight, None, model.device)
        labels, codes = data.classes[as_numpy(data.codes)], as_numpy(data.codes)
        raw = data.sample_weight.numpy()
        grid = solve_grid(
            model,
            data,
            torch.from_numpy(
                np.stack(
                    [row_weights(labels, codes, raw, w, data.classes) for w in weights.values()]
                )
            ),
            Cs,
            ratios,
            most_bytes=self.shared.budget * MEGABYTE,
            advance=lambda n_models: None,
        )
        self._grid, self._is_tensor, model.classes_ = grid, data.is_tensor, data.classes
        warn_of_shortfall(
            grid.solver,
            grid.optimality.ravel().tolist(),
            model.tol,
            "models",
            lambda place: f"C={Cs[np.unravel_index(place, grid.optimality.shape)[1]]:.3g}",
        )

    def _penalty(self, candidate: dict[str, Any]) -> dict[str, Any]:
        """Return all that is solved together, of a candidate; the classifier's own by default."""
        own = {name: getattr(self._classifier, name) for name in TOGETHER}
        return own | self.shared.together(candidate)

    def model(self, candidate: dict[str, Any]) -> TorchLogisticRegression:
        """Return the fitted classifier of a candidate."""
        penalty = self._penalty(candidate)
        C, ratio, weight = self._places
        place = (
            ratio.index(penalty["l1_ratio"]),
            C.index(penalty["C"]),
            weight.index(joblib.hash(penalty["class_weight"])),
        )
        grid = self._grid
        twin: TorchLogisticRegression = copy.copy(self._classifier)
        twin.set_params(**penalty)
        twin.n_iter_ = grid.n_iter[place][None].astype(np.int32)
        twin.optimality_, twin.solver_ = float(grid.optimality[place]), grid.solver
        with_coef(twin, grid.coef[place], self._is_tensor)
        return twin

    def pipeline(self, classifier: Any) -> Any:
        """Return the fitted pipeline that ends with a classifier."""
        if self._transformer is None:
            return classifier
        twin = copy.copy(self._estimator)
        name = self._estimator.steps[-1][0]
        twin.steps = [*self._transformer.steps, (name, classifier)]
        return twin

    def transformed(self, rows: np.ndarray) -> Any:
        """Return rows after the transformers; the last two questions are remembered."""
        key = rows.tobytes()
        for known, X in self._seen:
            if known == key:
                return X
        X = rows_of(self.shared.X, rows)
        X = X if self._transformer is None else self._transformer.transform(X)
        self._seen = [*self._seen[-1:], (key, X)]
        return X


def last_step(estimator: Any) -> Any:
    """Return what a pipeline ends with."""
    return estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator


def _prefix(estimator: Any) -> str:
    """Return what the names of the classifier's parameters begin with."""
    return f"{estimator.steps[-1][0]}__" if isinstance(estimator, Pipeline) else ""


def _transformer(estimator: Any) -> Any:
    """Return all but the last step of a pipeline; None if there is nothing."""
    is_pipeline = isinstance(estimator, Pipeline) and len(estimator.steps) > 1
    return estimator[:-1] if is_pipeline else None


def _sample_weight(estimator: Any, params: dict[str, Any]) -> Any:
    """Return the weights of the rows among the parameters of a fit: there may be nothing else."""
    name = f"{_prefix(estimator)}sample_weight"
    own = dict(params)
    if get_config()["enable_metadata_routing"] and isinstance(estimator, Pipeline):
        routed = process_routing(estimator, "fit", **params)
        own = {
            f"{step}__{param}": value
            for step, _ in estimator.steps
            for param, value in {
                **routed[step].get("fit", {}),
                **routed[step].get("fit_transform", {}),
            }.items()
        }
    weight = own.pop(name, None)
    if any(value is not None for value in own.values()):
        raise ValueError(
            f"{sorted(own)}: of the parameters of fit, only {name} is taken. Use "
            "sklearn.model_selection.GridSearchCV."
        )
    return weight


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


def n_rows_of(X: Any) -> int:
    """Number of rows of features in any container."""
    return int(X.shape[0]) if hasattr(X, "shape") else len(X)
