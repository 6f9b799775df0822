"""A grid search over pipelines that end with our estimator: its penalties are solved together."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn import get_config
from sklearn.base import clone
from sklearn.metrics import check_scoring
from sklearn.model_selection import GridSearchCV, ParameterGrid, check_cv
from sklearn.utils import indexable
from sklearn.utils._param_validation import Interval

from torchlogreg.data.containers import as_numpy
from torchlogreg.estimators.base import checks_parameters
from torchlogreg.estimators.documented import DocumentedMixin
from torchlogreg.estimators.fit_tasks import heard_by_those_of
from torchlogreg.estimators.logistic import TorchLogisticRegression
from torchlogreg.estimators.search_folds import Shared, last_step, n_rows_of
from torchlogreg.estimators.search_members import Member, Splitter, for_members
from torchlogreg.estimators.solvers import takes_batches

RESULTS = (
    *("cv_results_", "best_score_", "best_params_", "best_index_", "n_splits_"),
    *("refit_time_", "multimetric_"),
)
"""Attributes that are those of scikit-learn's search."""


class BatchedGridSearchCV(DocumentedMixin, GridSearchCV):
    """Grid search that fits the preprocessing once per fold, and solves all penalties together.

    It is used as :class:`sklearn.model_selection.GridSearchCV`, and has its attributes. Candidates
    that differ in ``C``, ``l1_ratio`` and ``class_weight`` alone share, in every fold, the fitted
    transformers and one batch, as in :class:`TorchLogisticRegressionCV`. Other parameters may
    vary, too: every combination of those is a batch.

    Parameters
    ----------
    estimator : TorchLogisticRegression or Pipeline
        A pipeline that ends with a :class:`TorchLogisticRegression`, or that alone, with an exact
        solver.
    param_grid : dict or list of dict
        Names of parameters and their values, such as
        ``{"torchlogisticregression__C": [0.1, 1.0]}``.
    scoring, refit, cv, verbose, error_score, return_train_score
        As for :class:`sklearn.model_selection.GridSearchCV`.
    working_memory : float, default=None
        As for :class:`TorchLogisticRegressionCV`.

    Attributes
    ----------
    cv_results_, best_estimator_, best_score_, best_params_, best_index_, scorer_, n_splits_, \
refit_time_, multimetric_, classes_, n_features_in_, feature_names_in_
        As those of :class:`sklearn.model_selection.GridSearchCV`. The time of a batch is that of
        its first candidate.

    See Also
    --------
    TorchLogisticRegressionCV : The same without preprocessing, with all models kept.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from torchlogreg import BatchedGridSearchCV, TorchLogisticRegression
    >>> pipeline = make_pipeline(StandardScaler(), TorchLogisticRegression())
    >>> grid = {"torchlogisticregression__C": [0.01, 0.1, 1.0]}
    >>> search = BatchedGridSearchCV(pipeline, grid, cv=3).fit(*load_wine(return_X_y=True))
    >>> len(search.cv_results_["params"])
    3
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **GridSearchCV._parameter_constraints,
        "working_memory": [Interval(Real, 0, None, closed="neither"), None],
    }

    def __init__(
        self,
        estimator: Any,
        param_grid: Any,
        *,
        scoring: Any = None,
        refit: Any = True,
        cv: Any = None,
        verbose: int = 0,
        error_score: Any = np.nan,
        return_train_score: bool = False,
        working_memory: float | None = None,
    ) -> None:
        super().__init__(
            estimator,
            param_grid,
            scoring=scoring,
            refit=refit,
            cv=cv,
            verbose=verbose,
            error_score=error_score,
            return_train_score=return_train_score,
        )
        self.working_memory = working_memory

    @checks_parameters
    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """Fit and score all candidates, and the best one on all rows.

        Parameters
        ----------
        X : {array-like, sparse matrix, Tensor} of shape (n, d)
            Features.
        y : array-like or Tensor of shape (n,)
            Labels.
        **params : dict
            For ``fit`` of the estimator, the scorer and the splitter, as in
            :class:`sklearn.model_selection.GridSearchCV`.

        Returns
        -------
        self : BatchedGridSearchCV
            The fitted search.

        Raises
        ------
        ValueError
            If the estimator, or that of a candidate, does not end with a
            :class:`TorchLogisticRegression`, or with one that reads mini-batches; and as its
            ``fit``.
        """
        candidates = list(ParameterGrid(self.param_grid))
        self._check_estimators(candidates)
        X, y = indexable(X, as_numpy(y))
        budget = self.working_memory or get_config()["working_memory"]
        shared = Shared(X, self.estimator, candidates, budget)
        search = GridSearchCV(
            Member(self.estimator, shared),
            self.param_grid,
            scoring=for_members(self.scoring),
            refit=self.refit,
            cv=Splitter(check_cv(self.cv, y, classifier=True), X),
            verbose=self.verbose,
            error_score=self.error_score,
            return_train_score=self.return_train_score,
        )
        with heard_by_those_of(self, search):
            search.fit(np.arange(n_rows_of(X)), y, **params)
        for name in RESULTS:
            if hasattr(search, name):
                setattr(self, name, getattr(search, name))
        self.scorer_ = self._scorer(search.scorer_)
        if hasattr(search, "best_estimator_"):
            self.best_estimator_ = search.best_estimator_.fitted_
            if hasattr(self.best_estimator_, "feature_names_in_"):
                self.feature_names_in_ = self.best_estimator_.feature_names_in_
        return self

    def _check_estimators(self, candidates: list[dict[str, Any]]) -> None:
        """Raise ValueError if one of the candidates does not end with what is solved in batches."""
        for params in [{}, *candidates]:
            own = {name: clone(value, safe=False) for name, value in params.items()}
            classifier = last_step(clone(self.estimator).set_params(**own))
            is_ours = isinstance(classifier, TorchLogisticRegression)
            if not is_ours or takes_batches(classifier.solver):
                with_params = f" with {params}" if params else ""
                raise ValueError(
                    f"estimator={self.estimator!r}{with_params} does not end with a "
                    "TorchLogisticRegression that has an exact solver. Use "
                    "sklearn.model_selection.GridSearchCV."
                )

    def _scorer(self, found: Any) -> Any:
        """Return the user's scorers in the place of those for members, which hold the rows."""
        if self.scoring is None:
            return check_scoring(self.estimator)
        if callable(self.scoring):
            return self.scoring
        if not isinstance(self.scoring, dict):
            return found
        return {**found, **{name: own for name, own in self.scoring.items() if callable(own)}}
