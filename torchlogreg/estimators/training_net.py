"""From the parameters of an estimator and its training set to a skorch net, or an algorithm."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from torchlogreg.data.training_sets import ArrayRows, TrainingSet
from torchlogreg.estimators.solvers import QUEUED_ITERATIONS, Solver
from torchlogreg.estimators.training_rows import batch_size_of, max_iter_of, seed_of
from torchlogreg.nets import FullBatchNet, LogisticNet, MiniBatchNet
from torchlogreg.nets.callbacks import check_callbacks
from torchlogreg.nets.hooks import EpochHooks
from torchlogreg.optim import FullBatchOptimizer, minimise
from torchlogreg.optim.algorithm import Algorithm
from torchlogreg.problem.modules import module_class
from torchlogreg.problem.penalties import Penalty

SKETCH_ITERATIONS = 100
"""Most iterations on some of the rows, to begin with."""


def make_net(
    estimator: Any,
    solver: Solver,
    rows: TrainingSet,
    n_classes: int,
    valid_set: TrainingSet | None = None,
    hooks: EpochHooks | None = None,
) -> LogisticNet:
    """Translate scikit-learn's parameters into those of a skorch net, and initialise it.

    Parameters
    ----------
    estimator : estimator
        Has the parameters.
    solver : Solver
        What ``estimator.solver`` stands for.
    rows : TrainingSet
        The data.
    n_classes : int
        Number K of classes.
    valid_set : TrainingSet, optional
        Rows held out.
    hooks : EpochHooks, optional
        Called before and after every epoch.

    Raises
    ------
    ValueError
        If a parameter does not suit the solver or the data.
    """
    penalty = rows.penalty(estimator.C, estimator.l1_ratio)
    options = dict(estimator.net_params or {})
    more = options.pop("callbacks", None)
    more = [] if more in (None, "disable") else more
    callbacks = check_callbacks([*(estimator.callbacks or []), *more], estimator.verbose)
    callbacks = callbacks if hooks is None else [*callbacks, hooks]
    arguments: dict[str, Any] = {
        "module__n_features": rows.n_features,
        "module__n_outputs": rows.family.n_outputs(n_classes),
        "module__bias": estimator.fit_intercept,
        "module__batch_shape": (1,),
        "module__device": rows.device,
        "module__dtype": rows.dtype,
        "criterion__family": rows.family,
        "criterion__penalty": penalty,
        "optimizer": solver.optimizer,
        **{f"optimizer__{name}": value for name, value in solver.options.items()},
        "max_epochs": max_iter_of(estimator, solver),
        "callbacks": callbacks or "disable",
        "device": str(rows.device),
    }
    if solver.is_exact:
        arguments |= _exact_arguments(estimator, solver, rows, bool(callbacks))
        net_class: type[LogisticNet] = FullBatchNet
    else:
        arguments |= _mini_batch_arguments(estimator, solver, rows, penalty)
        arguments["valid_set"] = valid_set
        net_class = MiniBatchNet
    net = net_class(module_class(n_classes), **{**arguments, **options})
    net.initialize()
    return net


def make_algorithm(estimator: Any, solver: Solver) -> Algorithm[Any]:
    """Translate the parameters of an estimator to those of an exact solver's algorithm."""
    assert issubclass(solver.optimizer, FullBatchOptimizer)
    options: dict[str, Any] = {"tol": float(estimator.tol), **solver.options}
    if solver.is_random:
        options["seed"] = seed_of(estimator)
    algorithm: Algorithm[Any] = solver.optimizer.algorithm_class(**options)
    return algorithm


def minimiser_of_sketch(
    estimator: Any, solver: Solver, net: LogisticNet, rows: ArrayRows
) -> Tensor:
    """Coefficients (R, D) that are right for some of the rows: where to begin with all of them."""
    sketch = rows.rows.sketch
    assert sketch is not None
    with torch.inference_mode():
        start = torch.zeros_like(net.module_.coef)
        objective = net.criterion_.objective(sketch)
        found = minimise(
            objective, start, make_algorithm(estimator, solver), SKETCH_ITERATIONS, is_checked=False
        )
    coef: Tensor = found.coef.clone()[0]
    return coef


