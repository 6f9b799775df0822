"""From the data that an estimator is given to a training set for its net."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state

from torchlogreg.data.loaders import LoaderRows
from torchlogreg.data.training_sets import RowBlocks
from torchlogreg.data.validation import TrainingData, check_device
from torchlogreg.estimators.solvers import BATCH_SIZE, takes_batches
from torchlogreg.problem.data import select_rows
from torchlogreg.problem.families import family_of


def from_arrays(
    estimator: Any, data: TrainingData, *, is_exact: bool
) -> tuple[RowBlocks, RowBlocks | None]:
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
    family, device = family_of(len(data.classes)), data.X.device
    train, valid = (torch.from_numpy(part) for part in _hold_out(estimator, data))
    weight, index = data.sample_weight, valid.to(device)
    for name, part in (("are held out", valid), ("are left to train on", train)):
        if not weight[part].sum() > 0:
            raise ValueError(
                f"early_stopping=True: the rows that {name} have no weight. Drop rows whose "
                "sample_weight is 0, or set early_stopping=False."
            )
    valid_set = RowBlocks(
        select_rows(data.X, index),
        data.codes[index],
        weight[valid],
        family,
        estimator.fit_intercept,
    )
    weight = weight.clone().index_fill_(0, valid, 0)
    rows = RowBlocks(
        data.X, data.codes, weight, family, estimator.fit_intercept, index=train.to(device)
    )
    return rows, valid_set


def all_rows(estimator: Any, data: TrainingData, *, is_centred: bool = False) -> RowBlocks:
    """Return all of the rows as a training set."""
    return RowBlocks(
        data.X,
        data.codes,
        data.sample_weight,
        family_of(len(data.classes)),
        estimator.fit_intercept,
        is_centred=is_centred,
    )


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
