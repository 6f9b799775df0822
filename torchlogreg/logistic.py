"""The estimator: scikit-learn's contract, and nothing else."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import BaseEstimator, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from skorch.callbacks import Callback
from skorch.history import History
from torch import Tensor

from torchlogreg.data import RowBlocks
from torchlogreg.families import Family, family_of
from torchlogreg.modules import module_class
from torchlogreg.nets import LogisticNet
from torchlogreg.penalties import L2, l2_strength
from torchlogreg.prediction import LogisticClassifierMixin
from torchlogreg.solvers import QUEUED_ITERATIONS, SOLVERS, Solver, resolve
from torchlogreg.validation import TrainingData, check_training_data, outgoing


class TorchLogisticRegression(LogisticClassifierMixin, BaseEstimator):
    r"""Logistic regression for scikit-learn, solved by PyTorch.

    Minimises the objective of :class:`sklearn.linear_model.LogisticRegression`,

    .. math::

        C \sum_i s_i \, \ell(y_i, x_i^\top W + c) + \tfrac{1}{2} \lVert W \rVert^2 ,

    with the binary log-loss for two classes and the multinomial one for more, and the row
    weights :math:`s_i` (``sample_weight`` times ``class_weight``). The intercept c is not
    penalised.

    Parameters
    ----------
    C : float, default=1.0
        Inverse of the regularisation strength, positive; ``np.inf`` for no penalty.
    tol : float, default=1e-4
        The fit has converged when the largest absolute entry of the gradient of the mean
        penalised loss f (the objective divided by C times the sum of the row weights) is at
        most ``tol``. It ends a little later, so that f is as low as scikit-learn's at the same
        ``tol``: when its estimated excess over the minimum is at most ``tol / 10`` times the
        larger of f and 0.01.
    fit_intercept : bool, default=True
        Whether to fit an intercept.
    class_weight : dict or "balanced", default=None
        Weights of the classes, ``{label: weight}``; "balanced" gives all classes the same
        total weight.
    solver : {"auto", "lbfgs", "newton-cholesky"}, default="auto"
        - "newton-cholesky" forms the Hessian and factorises it. Best for few coefficients.
        - "lbfgs" reads the data twice an iteration. It is preconditioned with Hessians of
          sampled rows, so that a few dozen iterations do even where columns are correlated or
          of different scales. Large float64 data is read in float32 until that no longer pays.
        - "auto" takes "newton-cholesky" up to P = 300 coefficients (features plus intercept,
          times classes if there are more than two) unless n P^2 exceeds 2e7 for n rows, and
          "lbfgs" beyond.
    max_iter : int, default=None
        Most iterations; None for the solver's own limit (1000 for "lbfgs", 100 for
        "newton-cholesky").
    warm_start : bool, default=False
        Whether ``fit`` starts at the coefficients of the previous fit.
    random_state : int, RandomState instance or None, default=None
        Which rows "lbfgs" draws for its preconditioner from large data. The path depends on it,
        the solution does not, to ``tol``. None for the same rows every time.
    verbose : int, default=0
        If positive, print a line an iteration.
    device : str or torch.device, default=None
        Where to compute, such as "cuda". None for the device of ``X`` if that is a tensor,
        otherwise the CPU.
    callbacks : list of skorch callbacks, default=None
        Callbacks, called with ``net_`` as for every skorch net; one epoch is one iteration.
        Off by default: skorch's own timer and log cost more than an iteration on small data.

    Attributes
    ----------
    classes_ : ndarray of shape (K,)
        The labels, sorted.
    coef_ : ndarray of shape (1, d) or (K, d)
        Weights; one row for two classes, that of ``classes_[1]``. A tensor if ``X`` was one.
    intercept_ : ndarray of shape (1,) or (K,)
        Intercepts, zero without ``fit_intercept``. A tensor if ``X`` was one.
    n_iter_ : ndarray of shape (1,)
        Number of iterations.
    optimality_ : float
        Largest absolute entry of the gradient at ``coef_`` and ``intercept_``, on the scale
        of ``tol``: it certifies how close to the optimum they are.
    suboptimality_ : float
        Estimate of how much f exceeds its minimum, by the quadratic model of the last iteration;
        true to an order of magnitude. nan if the fit ended before the gradient was small.
    n_features_in_ : int
        Number d of features.
    feature_names_in_ : ndarray of shape (d,)
        Names of the features, if ``X`` was a data frame with string column names.
    solver_ : str
        The solver that was used.
    net_ : LogisticNet
        The skorch net that was trained, for its history and callbacks. It takes row blocks,
        not arrays: to predict, use the estimator or ``module_``.
    history_ : skorch.history.History
        One row an iteration, with ``train_loss`` (the mean penalised loss) and
        ``optimality`` (the gradient norm).
    module_ : BinaryLogistic or MultinomialLogistic
        A new ``torch.nn.Module`` with the coefficients, made on demand.

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
        "tol": [Interval(Real, 0, None, closed="left")],
        "fit_intercept": ["boolean"],
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "solver": [StrOptions({"auto", *SOLVERS})],
        "max_iter": [Interval(Integral, 1, None, closed="left"), None],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "device": [str, torch.device, None],
        "callbacks": [list, tuple, None],
    }

    def __init__(
        self,
        C: float = 1.0,
        *,
        tol: float = 1e-4,
        fit_intercept: bool = True,
        class_weight: dict[Any, float] | str | None = None,
        solver: str = "auto",
        max_iter: int | None = None,
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
        device: str | torch.device | None = None,
        callbacks: list[Any] | None = None,
    ) -> None:
        self.C = C
        self.tol = tol
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.solver = solver
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        self.device = device
        self.callbacks = callbacks

    # Within torch.inference_mode, parameters would not know of their changes.
    @_fit_context(prefer_skip_nested_validation=True)
    @torch.inference_mode(False)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> TorchLogisticRegression:
        """Fit the model.

        Parameters
        ----------
        X : {array-like, sparse matrix, Tensor} of shape (n, d)
            Features.
        y : array-like or Tensor of shape (n,)
            Labels: integers, strings, booleans, or anything else scikit-learn takes as labels.
        sample_weight : array-like or Tensor of shape (n,), default=None
            Non-negative weights of the rows; a weight of 2 is the same as the row twice.

        Returns
        -------
        self : TorchLogisticRegression
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter is out of range, ``X`` is not a finite matrix, ``y`` has one class
            only or is continuous, the weights are negative or all zero, the device is not
            there, or the coefficients overflow. The estimator then is as it was before.

        Warns
        -----
        ConvergenceWarning
            If ``max_iter`` or the floating-point precision ended the fit before ``tol`` was
            reached, or if ``C=np.inf`` and the solution separates all classes: then there is no
            minimiser.
        """
        before = self.__dict__.copy()
        try:
            return self._fit(X, y, sample_weight)
        except BaseException:  # Ctrl-C, too, leaves the estimator as it was
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    def _fit(self, X: Any, y: Any, sample_weight: Any) -> TorchLogisticRegression:
        """Validate, train, and write the results once."""
        data = check_training_data(self, X, y, sample_weight, self.class_weight, self.device)
        family = family_of(len(data.classes))
        rows = RowBlocks(
            data.X, data.codes, data.sample_weight, family, fit_intercept=self.fit_intercept
        )
        n_coef = family.n_outputs(len(data.classes)) * (rows.n_features + self.fit_intercept)
        solver = resolve(self.solver, len(rows), n_coef)
        net = self._train(data, rows, family, solver)

        coef = net.module_.coef.detach()[0]
        if not coef.isfinite().all():
            raise ValueError(
                f"The coefficients overflow {coef.dtype}: X or C={self.C!r} is too large or too "
                "small for it. Scale the columns of X (sklearn.preprocessing.StandardScaler)."
            )
        intercept = coef[:, -1] if self.fit_intercept else coef.new_zeros(len(coef))
        self.classes_ = data.classes
        self.coef_ = outgoing(coef[:, : rows.n_features].clone(), data.is_tensor)
        self.intercept_ = outgoing(intercept.clone(), data.is_tensor)
        self.n_iter_ = np.array([len(net.history)], dtype=np.int32)
        self.optimality_ = max(net.optimizer_.optimality)
        self.suboptimality_ = max(net.optimizer_.suboptimality)
        self.solver_ = solver.name
        self.net_ = net
        self._warn_unless_minimum(net, rows)
        return self

    @property
    def history_(self) -> History:
        """The history of the net."""
        check_is_fitted(self, "net_")
        return self.net_.history

    def _train(
        self, data: TrainingData, rows: RowBlocks, family: Family, solver: Solver
    ) -> LogisticNet:
        """Translate scikit-learn's parameters into those of a skorch net, and train it."""
        strength = l2_strength(
            torch.full_like(rows.weight_sum, self.C),
            rows.weight_sum,
            rows.n_features,
            self.fit_intercept,
        )
        options = dict(solver.options)
        if solver.is_random:
            random = check_random_state(0 if self.random_state is None else self.random_state)
            options["seed"] = int(random.randint(2**31))
        callbacks = self._check_callbacks()
        if solver.can_queue and callbacks == "disable" and data.X.device.type != "cpu":
            options["check_every"] = QUEUED_ITERATIONS
        net = LogisticNet(
            module_class(len(data.classes)),
            module__n_features=rows.n_features,
            module__n_outputs=family.n_outputs(len(data.classes)),
            module__bias=self.fit_intercept,
            module__batch_shape=(1,),
            module__device=data.X.device,
            module__dtype=rows.dtype,
            criterion__family=family,
            criterion__penalty=L2(strength.to(data.X.device, rows.dtype)),
            optimizer=solver.optimizer,
            optimizer__tol=self.tol,
            **{f"optimizer__{name}": value for name, value in options.items()},
            lr=1.0,
            max_epochs=solver.max_iter if self.max_iter is None else self.max_iter,
            callbacks=callbacks,
            verbose=self.verbose,
            device=str(data.X.device),
        )
        with torch.autocast(data.X.device.type, enabled=False):
            net.initialize()
            if self.warm_start and hasattr(self, "coef_"):
                with torch.no_grad():
                    net.module_.coef.copy_(self._starting_coef(data, net.module_.coef))
            return net.partial_fit(rows)

    def _check_callbacks(self) -> list[Any] | str:
        """Return the parameter ``callbacks`` as skorch wants it."""
        if not self.callbacks and not self.verbose:
            return "disable"
        for callback in self.callbacks or []:
            _, instance = callback if isinstance(callback, tuple) else ("", callback)
            if not isinstance(instance, Callback):
                raise ValueError(
                    f"callbacks={self.callbacks!r} has the entry {callback!r}; instances of "
                    "skorch.callbacks.Callback, or pairs of a name and one, are accepted."
                )
        return list(self.callbacks or [])

    def _starting_coef(self, data: TrainingData, coef: Tensor) -> Tensor:
        """Coefficients of the previous fit, for a parameter like ``coef`` (1, R, D)."""
        is_same = self.coef_.shape == (coef.shape[1], data.X.shape[1])
        if not (is_same and np.array_equal(self.classes_, data.classes)):
            raise ValueError(
                f"warm_start=True needs the classes and features of the previous fit: it had "
                f"the classes {self.classes_!r} and coef_ of shape {tuple(self.coef_.shape)}, "
                f"now there are the classes {data.classes!r} and {data.X.shape[1]} features. "
                "Set warm_start=False or use a new estimator."
            )
        return self._coef(coef.device)[None, :, : coef.shape[-1]]

    def _warn_unless_minimum(self, net: LogisticNet, rows: RowBlocks) -> None:
        """Warn if the fit was cut short or if there is no minimiser."""
        summary = (
            f"after {self.n_iter_[0]} iterations of {self.solver_} the gradient norm is "
            f"{self.optimality_:.2e} (tol={self.tol:g})"
        )
        if np.isposinf(self.C):
            objective = net.criterion_.objective(rows.blocks)
            if objective.is_separated(objective.at(net.module_.coef.detach())):
                _warn(
                    f"The classes are separable and C={self.C}: the loss has no minimiser, and "
                    f"the coefficients grow with every iteration; {summary}. "
                    "Use a finite C."
                )
                return
        if net.optimizer_.is_converged:
            return
        if net.optimizer_.is_finished:
            dtype = str(net.module_.coef.dtype).removeprefix("torch.")
            _warn(
                f"No further progress is possible in {dtype}: {summary}. "
                "Scale the columns of X (sklearn.preprocessing.StandardScaler), pass float64 or "
                "raise tol."
            )
        elif len(net.history) == net.max_epochs:
            _warn(
                f"The fit did not converge: {summary}. Raise max_iter (now {net.max_epochs}) or "
                "scale the columns of X (sklearn.preprocessing.StandardScaler)."
            )


def _warn(message: str) -> None:
    """Issue a ConvergenceWarning at the line that called ``fit``."""
    warnings.warn(message, ConvergenceWarning, stacklevel=7)
