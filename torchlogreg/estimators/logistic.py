"""The estimator: scikit-learn's contract, and nothing else."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions

from torchlogreg.estimators.base import checks_parameters, unchanged_on_error
from torchlogreg.estimators.drop_in import names_replacements
from torchlogreg.estimators.fit_tasks import has_listeners
from torchlogreg.estimators.solvers import SOLVERS
from torchlogreg.estimators.stream import StreamEstimator


class TorchLogisticRegression(StreamEstimator):
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
        Part of the penalty, 0 to 1, that is on the absolute values of the coefficients: it makes
        some of them exactly zero. The exact solver for that is "prox-newton". Without effect if
        ``C=np.inf``.
    tol : float or None, default=1e-4
        Exact solvers: a fit has converged when the largest absolute entry of the gradient of the
        mean penalised loss f is at most ``tol``; with ``l1_ratio > 0``, of the smallest
        subgradient. (f is the objective divided by C times the sum of
        the row weights.) The fit continues until the estimated excess of f over its minimum is at
        most ``tol / 100`` times the larger of f and 0.01. f is then usually as low as with
        scikit-learn's default solver.

        Mini-batch solvers: training ends when ``n_iter_no_change`` epochs in a row have not
        improved the best training loss by ``tol``. With ``early_stopping`` the accuracy on the
        held-out rows takes the place of the loss. None for ``max_iter`` epochs in any case.
    fit_intercept : bool, default=True
        Whether to fit an intercept.
    class_weight : dict or "balanced", default=None
        Weights of the classes, ``{label: weight}``; "balanced" gives all classes the same
        total weight.
    solver : str or type, default="auto"
        - "newton-cholesky" forms the Hessian and factorises it. Best for few coefficients.
        - "newton-cg" takes Newton's steps by conjugate gradients and forms no Hessian. Best for
          sparse data, and where there are few rows.
        - "lbfgs" reads the data twice per iteration. It is preconditioned with Hessians of
          sampled rows, so that a few dozen iterations do even where columns are correlated or
          of different scales. Large float64 data is read in float32 until that no longer pays.
        - "prox-newton" takes Newton's steps for the loss and the penalty on absolute values as it
          is (``l1_ratio > 0``), in the coefficients that are or become non-zero.
        - "auto" takes "prox-newton" if ``l1_ratio > 0``. Otherwise it takes "newton-cholesky"
          up to P = 300 coefficients (features plus intercept, times classes if there are more
          than two) unless n P^2 exceeds 2e7 for n rows; then "newton-cg" for sparse data, and
          for dense data with up to 4 rows per column and up to a million entries; else "lbfgs".
        - "sgd", "adam" and "adamw" read mini-batches, and so does any class of ``torch.optim``
          that takes dense parameters of any shape and needs no closure. How close they come to
          the minimiser depends on how their learning rate decays.
    max_iter : int, default=None
        Most iterations, or epochs of a mini-batch solver; None for the solver's own limit (1000
        for "lbfgs", 500 for "prox-newton", 100 for "newton-cholesky", 200 for the others). With 0
        the coefficients are zero, or those of the previous fit with ``warm_start``.
    warm_start : bool, default=False
        Whether ``fit`` starts at the coefficients of the previous fit.
    random_state : int, RandomState instance or None, default=None
        Which rows "lbfgs" draws for its preconditioner from large data, and "prox-newton" for its
        models: the path depends on it, the solution does not, to ``tol``. The order of the rows in
        mini-batches, and the rows held out. None stands for the same seed every time.
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
        More parameters of the net, such as ``{"optimizer__momentum": 0.9}``, and more callbacks.

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
        of ``tol``; with ``l1_ratio > 0``, of the smallest subgradient, which is the distance of 0
        from the subdifferential. It certifies how close to the optimum they are. The sums over
        the rows are in float64, also for float32 data. For mini-batch solvers: of the mean gradient
        of the last epoch's batches.
    suboptimality_ : float
        Estimate of how much f exceeds its minimum, from the quadratic model of the last iteration.
        It usually gives the right order of magnitude, but it is not a bound: where classes are
        nearly separable and the penalty is weak, it can be much too small. nan if the fit ended
        before the gradient was small, and with mini-batches.
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
        One row per iteration or epoch.
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
    nothing; of all these minimisers the centred one is returned, whose intercepts sum to zero. With
    ``l1_ratio > 0`` only the intercepts are centred: the penalty decides on the rest. With
    ``l1_ratio=1`` and an even number of classes it may leave a choice; any of its minimisers is
    returned then.

    References
    ----------
    .. [1] Nocedal & Wright, Numerical Optimization, 2nd ed., Springer 2006, Algorithms 3.3
       (Newton), 7.1 (Newton-CG), 7.4 and 7.5 (L-BFGS). The preconditioner is described in the user
       guide.
    .. [2] Hastie, Tibshirani & Friedman, The Elements of Statistical Learning, 2nd ed.,
       Springer 2009, Section 4.4 (the model).
    .. [3] Lee, Sun & Saunders, Proximal Newton-type methods for minimizing composite functions,
       SIAM J. Optim. 24 (2014), Algorithm 1 ("prox-newton").

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
        "max_iter": [Interval(Integral, 0, None, closed="left"), None],
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

    @names_replacements
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

    @property
    def penalty(self) -> str | None:
        """Name of the penalty in scikit-learn's older words: "l1", "l2", "elasticnet" or None.

        It follows from ``C`` and ``l1_ratio``. ``SelectFromModel`` asks for it: with "l1" it keeps
        the features with weights above 1e-5.
        """
        if np.inf == self.C:
            return None
        if self.l1_ratio == 0:
            return "l2"
        return "l1" if self.l1_ratio == 1 else "elasticnet"

    # Within torch.inference_mode, parameters would not know of their changes.
    @checks_parameters
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
        with unchanged_on_error(self):
            fit = self._fit_with_listeners if has_listeners(self) else self._fit
            return fit(X, y, sample_weight, classes)
