"""What the candidates of a batched grid search share: the models of a fold, solved together."""

from __future__ import annotations

import copy
from typing import Any

import joblib
import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from torchlogreg.estimators.fit_tasks import heard_by_those_of
from torchlogreg.estimators.logistic import TorchLogisticRegression
from torchlogreg.estimators.penalty_grid import TOGETHER, PenaltyGrid
from torchlogreg.estimators.scoring import rows_of


class Shared:
    """What all candidates share: the rows, and what was solved in each fold."""

    def __init__(self, X: Any, estimator: Any, candidates: list[dict[str, Any]], budget: float):
        self.X = X
        self.n_rows = n_rows_of(X)
        self.budget = budget
        self._prefix = f"{estimator.steps[-1][0]}__" if isinstance(estimator, Pipeline) else ""
        self._candidates = candidates
        self._folds: dict[tuple[bytes, str], FoldModels] = {}

    def fold(self, candidate: dict[str, Any], rows: np.ndarray) -> FoldModels | None:
        """Return the fold with these rows, for candidates like this one; None if it is new."""
        return self._folds.get((rows.tobytes(), self._rest(candidate)))

    def solve(
        self,
        member: Any,
        rows: np.ndarray,
        y: np.ndarray,
        params: dict[str, Any],
    ) -> FoldModels:
        """Solve the fold with these rows, for candidates that share all but the penalty with one.

        If it cannot be solved, this candidate goes alone: another one may be what fails.
        """
        rest = self._rest(member.candidate)
        alike = [other for other in self._candidates if self._rest(other) == rest]
        try:
            fold = FoldModels(member, alike, rows, y, params)
        except (TypeError, ValueError):
            if len(alike) == 1:
                raise
            return FoldModels(member, [member.candidate], rows, y, params)
        self._folds[rows.tobytes(), rest] = fold
        return fold

    def penalty_of(self, classifier: Any, candidate: dict[str, Any]) -> dict[str, Any]:
        """Return all that is solved together, of a candidate; the classifier's own by default.

        Raises
        ------
        InvalidParameterError
            If a parameter is unfit.
        """
        penalty = {
            name: candidate.get(self._prefix + name, getattr(classifier, name)) for name in TOGETHER
        }
        clone(classifier).set_params(**penalty)._validate_params()
        return penalty

    def _rest(self, candidate: dict[str, Any]) -> str:
        """Return a digest of the others."""
        names = {self._prefix + name for name in TOGETHER}
        rest = {name: value for name, value in candidate.items() if name not in names}
        digest: str = joblib.hash(rest)
        return digest


class FoldModels:
    """A pipeline fitted to the rows of a fold, which ends with the models of all penalties."""

    def __init__(
        self,
        member: Any,
        candidates: list[dict[str, Any]],
        rows: np.ndarray,
        y: np.ndarray,
        params: dict[str, Any],
    ) -> None:
        self.shared = shared = member.shared
        self._seen: list[tuple[bytes, Any]] = []
        pipeline = clone(member.estimator)
        self._classifier = last_step(pipeline)
        penalties = [shared.penalty_of(self._classifier, candidate) for candidate in candidates]
        self._grid = PenaltyGrid(self._classifier, penalties, shared.budget)
        self._pipeline = _ended_by(pipeline, self._grid)
        with heard_by_those_of(member, self._pipeline):
            self._pipeline.fit(rows_of(shared.X, rows), y, **params)

    def model(self, candidate: dict[str, Any]) -> TorchLogisticRegression:
        """Return the fitted classifier of a candidate."""
        return self._grid.model(self.shared.penalty_of(self._classifier, candidate))

    def pipeline(self, classifier: Any) -> Any:
        """Return the fitted pipeline that ends with a classifier."""
        return _ended_by(self._pipeline, classifier)

    def transformed(self, rows: np.ndarray) -> Any:
        """Return rows after the transformers; the last two questions are remembered."""
        key = rows.tobytes()
        for known, X in self._seen:
            if known == key:
                return X
        X = rows_of(self.shared.X, rows)
        if isinstance(self._pipeline, Pipeline) and len(self._pipeline) > 1:
            X = self._pipeline[:-1].transform(X)
        self._seen = [*self._seen[-1:], (key, X)]
        return X


def last_step(estimator: Any) -> Any:
    """Return what a pipeline ends with."""
    return estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator


def _ended_by(estimator: Any, last: Any) -> Any:
    """Return a pipeline with the same transformers that ends otherwise."""
    if not isinstance(estimator, Pipeline):
        return last
    twin = copy.copy(estimator)
    twin.steps = [*estimator.steps[:-1], (estimator.steps[-1][0], last)]
    return twin


def n_rows_of(X: Any) -> int:
    """Number of rows of features in any container."""
    return int(X.shape[0]) if hasattr(X, "shape") else len(X)
