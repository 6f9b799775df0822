"""The folds of a cross-validation, and the weights that their rows have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from sklearn.model_selection import check_cv
from torch import Tensor

from torchlogreg.data.containers import as_numpy
from torchlogreg.data.sources import BlockSource
from torchlogreg.data.training_data import TrainingData
from torchlogreg.data.weights import row_weights

Fold = tuple[np.ndarray, np.ndarray]
"""Indices of the rows to fit, and of those to score."""

N_FOLDS = 5
"""Folds by default."""


def folds_of(cv: Any, X: Any, data: TrainingData, params: Mapping[str, Any]) -> list[Fold]:
    """Return the folds: of the rows that other processes have, too, only the part of this one.

    Parameters
    ----------
    cv : int, splitter, iterable or None
        What users give.
    X : array-like or Tensor
        Their features.
    data : TrainingData
        The same, validated, with labels.
    params : mapping
        What the splitter is given besides.

    Raises
    ------
    ValueError
        If there is no fold, or if one has no row to fit or to score, or rows that are not there.
    """
    group, labels = data.group, data.classes[as_numpy(data.codes)]
    is_stored = isinstance(X, BlockSource)
    if group.size == 1:
        X = np.arange(len(labels))[:, None] if is_stored else for_splitters(X)
        return split_rows(cv, X, labels, params)
    if params:
        raise ValueError(
            f"The splitter is given {', '.join(params)}, which several processes cannot do. Give "
            "cv as a list of folds: indices of all rows, in the order of the processes."
        )
    every, folds = np.concatenate(group.gathered(labels)), []
    with group.together():
        # A splitter may be random: that of the first process decides.
        if group.rank == 0:
            folds = split_rows(cv, np.arange(len(every))[:, None], every, params)
    folds, start = group.gathered(folds)[0], sum(group.gathered(len(labels))[: group.rank])
    return [
        (_own_part(train, start, len(labels)), _own_part(test, start, len(labels)))
        for train, test in folds
    ]


def split_rows(cv: Any, X: Any, labels: np.ndarray, params: Mapping[str, Any]) -> list[Fold]:
    """Return the folds of rows with these labels."""
    if cv is None:
        most = max(np.unique(labels, return_counts=True)[1].tolist())
        cv = max(min(N_FOLDS, most), 2)
    splitter = check_cv(cv, labels, classifier=True)
    every, checked = np.arange(len(labels)), []
    for number, fold in enumerate(splitter.split(X, labels, **params)):
        try:
            train, test = (every[np.asarray(part)] if len(part) else every[:0] for part in fold)
        except (IndexError, TypeError, ValueError) as error:
            raise ValueError(
                f"cv: fold {number} must be two lists of rows, to fit and to score: indices below "
                f"{len(every)}, or masks of that length ({error})."
            ) from error
        for part, verb in ((train, "fit"), (test, "score")):
            if not len(part):
                raise ValueError(f"cv: fold {number} has no row to {verb}. Split otherwise.")
        checked.append((train, test))
    if not checked:
        raise ValueError("cv has no folds: give two of them, or more.")
    return checked


def _own_part(index: np.ndarray, start: int, n_rows: int) -> np.ndarray:
    """Return which of the rows of an index are those from a start on, counted from there."""
    return index[(index >= start) & (index < start + n_rows)] - start


def fold_weights(
    data: TrainingData, folds: list[Fold], class_weight: Any, *, with_all: bool
) -> Tensor:
    """Return row weights (n_folds, n), and another row for all of them if asked.

    A row that a fold holds out has the weight 0; one that it has twice counts twice.
    """
    raw = data.sample_weight.numpy()
    problems = []
    for number, (train, _) in enumerate(folds):
        own = raw * np.bincount(train, minlength=len(raw))
        if not data.group.any(bool(own.any())):
            raise ValueError(
                f"cv: the rows that fold {number} fits have no weight. Drop rows whose "
                "sample_weight is 0, or split otherwise."
            )
        problems.append((own, class_weight))
    if with_all:
        problems.append((raw, class_weight))
    return problem_weights(data, problems)


def problem_weights(data: TrainingData, problems: list[tuple[np.ndarray, Any]]) -> Tensor:
    """Return row weights (B, n) from the ``sample_weight`` and ``class_weight`` of each problem."""
    codes = as_numpy(data.codes)
    weights = [
        row_weights(codes, sample_weight, class_weight, data.classes, data.group)
        for sample_weight, class_weight in problems
    ]
    return torch.from_numpy(np.stack(weights))


def for_splitters(X: Any) -> Any:
    """Return features as splitters know them; of a tensor on a GPU, or a sparse one, the places."""
    is_foreign = isinstance(X, Tensor) and (X.is_cuda or X.layout is not torch.strided)
    return np.arange(len(X))[:, None] if is_foreign else as_numpy(X)
