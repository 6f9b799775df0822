"""From the parameters of an estimator and its data to a training set and a skorch net."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state

from torchlogreg.data.loaders import LoaderRows
from torchlogreg.data.training_sets import ArrayRows, TrainingSet
from torchlogreg.data.validation import TrainingData, check_device
from torchlogreg.estimators.solvers import BATCH_SIZE, QUEUED_ITERATIONS, Solver, takes_batches
from torchlogreg.nets import FullBatchNet, LogisticNet, MiniBatchNet
from torchlogreg.nets.callbacks import check_callbacks
from torchlogreg.optim import FullBatchOptimizer, ProximalNewton
from torchlogreg.optim.algorithm import Algorithm
from torchlogreg.problem.families import family_of
from torchlogreg.problem.modules import module_class
from torchlogreg.problem.penalties import Penalty
from torchlogreg.problem.row_block import select_rows


def from_arrays(
    estimator: Any, data: TrainingData, *, is_exact: bool
) -> tuple[ArrayRows, ArrayRows | None]:
    """Return the training set and, for early stopping, the rows held out.

    Raises
    ------
    ValueError
        If there are fewer rows than a batch has, or too few to hold out some.
    """
    n = data.X.shape[0]
    if is_exact:
        return all_rows(estimator, data, is_centred=True), None
    if estimator.batch_size is not None and estimator.batch_size > n:
        raise ValueError(
            f"batch_size={estimator.batch_size} is larger than the number of rows, {n}. Use {n} "
            "or fewer."
        )
    if not estimator.early_stopping:
        return all_rows(estimator, data), None
    device = data.X.device
    train, valid = (torch.from_numpy(part) for part in _hold_out(estimator, data))
    weight, index = data.sample_weight, valid.to(device)
    for name, part in (("are held out", valid), ("are left to train on", train)):
        if not weight[part].sum() > 0:
            raise ValueError(
                f"early_stopping=True: the rows that {name} have no weight. Drop rows whose "
                "sample_weight is 0, or set early_stopping=False."
            )
    X, codes = select_rows(data.X, index), data.codes[index]
    valid_set = all_rows(estimator, replace(data, X=X, codes=codes, sample_weight=weight[valid]))
    data = replace(data, sample_weight=weight.clone().index_fill_(0, valid, 0))
    return all_rows(estimator, data, index=train.to(device)), valid_set


MATRIX_PRICE = 10
"""Iterations for which a matrix of the preconditioner serves, at least."""


def work(estimator: Any, data: TrainingData, solver: Solver) -> float:
    """Return the multiplications of an iteration, or of a mini-batch: about.

    For L-BFGS, also those of a D x D matrix that its preconditioner is made of, if that is more.
    """
    (n_rows, n_features), n_classes = data.X.shape, len(data.classes)
    n_outputs = family_of(n_classes).n_outputs(n_classes)
    has_kinks = solver.is_exact and solver.takes_kinks
    if has_kinks or solver.forms_hessian:
        n_coef = n_outputs * (n_features + int(estimator.fit_intercept))
        n_coef = min(n_coef, ProximalNewton.few) if has_kinks else n_coef
        return float(n_rows) * n_coef**2 + n_coef**3 / 3
    is_dense = data.X.layout is torch.strided
    n_entries = data.X.numel() if is_dense else data.X.values().numel()
    part = 1.0 if solver.is_exact else min(batch_size_of(estimator) / n_rows, 1.0)
    products = 2.0 * n_entries * n_outputs * part
    if "preconditioner" not in solver.options or not is_dense:
        return products
    return max(products, n_rows * n_features**2 / MATRIX_PRICE)


def all_rows(estimator: Any, data: TrainingData, **options: Any) -> ArrayRows:
    """Return all of the rows as a training set."""
    family = family_of(len(data.classes))
    weight = data.sample_weight
    return ArrayRows(data.X, data.codes, weight, family, estimator.fit_intercept, **options)


def from_loader(estimator: Any, data: Any, y: Any, sample_weight: Any, classes: Any) -> LoaderRows:
    """Return the training set of a data set or loader of torch.

    Raises
    ------
    ValueError
        If the solver does not read batches, or for what cannot be had with a loader.
    """
    kind = type(data).__name__
    if not takes_batches(estimator.solver):
        raise ValueError(
            f"solver={estimator.solver!r} does not read a {kind} batch by batch. Use "
            "solver='sgd' or 'adam', or pass arrays."
        )
    for name, value in (("y", y), ("sample_weight", sample_weight)):
        if value is not None:
            raise ValueError(
                f"{name} must be None with a {kind}, whose items are pairs of features and label. "
                "Pass arrays, or class_weight."
            )
    if estimator.early_stopping:
        raise ValueError(
            f"early_stopping=True cannot hold out rows of a {kind}. Set early_stopping=False, or "
            "pass arrays."
        )
    return LoaderRows(
        data,
        classes=classes,
        class_weight=estimator.class_weight,
        batch_size=batch_size_of(estimator),
        seed=seed_of(estimator),
        device=check_device(estimator.device, torch.empty(0)),
        fit_intercept=estimator.fit_intercept,
        has_penalty=np.isfinite(estimator.C),
    )


def make_net(
    estimator: Any,
    solver: Solver,
    rows: TrainingSet,
    n_classes: int,
    valid_set: TrainingSet | None = None,
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

    Raises
    ------
    ValueError
        If a parameter does not suit the solver or the data.
    """
    penalty = rows.penalty(estimator.C, estimator.l1_ratio)
    callbacks = check_callbacks(estimator.callbacks, estimator.verbose)
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
        "max_epochs": solver.max_iter if estimator.max_iter is None else estimator.max_iter,
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
    net = net_class(module_class(n_classes), **{**arguments, **(estimator.net_params or {})})
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


def net_to_go_on(estimator: Any, solver: Solver) -> LogisticNet | None:
    """Return the net of an estimator if its optimizer can go on, with what the user has changed.

    None if it was trained with another solver.
    """
    net = estimator.net_
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


def batch_size_of(estimator: Any) -> int:
    """Return the number of rows in a mini-batch."""
    return BATCH_SIZE if estimator.batch_size is None else int(estimator.batch_size)


def seed_of(estimator: Any) -> int:
    """Draw a seed from ``random_state``; None stands for the same one every time."""
    random = check_random_state(0 if estimator.random_state is None else estimator.random_state)
    return int(random.randint(2**31))


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
    if solver.can_queue and not is_watched and rows.device.type != "cpu":
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


def _hold_out(estimator: Any, data: TrainingData) -> tuple[np.ndarray, np.ndarray]:
    """Split the rows for early stopping: index of those to train on and of those held out."""
    try:
        train, valid = train_test_split(
            np.arange(data.X.shape[0]),
            test_size=estimator.validation_fraction,
            stratify=data.codes.cpu().numpy(),
            random_state=seed_of(estimator),
        )
    except ValueError as error:
        raise ValueError(
            f"early_stopping=True with validation_fraction={estimator.validation_fraction!r} "
            f"cannot split the {data.X.shape[0]} rows: {error} "
            "Change validation_fraction, or set early_stopping=False."
        ) from error
    return train, valid
