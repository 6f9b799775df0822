"""From the parameters of an estimator and its data to a training set."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from torch import Tensor

from torchlogreg.data.loaders import LoaderRows
from torchlogreg.data.training_data import TrainingData, check_device
from torchlogreg.data.training_sets import ArrayRows
from torchlogreg.estimators.solvers import BATCH_SIZE, Solver, takes_batches
from torchlogreg.optim import ProximalNewton
from torchlogreg.problem.families import family_of
from torchlogreg.problem.row_block import select_rows

LEAST_SHARE = 1e-7
"""Least share of the weight that a class is taken to have."""


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
    assert isinstance(data.X, Tensor)
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
    n_rows, n_features, n_classes = data.mean_rows, data.shape[1], len(data.classes)
    n_outputs = family_of(n_classes).n_outputs(n_classes)
    has_kinks = solver.is_exact and solver.takes_kinks
    if has_kinks or solver.forms_hessian:
        n_coef = n_outputs * (n_features + int(estimator.fit_intercept))
        n_coef = min(n_coef, ProximalNewton.few) if has_kinks else n_coef
        return float(n_rows) * n_coef**2 + n_coef**3 / 3
    part = 1.0 if solver.is_exact else min(batch_size_of(estimator) / n_rows, 1.0)
    products = 2.0 * data.mean_entries * n_outputs * part
    if "preconditioner" not in solver.options or not data.is_dense:
        return products
    return max(products, n_rows * n_features**2 / MATRIX_PRICE)


def all_rows(estimator: Any, data: TrainingData, **options: Any) -> ArrayRows:
    """Return all of the rows as a training set."""
    family = family_of(len(data.classes))
    weight = data.sample_weight
    options = {"group": data.group, **options}
    return ArrayRows(data.X, data.codes, weight, family, estimator.fit_intercept, **options)


def null_coef(rows: ArrayRows, n_outputs: int) -> Tensor:
    """Coefficients (1 or B, R, D) of the models without features: logarithms of the class shares.

    A class that a problem has no row of gets a share that no probability could be told from zero
    by, at the usual tolerances.
    """
    n_columns = rows.n_features + rows.fit_intercept
    weight = rows.rows.weight
    coef = torch.zeros(len(weight), n_outputs, n_columns, dtype=rows.dtype, device=rows.device)
    if rows.fit_intercept:
        share = weight.new_zeros(len(weight), max(n_outputs, 2)).index_add_(1, rows.codes, weight)
        (share,) = rows.rows.group.total(share)
        logs = share.clamp_min(LEAST_SHARE).log()
        coef[..., -1] = (
            logs[:, 1:] - logs[:, :1] if n_outputs == 1 else (logs - logs.mean(1, keepdim=True))
        )
    return coef


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


def max_iter_of(estimator: Any, solver: Solver) -> int:
    """Return the most iterations, or epochs."""
    return solver.max_iter if estimator.max_iter is None else int(estimator.max_iter)


def batch_size_of(estimator: Any) -> int:
    """Return the number of rows in a mini-batch."""
    return BATCH_SIZE if estimator.batch_size is None else int(estimator.batch_size)


def seed_of(estimator: Any) -> int:
    """Draw a seed from ``random_state``; None stands for the same one every time."""
    random = check_random_state(0 if estimator.random_state is None else estimator.random_state)
    return int(random.randint(2**31))


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
