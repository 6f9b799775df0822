"""The last step of a pipeline that stands for a classifier with any of many penalties."""

from __future__ import annotations

import copy
from typing import Any, Self

import joblib
import numpy as np
from sklearn.base import BaseEstimator

from torchlogreg.data.validation import check_training_data
from torchlogreg.estimators.base import warn_of_shortfall
from torchlogreg.estimators.fit_tasks import FitTask, heard_by_those_of, told
from torchlogreg.estimators.folds import problem_weights
from torchlogreg.estimators.grid import MEGABYTE, Grid, GridPlan
from torchlogreg.estimators.logistic import TorchLogisticRegression
from torchlogreg.estimators.prediction import fitted_attributes, with_coef
from torchlogreg.estimators.scikit_learn import CallbackSupportMixin, with_callbacks

TOGETHER = ("C", "l1_ratio", "class_weight")
"""Parameters of the classifier whose values are solved together."""


class PenaltyGrid(CallbackSupportMixin, BaseEstimator):
    """The models of a classifier for many penalties, found together.

    Parameters
    ----------
    classifier : TorchLogisticRegression
        Has all other parameters, and callbacks.
    penalties : list of dict
        ``C``, ``l1_ratio`` and ``class_weight`` of every model.
    budget : float
        Megabytes for what is needed beyond X.
    """

    def __init__(self, classifier: Any, penalties: list[dict[str, Any]], budget: float) -> None:
        self.classifier = classifier
        self.penalties = penalties
        self.budget = budget

    def __sklearn_tags__(self) -> Any:
        return self.classifier.__sklearn_tags__()

    def get_metadata_routing(self) -> Any:
        """Return what the classifier asks for."""
        return self.classifier.get_metadata_routing()

    def fit(self, X: Any, y: np.ndarray, sample_weight: Any = None) -> Self:
        """Find the models."""
        with heard_by_those_of(self, self.classifier):
            _solve(self.classifier, self, X, y, sample_weight)
        return self

    def model(self, penalty: dict[str, Any]) -> TorchLogisticRegression:
        """Return the fitted classifier with one of the penalties."""
        Cs, ratios, class_weights = self.values_
        place = (
            ratios.index(penalty["l1_ratio"]),
            Cs.index(penalty["C"]),
            class_weights.index(joblib.hash(penalty["class_weight"])),
        )
        twin: TorchLogisticRegression = copy.copy(self.classifier)
        twin.set_params(**penalty)
        twin.n_iter_ = self.grid_.n_iter[place][None].astype(np.int32)
        twin.optimality_ = float(self.grid_.optimality[place])
        twin.solver_ = self.grid_.solver
        with_coef(twin, self.grid_.coef[place], self.container_)
        return twin


@with_callbacks
def _solve(classifier: Any, models: PenaltyGrid, X: Any, y: np.ndarray, sample_weight: Any) -> None:
    """Find the models of all penalties, and tell who listens to the classifier."""
    Cs, ratios = (np.unique([p[name] for p in models.penalties]) for name in ("C", "l1_ratio"))
    class_weights = {joblib.hash(p["class_weight"]): p["class_weight"] for p in models.penalties}
    data = check_training_data(classifier, X, y, sample_weight, None, classifier.device)
    problems = [(data.sample_weight.numpy(), of_classes) for of_classes in class_weights.values()]
    weight = problem_weights(data, problems)
    plan = GridPlan.of(classifier, data, weight, Cs, ratios, models.budget * MEGABYTE)
    attributes_of = fitted_attributes(classifier, data.container, data.classes)
    task = FitTask.of(classifier, told(X, y, sample_weight), plan.n_batches, attributes_of)
    grid = plan.solve(task=task)
    classifier.classes_ = data.classes
    models.values_ = Cs.tolist(), ratios.tolist(), list(class_weights)
    models.grid_, models.container_ = grid, data.container
    _warn(grid, Cs, classifier.tol)
    if task is not None:
        task.close(grid.coef[-1, -1, -1])


def _warn(grid: Grid, Cs: np.ndarray, tol: float) -> None:
    """Warn of models that have not reached the tolerance."""

    def name(place: int) -> str:
        _, C, _ = np.unravel_index(place, grid.optimality.shape)
        return f"C={Cs[C]:.3g}"

    warn_of_shortfall(grid.solver, grid.optimality.ravel().tolist(), tol, "models", name)
