"""What the candidates of a batched grid search share: the models of a fold, solved together."""

from __future__ import annotations

import copy
from typing import Any

import joblib
import numpy as np
from sklearn import get_config
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import process_routing

from torchlogreg.data.validation import check_training_data
from torchlogreg.estimators.base import warn_of_shortfall
from torchlogreg.estimators.folds import problem_weights
from torchlogreg.estimators.grid import MEGABYTE, solve_grid
from torchlogreg.estimators.logistic import TorchLogisticRegression
from torchlogreg.estimators.prediction import with_coef
from torchlogreg.estimators.scoring import rows_of

TOGETHER = ("C", "l1_ratio", "class_weight")
"""Parameters of the classifier whose values are solved together."""


class Shared:
    """What all candidates share: the rows, and what was solved in each fold."""

    def __init__(self, X: Any, estimator: Any, candidates: list[dict[str, Any]], budget: float):
        self.X = X
        self.n_rows = n_rows_of(X)
        self.budget = budget
        self._prefix = _prefix(estimator)
        self._candidates = candidates
        self._folds: dict[tuple[bytes, str], FoldModels] = {}

    def fold(
        self,
        estimator: Any,
        candidate: dict[str, Any],
        rows: np.ndarray,
        y: np.ndarray,
        params: dict[str, Any],
    ) -> FoldModels:
        """Return the fold with these rows, for candidates that share all but the penalty.

        If it cannot be solved, this candidate goes alone: another one may be what fails.
        """
        key = rows.tobytes(), self._rest(candidate)
        if key not in self._folds:
            alike = [other for other in self._candidates if self._rest(other) == key[1]]
            try:
                self._folds[key] = FoldModels(estimator, self, alike, rows, y, params)
            except (TypeError, ValueError):
                if len(alike) == 1:
                    raise
                return FoldModels(estimator, self, [candidate], rows, y, params)
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


class FoldModels:
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
        problems = [(data.sample_weight.numpy(), of_classes) for of_classes in weights.values()]
        grid = solve_grid(
            model,
            data,
            problem_weights(data, problems),
            Cs,
            ratios,
            most_bytes=self.shared.budget * MEGABYTE,
            advance=lambda n_models: None,
        )
        self._grid, self._container, model.classes_ = grid, data.container, data.classes
        warn_of_shortfall(
            grid.solver,
            grid.optimality.ravel().tolist(),
            model.tol,
            "models",
            lambda place: f"C={Cs[np.unravel_index(place, grid.optimality.shape)[1]]:.3g}",
        )

    def _penalty(self, candidate: dict[str, Any]) -> dict[str, Any]:
        """Return all that is solved together, of a candidate; the classifier's own by default.

        Raises
        ------
        InvalidParameterError
            If a parameter is unfit.
        """
        own = {name: getattr(self._classifier, name) for name in TOGETHER}
        penalty = own | self.shared.together(candidate)
        clone(self._classifier).set_params(**penalty)._validate_params()
        return penalty

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
        with_coef(twin, grid.coef[place], self._container)
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


def n_rows_of(X: Any) -> int:
    """Number of rows of features in any container."""
    return int(X.shape[0]) if hasattr(X, "shape") else len(X)
