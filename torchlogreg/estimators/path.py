"""Models for one penalty after the other."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions, validate_params
from torch import Tensor

from torchlogreg.data.training_data import TrainingData
from torchlogreg.data.training_sets import ArrayRows
from torchlogreg.data.validation import check_training_data
from torchlogreg.estimators.base import warn_of_shortfall
from torchlogreg.estimators.grid import checked_numbers
from torchlogreg.estimators.logistic import TorchLogisticRegression
from torchlogreg.estimators.solvers import SOLVERS
from torchlogreg.estimators.training_net import make_algorithm
from torchlogreg.estimators.training_rows import all_rows, max_iter_of, null_coef, work
from torchlogreg.optim import Solution, Sweep
from torchlogreg.problem.objective import Objective
from torchlogreg.problem.products import full_precision
from torchlogreg.problem.threads import threads_for

LEAST_RATIO = 1e-3
"""Part on the absolute values that the strongest penalty of a path is found with, at least: with
none, no penalty makes all coefficients zero."""


@dataclass(frozen=True, eq=False)
class LogisticPath:
    """The models of :func:`logistic_regression_path`, the strongest penalty first.

    Weights and intercepts are tensors if ``X`` was one.
    """

    Cs: np.ndarray
    """Inverse regularisation strengths, shape (n_Cs,), rising."""

    coefs: Any
    """Weights, shape (n_Cs, R, d); R is 1 for two classes, otherwise K."""

    intercepts: Any
    """Intercepts, shape (n_Cs, R)."""

    objectives: np.ndarray
    """Mean penalised losses, shape (n_Cs,): scikit-learn's objective over C times the sum of the
    row weights."""

    n_iter: np.ndarray
    """Iterations, shape (n_Cs,)."""

    n_nonzero: np.ndarray
    """Number of weights that are not zero, shape (n_Cs,)."""

    optimality: np.ndarray
    """Largest absolute entry of the smallest subgradient, shape (n_Cs,), on the scale of tol."""

    classes: np.ndarray
    """Labels, shape (K,), sorted."""


@validate_params(
    {
        "Cs": ["array-like", None],
        "n_Cs": [Interval(Integral, 1, None, closed="left")],
        "eps": [Interval(Real, 0, 1, closed="neither")],
        "l1_ratio": [Interval(Real, 0, 1, closed="both")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "fit_intercept": ["boolean"],
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "solver": [StrOptions({"auto", *(name for name, s in SOLVERS.items() if s.is_exact)})],
        "max_iter": [Interval(Integral, 1, None, closed="left"), None],
        "random_state": ["random_state"],
        "device": [str, torch.device, None],
    },
    prefer_skip_nested_validation=True,
)
def logistic_regression_path(
    X: Any,
    y: Any,
    *,
    Cs: Any = None,
    n_Cs: int = 20,
    eps: float = 1e-3,
    l1_ratio: float = 1.0,
    sample_weight: Any = None,
    tol: float = 1e-4,
    fit_intercept: bool = True,
    class_weight: dict[Any, Any] | str | None = None,
    solver: str = "auto",
    max_iter: int | None = None,
    random_state: int | np.random.RandomState | None = None,
    device: str | torch.device | None = None,
) -> LogisticPath:
    r"""Fit logistic regression for one penalty after the other, from strong to weak.

    Every model is that of :class:`TorchLogisticRegression` with the same parameters, to ``tol``.
    Each starts at the one before, which takes a fraction of the time; without absolute values in
    the penalty, where the last two lead.

    Parameters
    ----------
    X : {array-like, sparse matrix, Tensor} of shape (n, d)
        Features.
    y : array-like or Tensor of shape (n,)
        Labels: numbers or strings, two classes or more.
    Cs : array-like of shape (n_Cs,), default=None
        Inverse regularisation strengths, positive and finite; they are sorted. None for ``n_Cs``
        values, evenly spaced on a logarithmic scale, from the largest C with which all weights are
        zero.
    n_Cs : int, default=20
        How many, if ``Cs`` is None.
    eps : float, default=1e-3
        The smallest penalty over the largest one, if ``Cs`` is None.
    l1_ratio : float, default=1.0
        Part of the penalty that is on the absolute values. With less than 1e-3 there is no penalty
        that makes all weights zero, or hardly any; ``Cs`` then begin where they would with 1e-3.
    sample_weight : array-like or Tensor of shape (n,), default=None
        Weights of the rows, non-negative; None for 1.
    tol, fit_intercept, class_weight, solver, max_iter, random_state, device
        As for :class:`TorchLogisticRegression`; exact solvers only.

    Returns
    -------
    path : LogisticPath
        With ``Cs``, ``coefs``, ``intercepts``, ``objectives``, ``n_iter``, ``n_nonzero``,
        ``optimality`` and ``classes``.

    Raises
    ------
    ValueError
        If the data or a parameter is unfit, or if ``Cs`` is None and no column has to do with y.

    Warns
    -----
    ConvergenceWarning
        If a model does not reach ``tol``. Its place in the path is named.

    See Also
    --------
    torchlogreg.plotting.CoefficientPathDisplay : Draws the weights.

    References
    ----------
    .. [1] Friedman, Hastie & Tibshirani, Regularization paths for generalized linear models via
       coordinate descent, J. Stat. Software 33 (2010), Section 2.5 (the penalties of a path).

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from torchlogreg import logistic_regression_path
    >>> path = logistic_regression_path(*load_iris(return_X_y=True), n_Cs=5)
    >>> path.coefs.shape
    (5, 3, 4)
    >>> path.n_nonzero.tolist()[0]
    0
    """
    estimator = TorchLogisticRegression(
        l1_ratio=l1_ratio,
        tol=tol,
        fit_intercept=fit_intercept,
        class_weight=class_weight,
        solver=solver,
        max_iter=max_iter,
        random_state=random_state,
        device=device,
    )
    data = check_training_data(estimator, X, y, sample_weight, class_weight, device)
    is_dense = data.X.layout is torch.strided
    chosen = estimator._resolve(len(data.classes), *data.X.shape, is_dense=is_dense)
    sweep = Sweep(make_algorithm(estimator, chosen), max_iter_of(estimator, chosen))
    Cs = None if Cs is None else _checked(Cs)
    with (
        torch.inference_mode(),
        threads_for(work(estimator, data, chosen), data.X.device),
        full_precision(data.X.device),
    ):
        rows = all_rows(estimator, data, is_centred=True)
        start = null_coef(rows, rows.family.n_outputs(len(data.classes)))
        if Cs is None:
            first = _start_of_path(rows, start, max(l1_ratio, LEAST_RATIO))
            Cs = first * np.geomspace(1, 1 / eps, n_Cs)
        penalties = [rows.penalty(C, l1_ratio) for C in Cs]
        objective = Objective(rows.rows, rows.family, penalties[0])
        solutions = list(sweep(objective, penalties, Cs.tolist(), start))
    norms = [float(solution.optimality[0]) for solution in solutions]
    warn_of_shortfall(chosen.name, norms, tol, "Cs", lambda i: f"Cs[{i}]={Cs[i]:.3g}")
    return _path(Cs, solutions, rows, data)


def _path(
    Cs: np.ndarray, solutions: list[Solution], rows: ArrayRows, data: TrainingData
) -> LogisticPath:
    """Put the solutions together."""
    coefs = torch.cat([solution.coef for solution in solutions])
    d = rows.n_features
    weights = coefs[..., :d].contiguous()
    intercepts = coefs[..., d] if rows.fit_intercept else coefs.new_zeros(coefs.shape[:2])
    return LogisticPath(
        Cs=Cs,
        coefs=data.container.of(weights),
        intercepts=data.container.of(intercepts.contiguous()),
        objectives=np.concatenate([solution.value for solution in solutions]),
        n_iter=np.concatenate([solution.n_iter for solution in solutions]),
        n_nonzero=(weights != 0).sum((-2, -1)).cpu().numpy(),
        optimality=np.concatenate([solution.optimality for solution in solutions]),
        classes=data.classes,
    )


def _checked(Cs: Any) -> np.ndarray:
    """Return the given Cs, sorted."""
    values = np.sort(checked_numbers("Cs", Cs))
    if not ((values > 0) & np.isfinite(values)).all():
        raise ValueError(
            f"Cs={Cs!r} must be positive and finite. For no penalty use "
            "TorchLogisticRegression(C=np.inf)."
        )
    return values


def _start_of_path(rows: ArrayRows, null_coef: Tensor, l1_ratio: float) -> float:
    """Return the largest C with which all weights are zero."""
    objective = Objective(rows.rows, rows.family, rows.penalty(np.inf))
    grad = objective.outer_gradient(objective.recheck(null_coef).grad)
    (squares,) = rows.rows.sum(lambda block: (block.squares(block.weight),))
    spread = squares[0, : rows.n_features].sqrt()
    centre = rows.rows.centre
    if centre is not None:
        spread = spread + centre.location.abs().to(spread)
    size = grad[0, :, : rows.n_features].abs()
    is_real = size > 10 * torch.finfo(rows.dtype).eps * spread  # otherwise it is rounding
    strongest = torch.where(is_real, size, 0).max().item()
    if not strongest > 0:
        raise ValueError(
            "Cs=None: the weights are zero whatever the penalty, for no column of X has to do with "
            "y. Give Cs."
        )
    total = (rows.weight_unit * rows.weight_sum).item()
    return l1_ratio / (strongest * total)