def net_to_go_on(estimator: Any, solver: Solver) -> LogisticNet | None:
    """Return the net of an estimator if its optimizer can go on, with what the user has changed.

    None if it was trained with another solver, or has been let go.
    """
    net = estimator.__dict__.get("net_")
    if not (isinstance(net, MiniBatchNet) and type(net.optimizer_) is solver.optimizer):
        return None
    shape = (1, estimator.coef_.shape[0], estimator.n_features_in_ + estimator.fit_intercept)
    if net.module_.coef.shape != shape:
        return None
    if estimator.batch_size is not None:
        net.batch_size = estimator.batch_size
    if estimator.lr is not None and estimator.lr != net.lr:
        net.set_params(lr=float(estimator.lr))
    return net


def _exact_arguments(
    estimator: Any, solver: Solver, rows: TrainingSet, is_watched: bool
) -> dict[str, Any]:
    """Return what only the exact solvers take."""
    if estimator.early_stopping:
        raise ValueError(
            f"early_stopping={estimator.early_stopping!r}: solver={solver.name!r} reads all rows "
            "at once. Set early_stopping=False, or use a mini-batch solver such as 'sgd' or 'adam'."
        )
    if estimator.tol is None:
        raise ValueError(f"tol=None: solver={solver.name!r} needs a tolerance, such as 1e-4.")
    arguments: dict[str, Any] = {
        "lr": 1.0,
        "optimizer__tol": float(estimator.tol),
        "batch_size": rows.n_rows,
    }
    if solver.is_random:
        arguments["optimizer__seed"] = seed_of(estimator)
    preconditioner = solver.options.get("preconditioner")
    if preconditioner is not None and isinstance(rows, ArrayRows) and rows.rows.is_stored:
        # At the minimiser of the sketch, coefficients have settled, and its Hessian is at hand.
        at_once = replace(preconditioner, earliest=(0,) * len(preconditioner.earliest))
        arguments["optimizer__preconditioner"] = at_once
    is_alone = rows.group.size == 1
    if solver.can_queue and not is_watched and is_alone and rows.device.type != "cpu":
        arguments["optimizer__check_every"] = QUEUED_ITERATIONS
    return arguments


def _mini_batch_arguments(
    estimator: Any, solver: Solver, rows: TrainingSet, penalty: Penalty
) -> dict[str, Any]:
    """Return what only the mini-batch solvers take."""
    if estimator.lr is not None:
        lr = float(estimator.lr)
    elif solver.lr is not None:
        lr = solver.lr
    else:
        lr = _safe_learning_rate(rows, penalty)
    return {
        "lr": lr,
        "batch_size": batch_size_of(estimator),
        "seed": seed_of(estimator),
        "tol": estimator.tol,
        "n_iter_no_change": estimator.n_iter_no_change,
    }


def _safe_learning_rate(rows: TrainingSet, penalty: Penalty) -> float:
    r"""Return 1 / L, with a bound L for the smoothness of the expected loss of a row.

    A row's loss is smooth with the constant :math:`\sigma \lVert x \rVert^2`, where
    :math:`\sigma` is 1/4 for two classes and 1/2 for more; the weighted mean over some rows is
    taken.
    """
    sample = rows.sample()
    ones = torch.ones(1, sample.n_columns, dtype=rows.dtype, device=rows.device)
    weight = sample.weight / sample.weight.sum()
    smoothness = rows.family.smoothness * (weight * sample.square_norms(ones)).sum()
    bound = (smoothness + penalty.l2.max()).item()
    if not 0 < bound < math.inf:
        raise ValueError(
            f"lr=None: no learning rate follows from this data, whose rows have a curvature of "
            f"{bound} in {rows.dtype}. Scale the columns of X, or give lr."
        )
    return 1 / bound
