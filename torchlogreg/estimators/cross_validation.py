"""The strength of the penalty by cross-validation: all folds and penalties as one batch."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn import get_config
from sklearn.base import BaseEstimator
from sklearn.metrics import get_scorer_names
from sklearn.utils import Bunch, Tags
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from tqdm.auto import tqdm

from torchlogreg.data.containers import as_numpy
from torchlogreg.data.sharing import opened
from torchlogreg.data.training_data import TrainingData
from torchlogreg.data.validation import check_training_data
from torchlogreg.estimators.base import checks_parameters, unchanged_on_error, warn_of_shortfall
from torchlogreg.estimators.drop_in import DropInMixin, names_replacements
from torchlogreg.estimators.fit_tasks import FitTask, has_listeners, told
from torchlogreg.estimators.folds import fold_weights, folds_of
from torchlogreg.estimators.grid import MEGABYTE, Grid, GridPlan, checked_numbers
from torchlogreg.estimators.logistic import TorchLogisticRegression
from torchlogreg.estimators.prediction import (
    LogisticClassifierMixin,
    fitted_attributes,
    with_coef,
)
from torchlogreg.estimators.scikit_learn import CallbackSupportMixin, with_callbacks
from torchlogreg.estimators.scoring import held_out_scores, scorer_of
from torchlogreg.estimators.selection import Chosen, choose, results_table
from torchlogreg.estimators.solvers import SOLVERS


class TorchLogisticRegressionCV(
    DropInMixin, LogisticClassifierMixin, CallbackSupportMixin, BaseEstimator
):
    r"""Logistic regression whose penalty is chosen by cross-validation, solved as one batch.

    The models of all folds and all penalties are those of :class:`TorchLogisticRegression`. They
    share X, which is never copied: a row that a fold holds out has the weight 0. Every penalty
    begins where those before it lead, and the models of all folds, and of all rows, are found
    together. That of all rows at the chosen penalty is kept, so that a refit costs nothing more.

    Parameters
    ----------
    Cs : int or array-like of shape (n_cs,), default=10
        Inverse regularisation strengths, positive; ``np.inf`` for no penalty. An integer stands for
        so many values between 1e-4 and 1e4, evenly spaced on a logarithmic scale.
    l1_ratios : array-like of shape (n_l1_ratios,), default=(0.0,)
        Parts of the penalty, 0 to 1, that are on the absolute values of the coefficients.
    fit_intercept : bool, default=True
        Whether to fit an intercept.
    cv : int, cross-validation generator or iterable, default=None
        The folds: a number of stratified ones; a splitter of scikit-learn; or pairs of the indices
        of the rows to fit and of those to score. None for five stratified ones, or for as many as
        the most frequent class has rows, if that is less.
    scoring : str, callable or None, default="neg_log_loss"
        What the models are compared by on the rows held out: a name of scikit-learn's scorers, or
        ``scorer(estimator, X, y)``; None for the accuracy. Log loss, Brier score, accuracies, F1
        and the area under the ROC curve are computed on the device, for all models of a fold at
        once.
    refit : bool, default=True
        Whether the model is that of all rows at the chosen penalty. If not, it is the mean of the
        models of the folds, each at the penalty that is best for it; ``C_`` and ``l1_ratio_`` are
        means, too.
    selection : {"best", "one_standard_error"}, default="best"
        Which penalty is chosen: that with the best mean score; or, with the same ``l1_ratio``, the
        strongest whose mean score is at most a standard error below that (of the mean over the
        folds, at the best) [1]_.
    solver : str, default="auto"
        An exact solver, as for :class:`TorchLogisticRegression`.
    tol : float, default=1e-4
        As for :class:`TorchLogisticRegression`, for every model.
    max_iter : int, default=None
        Most iterations for every model; None for the solver's default.
    class_weight : dict or "balanced", default=None
        Weights of the classes; "balanced" follows the rows that a model is fitted to.
    device : str or torch.device, default=None
        Where to compute, such as "cuda"; None for the device of X, or the CPU.
    verbose : int, default=0
        If not 0, a bar shows how many of the models are done.
    random_state : int, RandomState instance or None, default=None
        As for :class:`TorchLogisticRegression`; it has nothing to do with the folds.
    working_memory : float, default=None
        Megabytes (2^20 bytes) for what is needed beyond X: as many models are solved at a time as
        fit in there. None for that of :func:`sklearn.set_config`, which is 1024 by default.

    Attributes
    ----------
    C_ : float
        The chosen strength.
    l1_ratio_ : float
        The chosen part of the penalty on the absolute values.
    Cs_ : ndarray of shape (n_cs,)
        All strengths, in the order in which they were given.
    l1_ratios_ : ndarray of shape (n_l1_ratios,)
        All parts.
    scores_ : ndarray of shape (n_folds, n_l1_ratios, n_cs)
        Scores on the rows held out.
    coefs_paths_ : ndarray or Tensor of shape (n_folds, n_l1_ratios, n_cs, R, d + 1)
        Weights and, in the last column, intercepts of the models of all folds. Without an intercept
        there are d columns. R is 1 for two classes, otherwise K.
    n_iter_ : ndarray of shape (n_folds, n_l1_ratios, n_cs)
        Iterations of every model.
    optimality_ : ndarray of shape (n_folds, n_l1_ratios, n_cs)
        Their gradient norms, on the scale of ``tol``.
    cv_results_ : dict of ndarrays
        One entry for each penalty, as in
        :class:`~sklearn.model_selection.GridSearchCV`: "param_C", "param_l1_ratio", "params",
        "split0_test_score" and so on, "mean_test_score", "std_test_score", "rank_test_score". It
        becomes a frame of pandas. There are no times: the models are solved together.
    best_index_ : int
        Place of the chosen penalty in ``cv_results_``. Only with ``refit=True``.
    coef_ : ndarray or Tensor of shape (R, d)
        Weights.
    intercept_ : ndarray or Tensor of shape (R,)
        Intercepts; zero without one.
    classes_ : ndarray of shape (K,)
        Labels, sorted.
    solver_ : str
        The solver that was used for the last of the ``l1_ratios``.
    n_features_in_ : int
        Number d of features.
    feature_names_in_ : ndarray of shape (d,)
        Their names, if all are strings.

    See Also
    --------
    TorchLogisticRegression : One model.
    logistic_regression_path : Models of all rows for many penalties.

    References
    ----------
    .. [1] Hastie, Tibshirani & Friedman, The Elements of Statistical Learning, 2nd ed.,
       Section 7.10.1 (the one-standard-error rule).

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from torchlogreg import TorchLogisticRegressionCV
    >>> X, y = load_iris(return_X_y=True)
    >>> model = TorchLogisticRegressionCV(Cs=5, cv=3).fit(X, y)
    >>> model.scores_.shape
    (3, 1, 5)
    >>> model.predict(X[:2])
    array([0, 0])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "Cs": [Interval(Integral, 1, None, closed="left"), "array-like"],
        "l1_ratios": ["array-like"],
        "fit_intercept": ["boolean"],
        "cv": ["cv_object"],
        "scoring": [StrOptions(set(get_scorer_names())), callable, None],
        "refit": ["boolean"],
        "selection": [StrOptions({"best", "one_standard_error"})],
        "solver": [StrOptions({"auto", *(name for name, s in SOLVERS.items() if s.is_exact)})],
        "tol": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left"), None],
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "device": [str, torch.device, None],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
        "working_memory": [Interval(Real, 0, None, closed="neither"), None],
    }

    @names_replacements
    def __init__(
        self,
        *,
        Cs: Any = 10,
        l1_ratios: Any = (0.0,),
        fit_intercept: bool = True,
        cv: Any = None,
        scoring: Any = "neg_log_loss",
        refit: bool = True,
        selection: str = "best",
        solver: str = "auto",
        tol: float = 1e-4,
        max_iter: int | None = None,
        class_weight: dict[Any, Any] | str | None = None,
        device: str | torch.device | None = None,
        verbose: int = 0,
        random_state: int | np.random.RandomState | None = None,
        working_memory: float | None = None,
    ) -> None:
        self.Cs = Cs
        self.l1_ratios = l1_ratios
        self.fit_intercept = fit_intercept
        self.cv = cv
        self.scoring = scoring
        self.refit = refit
        self.selection = selection
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.class_weight = class_weight
        self.device = device
        self.verbose = verbose
        self.random_state = random_state
        self.working_memory = working_memory

    @checks_parameters
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, **params: Any) -> Self:
        """Fit the models of all folds and penalties, score them, and choose.

        Parameters
        ----------
        X : {array-like, sparse matrix, Tensor} of shape (n, d)
            Features.
        y : array-like or Tensor of shape (n,)
            Labels: numbers or strings, two classes or more.
        sample_weight : array-like or Tensor of shape (n,), default=None
            Weights of the rows, non-negative; None for 1. The scores heed them, too; with
            scikit-learn's metadata routing, only if the scorer asks for them.
        **params : dict
            For the scorer; with metadata routing, for those who ask for them, such as ``groups``
            for the splitter.

        Returns
        -------
        self : TorchLogisticRegressionCV
            The fitted estimator.

        Raises
        ------
        ValueError
            If the data or a parameter is unfit, if a fold has no row, or if no penalty has a score
            in every fold. The estimator is then left as it was.

        Warns
        -----
        ConvergenceWarning
            If a model does not reach ``tol``.
        UserWarning
            If some scores are not a number. Their penalties are not chosen.
        """
        with unchanged_on_error(self):
            fit = self._fit_with_listeners if has_listeners(self) else self._fit
            return fit(X, y, sample_weight, params)

    def _fit(self, X: Any, y: Any, sample_weight: Any, params: dict[str, Any]) -> Self:
        """Fit, and write the results; that may be in vain if an error ends it."""
        Cs, l1_ratios = self._checked_grid()
        routed = self._routed("fit", params, sample_weight)
        data = check_training_data(self, X, y, sample_weight, None, self.device)
        folds = folds_of(self.cv, X, data, routed.splitter.split)
        model = self._model(data)
        weight = fold_weights(data, folds, self.class_weight, with_all=self.refit)
        budget = self.working_memory or get_config()["working_memory"]
        plan = GridPlan.of(model, data, weight, Cs, l1_ratios, budget * MEGABYTE)
        attributes_of = fitted_attributes(self, data.container, data.classes)
        heard = told(opened(X)[0], y, sample_weight)
        task = FitTask.of(self, heard, plan.n_batches, attributes_of, data.group)
        n_cells = len(weight) * len(Cs) * len(l1_ratios)
        with tqdm(total=n_cells, unit="model", disable=not self.verbose) as bar:
            grid = plan.solve(bar.update, task)
        paths = torch.movedim(grid.coef, 2, 0)[: len(folds)]
        scoring = "accuracy" if self.scoring is None else self.scoring
        self.scores_ = np.stack(
            [
                held_out_scores(scoring, model, coef, data, X, test, routed.scorer.score)
                for coef, (_, test) in zip(paths, folds, strict=True)
            ]
        )
        self.Cs_, self.l1_ratios_, self.classes_ = Cs, l1_ratios, data.classes
        self.solver_ = grid.solver
        self.coefs_paths_ = data.container.of(paths.contiguous())
        self.n_iter_, self.optimality_ = (
            np.moveaxis(array, 2, 0)[: len(folds)] for array in (grid.n_iter, grid.optimality)
        )
        self.cv_results_ = results_table(self.scores_, Cs, l1_ratios)
        chosen = choose(self.scores_, Cs, l1_ratios, self.selection, each_fold=not self.refit)
        self._write(chosen, grid, data)
        self._warn(grid, Cs, l1_ratios)
        if task is not None:
            task.close()
        return self

    _fit_with_listeners = with_callbacks(_fit)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None, **score_params: Any) -> float:
        """Return the score by ``scoring`` for given rows.

        Parameters
        ----------
        X : {array-like, sparse matrix, Tensor} of shape (n, d), Dataset or DataLoader
            Features.
        y : array-like or Tensor of shape (n,)
            Labels, those of a data set, too: not every score can be found batch by batch.
        sample_weight : array-like or Tensor of shape (n,), default=None
            Weights of the rows; None for 1.
        **score_params : dict
            For the scorer.

        Returns
        -------
        score : float
            Higher is better.

        Raises
        ------
        ValueError
            If there are no labels.
        """
        if y is None:
            raise ValueError("y=None: a score needs the labels of the rows of X, in their order.")
        routed = self._routed("score", score_params, sample_weight)
        scorer = scorer_of(self.scoring, self.classes_)
        return float(scorer(self, X, as_numpy(y), **routed.scorer.score))

    def get_metadata_routing(self) -> MetadataRouter:
        """Say who takes which metadata: the splitter and the scorer, and ``fit`` itself.

        Returns
        -------
        routing : MetadataRouter
            As scikit-learn wants it.
        """
        to_scorer = MethodMapping().add(caller="fit", callee="score")
        to_scorer = to_scorer.add(caller="score", callee="score")
        to_splitter = MethodMapping().add(caller="fit", callee="split")
        router = MetadataRouter(owner=self).add_self_request(self)
        router = router.add(splitter=self.cv, method_mapping=to_splitter)
        return router.add(scorer=scorer_of(self.scoring), method_mapping=to_scorer)

    def __sklearn_tags__(self) -> Tags:
        """Declare what the estimator can do: the tables of scores are NumPy's in any case."""
        tags = super().__sklearn_tags__()
        tags.array_api_support = False
        return tags

    def _routed(self, method: str, params: dict[str, Any], sample_weight: Any) -> Bunch:
        """Return what splitter and scorer are given."""
        given = params if sample_weight is None else {**params, "sample_weight": sample_weight}
        if get_config()["enable_metadata_routing"]:
            routed: Bunch = process_routing(self, method, **given)
            return routed
        if params:
            raise ValueError(
                f"{method}({', '.join(sorted(params))}) is only supported if "
                "enable_metadata_routing=True: see sklearn.set_config."
            )
        return Bunch(splitter=Bunch(split={}), scorer=Bunch(score=given))

    def _checked_grid(self) -> tuple[np.ndarray, np.ndarray]:
        """Return all strengths and ratios."""
        Cs = self.Cs
        Cs = np.logspace(-4, 4, Cs) if isinstance(Cs, Integral) else checked_numbers("Cs", Cs)
        if not (Cs > 0).all():
            raise ValueError(f"Cs={self.Cs!r} must be positive: the strengths are 1 / C.")
        l1_ratios = checked_numbers("l1_ratios", self.l1_ratios)
        if not ((l1_ratios >= 0) & (l1_ratios <= 1)).all():
            raise ValueError(f"l1_ratios={self.l1_ratios!r} must lie between 0 and 1.")
        return Cs, l1_ratios

    def _model(self, data: TrainingData) -> TorchLogisticRegression:
        """Return a model without coefficients, with the parameters that all of them have."""
        model = TorchLogisticRegression(
            tol=self.tol,
            fit_intercept=self.fit_intercept,
            solver=self.solver,
            max_iter=self.max_iter,
            random_state=self.random_state,
            device=self.device,
        )
        model.classes_, model.n_features_in_ = data.classes, self.n_features_in_
        if hasattr(self, "feature_names_in_"):
            model.feature_names_in_ = self.feature_names_in_
        return model

    def _write(self, chosen: Chosen, grid: Grid, data: TrainingData) -> None:
        """Write the chosen penalty, and the model for it."""
        self.C_, self.l1_ratio_ = chosen.C, chosen.l1_ratio
        if self.refit:
            (place,) = chosen.places
            coef = grid.coef[*place, -1]
            self.best_index_ = place[0] * grid.coef.shape[1] + place[1]
        else:
            cells = [grid.coef[*place, fold] for fold, place in enumerate(chosen.places)]
            coef = torch.stack(cells).mean(0)
        with_coef(self, coef, data.container)

    def _warn(self, grid: Grid, Cs: np.ndarray, l1_ratios: np.ndarray) -> None:
        """Warn of models that have not reached the tolerance."""

        def name(place: int) -> str:
            ratio, C, fold = np.unravel_index(place, grid.optimality.shape)
            is_refit = self.refit and fold == grid.optimality.shape[2] - 1
            rows = "all rows" if is_refit else f"fold {fold}"
            return f"C={Cs[C]:.3g}, l1_ratio={l1_ratios[ratio]:g}, {rows}"

        warn_of_shortfall(grid.solver, grid.optimality.ravel().tolist(), self.tol, "models", name)
