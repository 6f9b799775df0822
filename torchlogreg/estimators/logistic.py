"""The estimator: scikit-learn's contract, and nothing else."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, ClassVar, Protocol, Self, TypeVar

import numpy as np
import torch
from sklearn.base import BaseEstimator, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call
from sklearn.utils.validation import check_is_fitted
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from torchlogreg.data.training_sets import TrainingSet
from torchlogreg.data.validation import check_training_data, outgoing
from torchlogreg.estimators import training
from torchlogreg.estimators.prediction import LogisticClassifierMixin
from torchlogreg.estimators.rows import all_rows, from_arrays, from_loader
from torchlogreg.estimators.solvers import SOLVERS, Solver, resolve, takes_batches
from torchlogreg.nets import EpochHistory, LogisticNet
from torchlogreg.nets.callbacks import check_callbacks
from torchlogreg.problem.families import family_of

_Method = TypeVar("_Method", bound=Callable[..., Any])


class _Decorator(Protocol):
    """Returns a method of the same type, which the decorators of scikit-learn do not say."""

    def __call__(self, method: _Method, /) -> _Method: ...


_checks_parameters: _Decorator = _fit_context(prefer_skip_nested_validation=True)


def _takes_batches(estimator: TorchLogisticRegression) -> bool:
    """Whether there is a partial_fit; the error that hasattr takes for a no."""
    if not takes_batches(estimator.solver):
        raise AttributeError(
            f"partial_fit is there for the mini-batch solvers only, not for "
            f"solver={estimator.solver!r}. Use 'sgd', 'adam', 'adamw' or a class of torch.optim."
        )
    return True


_for_batches: _Decorator = available_if(_takes_batches)


class TorchLogisticRegression(LogisticClassifierMixin, BaseEstimator):
    r"""Logistic regression for scikit-learn, solved by PyTorch.

    Minimises the objective of :class:`sklearn.linear_model.LogisticRegression`,

    .. math::

        C \sum_i s_i \, \ell(y_i, x_i^\top W + c) + \tfrac{1-\rho}{2} \lVert W \rVert^2
        + \rho \lVert W \rVert_1 ,

    with the binary log-loss for two classes and the multinomial one for more, the row weights
    :math:`s_i` (``sample_weight`` times ``class_weight``) and :math:`\rho` = ``l1_ratio``. The
    intercept c is not penalised.

    The exact solvers find the minimiser. The mini-batch solvers go towards it with any optimizer
    of ``torch.optim``, from arrays, data sets and streams.

    Parameters
    ----------
    C : float, default=1.0
        Inverse of the regularisation strength, positive; ``np.inf`` for no penalty.
    l1_ratio : float, default=0.0
        Part of the penalty, 0 to 1, that is on the absolute values of the coefficients. Exact
        solvers take 0 only.
    tol : float or None, default=1e-4
        Of an exact solver: the fit has converged when the largest absolute entry of the gradient
        of the mean penalised loss f (the objective divided by C times the sum of the row
        weights) is at most ``tol``. It ends a little later, so that f is as a rule as low as that
        of scikit-learn's default solver: when its estimated excess over the minimum is at most
        ``tol / 10`` times the larger of f and 0.01.

        Of a mini-batch solver: training ends when ``n_iter_no_change`` epochs in a row have
        not improved the best training loss (with ``early_stopping``, the best accuracy on the
        rows held out) by ``tol``; None for ``max_iter`` epochs in any case.
    fit_intercept : bool, default=True
        Whether to fit an intercept.
    class_weight : dict or "balanced", default=None
        Weights of the classes, ``{label: weight}``; "balanced" gives all classes the same
        total weight.
    solver : {"auto", "lbfgs", "newton-cholesky", "sgd", "adam", "adamw"} or type, default="auto"
        - "newton-cholesky" forms the Hessian and factorises it. Best for few coefficients.
        - "lbfgs" reads the data twice an iteration. It is preconditioned with Hessians of
          sampled rows, so that a few dozen iterations do even where columns are correlated or
          of different scales. Large float64 data is read in float32 until that no longer pays.
        - "auto" takes "newton-cholesky" up to P = 300 coefficients (features plus intercept,
          times classes if there are more than two) unless n P^2 exceeds 2e7 for n rows, and
          "lbfgs" beyond.
        - "sgd", "adam" and "adamw" read mini-batches, and so does any class of ``torch.optim``
          that takes dense parameters of any shape and needs no closure. They reach the
          minimiser as far as their learning rate decays.
    max_iter : int, default=None
        Most iterations, or epochs of a mini-batch solver; None for the solver's own limit (1000
        for "lbfgs", 100 for "newton-cholesky", 200 for mini-batches).
    warm_start : bool, default=False
        Whether ``fit`` starts at the coefficients of the previous fit.
    random_state : int, RandomState instance or None, default=None
        Which rows "lbfgs" draws for its preconditioner from large data: the path depends on it,
        the solution does not, to ``tol``. The order of the rows in mini-batches, and the rows
        held out. None stands for the same seed every time.
    verbose : int, default=0
        If positive, show a progress bar.
    device : str or torch.device, default=None
        Where to compute, such as "cuda". None for the device of ``X`` if that is a tensor,
        otherwise the CPU.
    lr : float, default=None
        Learning rate of a mini-batch solver. None for 0.01, or for "sgd" 1 / L, where L is the
        mean over some rows of a bound on the curvature of their loss.
    batch_size : int, default=None
        Rows of a mini-batch, n at most; None for 200 or n.
    early_stopping : bool, default=False
        Whether a mini-batch solver holds out rows and ends by their accuracy. The coefficients
        are then those of the best epoch.
    validation_fraction : float, default=0.1
        Part of the rows that ``early_stopping`` holds out, of every class.
    n_iter_no_change : int, default=5
        Epochs without improvement after which a mini-batch solver ends.
    callbacks : list of skorch callbacks, default=None
        Callbacks, called with ``net_`` as for every skorch net; one epoch is one iteration.
        None by default: with any, an iteration on small data takes several times as long.
    net_params : dict, default=None
        More parameters of the net, such as ``{"optimizer__momentum": 0.9}``.

    Attributes
    ----------
    classes_ : ndarray of shape (K,)
        The labels, sorted.
    coef_ : ndarray of shape (1, d) or (K, d)
        Weights; one row for two classes, that of ``classes_[1]``. A tensor if ``X`` was one.
    intercept_ : ndarray of shape (1,) or (K,)
        Intercepts, zero without ``fit_intercept``. A tensor if ``X`` was one.
    n_iter_ : ndarray of shape (1,)
        Number of iterations or epochs.
    optimality_ : float
        Largest absolute entry of the gradient at ``coef_`` and ``intercept_``, on the scale
        of ``tol``: it certifies how close to the optimum they are. The sums over the rows are in
        float64 for float32 data, too. Of a mini-batch solver, that of the mean gradient of the
        last epoch's batches.
    suboptimality_ : float
        Estimate of how much f exceeds its minimum, by the quadratic model of the last iteration.
        As a rule it is true to an order of magnitude; it is no bound. Where classes are all but
        separable and the penalty is weak, it can be much too small. nan if the fit ended before
        the gradient was small, and with mini-batches.
    weight_seen_ : float
        Sum of the weights of all rows, of ``fit`` and of the calls of ``partial_fit`` since.
    n_features_in_ : int
        Number d of features.
    feature_names_in_ : ndarray of shape (d,)
        Names of the features, if ``X`` was a data frame with string column names.
    solver_ : str
        The solver that was used.
    net_ : LogisticNet
        The skorch net that was trained. Its labels are class codes 0..K-1.
    history_ : skorch.history.History
        One row an iteration or epoch.
    module_ : BinaryLogistic or MultinomialLogistic
        A new ``torch.nn.Module`` with the coefficients.

    See Also
    --------
    sklearn.linear_model.LogisticRegression : The same model on the CPU.

    Notes
    -----
    ``coef_`` and ``intercept_`` are all that predictions depend on.

    Float32 features give a float32 model, and so do tensors of bfloat16 and float16, which are
    never copied as a whole; all others give a float64 one.
    Tensors in, tensors out on their device; string labels come as NumPy arrays.

    Adding the same vector to the coefficients of all classes of a multinomial model changes
    nothing; of all these minimisers the centred one is returned, whose intercepts sum to zero.

    References
    ----------
    .. [1] Nocedal & Wright, Numerical Optimization, 2nd ed., Springer 2006, Algorithms 3.3
       (Newton), 7.4 and 7.5 (L-BFGS). The preconditioner is described in the user guide.
    .. [2] Hastie, Tibshirani & Friedman, The Elements of Statistical Learning, 2nd ed.,
       Springer 2009, Section 4.4 (the model).

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from torchlogreg import TorchLogisticRegression
    >>> X, y = load_iris(return_X_y=True)
    >>> model = TorchLogisticRegression().fit(X, y)
    >>> model.score(X, y)
    0.9733...
    >>> model.coef_.shape
    (3, 4)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "C": [Interval(Real, 0, None, closed="right")],
        "l1_ratio": [Interval(Real, 0, 1, closed="both")],
        "tol": [Interval(Real, 0, None, closed="left"), None],
        "fit_intercept": ["boolean"],
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "solver": [StrOptions({"auto", *SOLVERS}), type],
        "max_iter": [Interval(Integral, 1, None, closed="left"), None],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "device": [str, torch.device, None],
        "lr": [Interval(Real, 0, None, closed="neither"), None],
        "batch_size": [Interval(Integral, 1, None, closed="left"), None],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "callbacks": [list, tuple, None],
        "net_params": [dict, None],
    }

    def __init__(
        self,
        C: float = 1.0,
        *,
        l1_ratio: float = 0.0,
        tol: float | None = 1e-4,
        fit_intercept: bool = True,
        class_weight: dict[Any, Any] | str | None = None,
        solver: str | type[torch.optim.Optimizer] = "auto",
        max_iter: int | None = None,
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
        device: str | torch.device | None = None,
        lr: float | None = None,
        batch_size: int | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        callbacks: list[Any] | tuple[Any, ...] | None = None,
        net_params: dict[str, Any] | None = None,
    ) -> None:
        self.C = C
        self.l1_ratio = l1_ratio
        self.tol = tol
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.solver = solver
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        self.device = device
        self.lr = lr
        self.batch_size = batch_size
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.callbacks = callbacks
        self.net_params = net_params

    # Within torch.inference_mode, parameters would not know of their changes.
    @_checks_parameters
    @torch.inference_mode(False)
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, classes: Any = None) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : {array-like, sparse matrix, Tensor} of shape (n, d), Dataset or DataLoader
            Features. A data set or data loader of ``torch.utils.data`` gives pairs of features,
            which are flattened, and label; it is for the mini-batch solvers, and read batch by
            batch.
        y : array-like or Tensor of shape (n,)
            Labels: numbers or strings, two classes or more. None with a data set.
        sample_weight : array-like or Tensor of shape (n,), default=None
            Weights of the rows, non-negative; None for 1.
        classes : array-like of shape (K,), default=None
            All labels, for a data set that does not have them in ``targets``, ``labels`` or
            ``tensors``.

        Returns
        -------
        self : TorchLogisticRegression
            The fitted estimator.

        Raises
        ------
        ValueError
            If the data or a parameter is unfit, or if the coefficients overflow or diverge. The
            estimator is then left as it was.
        MemoryError
            If the Hessian of ``solver="newton-cholesky"`` does not fit into memory.

        Warns
        -----
        ConvergenceWarning
            If ``max_iter`` or the floating-point precision ended the fit before ``tol`` was
            reached, also if a checkpoint has brought it back; or if ``C=np.inf`` and the solution
            separates all classes: then there is no minimiser.
        """
        with self._unchanged_on_error():
            return self._fit(X, y, sample_weight, classes)

    @_for_batches
    @_checks_parameters
    @torch.inference_mode(False)
    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Make one pass over some more rows, from where the last call stopped.

        Only with mini-batch solvers. The penalty is that of all rows given so far: ``C`` weighs
        the sum of their losses, and a row that is given twice counts twice. Hold ``C`` against
        the whole stream, not against a part of it.

        Later calls heed new values of ``C``, ``l1_ratio``, ``lr`` and ``batch_size``; what else
        the net was given (``callbacks``, ``net_params``, ``random_state``) stays as in the first.

        Parameters
        ----------
        X : {array-like, sparse matrix, Tensor} of shape (n, d)
            Features of these rows.
        y : array-like or Tensor of shape (n,)
            Their labels.
        classes : array-like of shape (K,), default=None
            All labels that will ever come; needed in the first call.
        sample_weight : array-like or Tensor of shape (n,), default=None
            Weights of the rows, non-negative; None for 1.

        Returns
        -------
        self : TorchLogisticRegression
            The estimator.

        Raises
        ------
        ValueError
            As for :meth:`fit`, and if a label is not among the classes. The estimator is then
            left as it was.
        """
        with self._unchanged_on_error(self.__dict__.get("net_")):
            return self._partial_fit(X, y, classes, sample_weight)

    @contextmanager
    def _unchanged_on_error(self, net: LogisticNet | None = None) -> Iterator[None]:
        """Leave the estimator, and the net, as they were if anything is raised, Ctrl-C too."""
        before = self.__dict__.copy()
        state = None if net is None else training.state_of(net)
        try:
            yield
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            if net is not None and state is not None:
                training.restore(net, state)
            raise

    def _fit(self, X: Any, y: Any, sample_weight: Any, classes: Any) -> Self:
        """Validate, train, and write the results once."""
        is_tensor, valid_set = False, None
        rows: TrainingSet
        if isinstance(X, (Dataset, DataLoader)):
            loaded = from_loader(self, X, y, sample_weight, classes)
            rows, labels = loaded, loaded.classes
            solver = self._resolve(len(labels), rows.n_rows, rows.n_features)
            self.n_features_in_ = rows.n_features
            self.__dict__.pop("feature_names_in_", None)
        else:
            if classes is not None:
                raise ValueError(
                    f"classes={classes!r} is for a data set or loader of torch; the classes of "
                    "arrays are those in y."
                )
            data = check_training_data(self, X, y, sample_weight, self.class_weight, self.device)
            labels, is_tensor = data.classes, data.is_tensor
            solver = self._resolve(len(labels), *data.X.shape)
            rows, valid_set = from_arrays(self, data, is_exact=solver.is_exact)
        with torch.autocast(rows.device.type, enabled=False):
            net = training.make_net(self, solver, rows, len(labels), valid_set)
            if self.warm_start and hasattr(self, "coef_"):
                training.set_coef(net, self._starting_coef(labels, rows))
            net.partial_fit(rows)
        self.classes_ = labels
        self._write(net, solver, is_tensor)
        self.weight_seen_ = (rows.weight_unit * rows.weight_sum).item()
        if (shortfall := net.shortfall()) is not None:
            warnings.warn(shortfall, ConvergenceWarning, stacklevel=5)
        return self

    def _partial_fit(self, X: Any, y: Any, classes: Any, sample_weight: Any) -> Self:
        """Validate, train for an epoch, and write the results."""
        self._check_partial(X)
        is_first = _check_partial_fit_first_call(self, classes)
        data = check_training_data(
            self,
            X,
            y,
            sample_weight,
            self.class_weight,
            self.device,
            classes=self.classes_,
            reset=is_first,
        )
        solver = self._resolve(len(self.classes_), *data.X.shape)
        if not is_first:
            data = replace(data, X=data.X.to(self._coef(data.X.device).dtype))
        rows = all_rows(self, data)
        weight_before = 0.0 if is_first else self.weight_seen_
        weight_seen = weight_before + (rows.weight_unit * rows.weight_sum).item()
        if not np.isfinite(weight_seen):
            raise ValueError(
                f"The sum of the weights seen so far, sample_weight included, is {weight_seen}. "
                "Divide all weights by a constant, and multiply C by it."
            )
        with torch.autocast(rows.device.type, enabled=False):
            net = None if is_first else training.net_to_go_on(self, solver)
            if net is None:
                net = training.make_net(self, solver, rows, len(self.classes_))
            net.criterion_.penalty = training.make_penalty(self, rows, weight_before)
            if not is_first:
                training.set_coef(net, self._starting_coef(self.classes_, rows))
            net.partial_fit(rows, epochs=1)
        self._write(net, solver, data.is_tensor)
        self.weight_seen_ = weight_seen
        return self

    def _check_partial(self, X: Any) -> None:
        """Refuse what needs all rows at once."""
        if isinstance(X, (Dataset, DataLoader)):
            raise ValueError(
                f"X={X!r}: partial_fit takes arrays and tensors. Loop over the batches of a "
                "loader, or use fit."
            )
        if self.early_stopping:
            raise ValueError(
                "early_stopping=True: that is for fit, not for partial_fit, which sees a part."
            )
        if isinstance(self.class_weight, str):
            raise ValueError(
                f"class_weight={self.class_weight!r} needs all rows at once. Give partial_fit "
                "the weights as a dict, such as those of compute_class_weight for a sample."
            )
        check_callbacks(self.callbacks, resumes=False)

    @property
    def history_(self) -> EpochHistory:
        """One row an iteration or epoch, such as ``history_[-1, "train_loss"]``.

        ``train_loss`` is the mean penalised loss after the iteration; of a mini-batch solver it
        is the mean over the epoch's batches, each before its step. ``optimality`` is the gradient
        norm; of an exact solver it is that of centred columns, where these lie far from zero,
        until the last iteration is checked. ``step`` is the step length or learning rate,
        ``seconds`` the time it took. With ``early_stopping`` there are also ``valid_loss`` and
        ``valid_accuracy``, after the epoch on the rows held out. Callbacks may add more.
        """
        check_is_fitted(self, "net_")
        return self.net_.history

    def _resolve(self, n_classes: int, n_rows: int, n_features: int) -> Solver:
        """Return the solver for data of that shape."""
        n_outputs = family_of(n_classes).n_outputs(n_classes)
        return resolve(self.solver, n_rows, n_outputs * (n_features + self.fit_intercept))

    def _write(self, net: LogisticNet, solver: Solver, is_tensor: bool) -> None:
        """Write the results."""
        coef = training.coef_of(net)
        if not coef.isfinite().all():
            raise ValueError(
                f"The coefficients overflow {coef.dtype}: X or C={self.C!r} is too large or too "
                "small for it. Scale the columns of X (sklearn.preprocessing.StandardScaler)."
            )
        d = self.n_features_in_
        intercept = coef[:, -1] if self.fit_intercept else coef.new_zeros(len(coef))
        self.coef_ = outgoing(coef[:, :d].clone(), is_tensor)
        self.intercept_ = outgoing(intercept.clone(), is_tensor)
        self.n_iter_ = np.array([len(net.history)], dtype=np.int32)
        self.optimality_ = net.optimality
        self.suboptimality_ = net.suboptimality
        self.solver_ = solver.name
        self.net_ = net

    def _starting_coef(self, labels: np.ndarray, rows: TrainingSet) -> Tensor:
        """Coefficients (R, D) of the previous fit, for rows with these labels."""
        n_outputs = rows.family.n_outputs(len(labels))
        is_same = self.coef_.shape == (n_outputs, rows.n_features)
        if not (is_same and np.array_equal(self.classes_, labels)):
            raise ValueError(
                f"warm_start=True needs the classes and features of the previous fit: it had "
                f"the classes {self.classes_!r} and coef_ of shape {tuple(self.coef_.shape)}, "
                f"now there are the classes {labels!r} and {rows.n_features} features. "
                "Set warm_start=False or use a new estimator."
            )
        return self._coef(rows.device)[:, : rows.n_features + self.fit_intercept]
