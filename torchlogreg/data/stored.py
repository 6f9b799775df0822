"""From blocks that are read to a validated training set."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import assert_all_finite, column_or_1d
from torch import Tensor
from tqdm.auto import tqdm

from torchlogreg.data.containers import ARRAYS, alias
from torchlogreg.data.labels import among_all, distinct, joined_labels, places_among
from torchlogreg.data.reader import Reader, changed
from torchlogreg.data.sharing import joined_features
from torchlogreg.data.sources import BlockSource
from torchlogreg.data.store import Draw, Store
from torchlogreg.data.training_data import Features, TrainingData, check_device
from torchlogreg.data.weights import row_weights
from torchlogreg.problem.families import family_of
from torchlogreg.problem.group import Group
from torchlogreg.problem.memory import memory_of

VECTORS_PER_LOGIT, VECTORS_PER_ROW = 6, 10
"""Numbers that a fit keeps for every logit of a row, and for every row besides."""

SAMPLED_PART, FEWEST_SAMPLED, SAMPLED_PER_COLUMN = 0.05, 20_000, 16
"""Rows of the sample: the part of all rows that it has; or so many, or so many per column."""

LEAST_BUDGET = 2**27
"""Bytes of a budget below which the sample does not become smaller: it would serve nobody."""

PART_OF_BUDGET, LARGEST_PART = 0.125, 0.5
"""The part of the budget that the sample may take; and if it has so few rows per column."""


def check_blocks(
    estimator: Any,
    source: BlockSource,
    y: Any,
    sample_weight: Any,
    class_weight: Any,
    device: str | torch.device | None,
    group: Group,
) -> TrainingData:
    """Find labels and weights in a pass; read the features in another, and look at them.

    Raises
    ------
    ValueError
        If labels are missing or given twice, or if data is unfit.
    """
    verbose = bool(estimator.verbose)
    with group.together():
        for name, value in (("y", y), ("sample_weight", sample_weight)):
            if value is not None:
                raise ValueError(
                    f"{name} must be None with blocks, which have a column of their own for it. "
                    f"Name it where they are made: see torchlogreg.blocks."
                )
        target_device = check_device(device, source)
        source.begin()
        sizes, sums, labels, codes, weight = _labels(source, verbose)
        tell_features(estimator, source)
    if group.size > 1:
        labels, codes = among_all(labels, codes, group)
    if len(labels) < 2:
        raise ValueError(
            f"The blocks have one class only, {labels.tolist()!r}: a classifier needs rows of at "
            "least two."
        )
    row_weight = row_weights(codes, weight, class_weight, labels, group)
    rows = codes, row_weight, len(labels)
    X = _features(source, (sizes, sums), rows, target_device, group, verbose)
    elsewhere = (0, 0)
    if group.size > 1:
        X, elsewhere = joined_features(estimator, X, group)
    return TrainingData(
        X=X,
        codes=torch.from_numpy(codes).to(target_device),
        sample_weight=alias(row_weight),
        classes=labels,
        container=ARRAYS,
        group=group,
        elsewhere=elsewhere,
    )


def _features(
    source: BlockSource,
    found: tuple[list[int], list[int | None]],
    rows: tuple[np.ndarray, np.ndarray, int],
    device: torch.device,
    group: Group,
    verbose: bool,
) -> Features:
    """Read the features for the first time: into a tensor, if it is within the budget of all.

    Sizes and checksums of the blocks are known; codes and weights of the rows, and the number of
    classes.
    """
    (sizes, sums), (codes, weight, n_classes) = found, rows
    n_outputs = family_of(n_classes).n_outputs(n_classes)
    kept = (VECTORS_PER_LOGIT * n_outputs + VECTORS_PER_ROW) * len(codes)
    budget = memory_of(torch.device("cpu")) / 4 if source.budget is None else source.budget
    rest = budget - kept * source.dtype.itemsize
    row_bytes = 0 if source.is_sparse else source.n_features * source.dtype.itemsize
    if not group.any(source.is_sparse or len(codes) * row_bytes > rest):
        with group.together():
            return _in_memory(source, sizes, sums, verbose).to(device)
    draw, n_drawn = _draw(source, codes, weight, n_classes, budget, group)
    with group.together(), _bar("reading", len(codes), verbose) as bar:
        most_bytes = int(rest - n_drawn * row_bytes)
        return Store(source, sizes, sums, draw, most_bytes, device, bar.update)


def tell_features(estimator: Any, source: BlockSource, *, is_new: bool = True) -> None:
    """Tell an estimator which features blocks have, or compare with those that it knows.

    Raises
    ------
    ValueError
        If they are others.
    """
    names = source.feature_names
    if is_new:
        estimator.n_features_in_ = source.n_features
        estimator.__dict__.pop("feature_names_in_", None)
        if names is not None:
            estimator.feature_names_in_ = np.array(names, dtype=object)
        return
    known = estimator.__dict__.get("feature_names_in_")
    if source.n_features != estimator.n_features_in_:
        raise ValueError(
            f"X has {source.n_features} features, but {type(estimator).__name__} is expecting "
            f"{estimator.n_features_in_} features as input."
        )
    if known is not None and names is not None and list(known) != names:
        raise ValueError(
            "The feature names should match those that were passed during fit: "
            f"{list(known)} then, {names} now. Name the columns with features=."
        )


def _labels(
    source: BlockSource, verbose: bool
) -> tuple[list[int], list[int | None], np.ndarray, np.ndarray, np.ndarray | None]:
    """Return sizes of blocks, and checksums; labels, the code of each row, and weights."""
    sizes, sums, parts = [], [], []
    weights: list[np.ndarray] = []
    with _bar("labels", None if source.sizes is None else sum(source.sizes), verbose) as bar:
        for number, (n_rows, (y, weight), found) in enumerate(source.labels_and_sums()):
            where = source.where(number)
            if y is None:
                raise ValueError(
                    "The blocks have no labels: a classifier needs them. Name target= or give y "
                    "where the blocks are made."
                )
            y = column_or_1d(y, warn=True)
            for name, of_rows in (("labels", y), ("weights", weight)):
                if of_rows is not None and of_rows.shape != (n_rows,):
                    raise ValueError(
                        f"{where} has {n_rows} rows and {name} of shape {of_rows.shape}: one for "
                        "each row is needed."
                    )
            try:
                assert_all_finite(y, input_name="y")
                parts.append(distinct(y))
            except (TypeError, ValueError) as error:
                raise type(error)(f"{where}: {error}") from error
            sizes.append(n_rows)
            sums.append(found)
            weights += [] if weight is None else [np.array(weight)]  # a copy: it may be used again
            bar.update(n_rows)
    if weights and len(weights) < len(sizes):
        raise ValueError("Some blocks have weights and others have none: give all of them weights.")
    labels = joined_labels([labels for labels, _ in parts])
    codes = [places_among(own, labels)[codes] for own, codes in parts]
    weight = np.concatenate(weights) if weights else None
    return sizes, sums, labels, np.concatenate(codes), weight


def _in_memory(
    source: BlockSource, sizes: list[int], sums: list[int | None], verbose: bool
) -> Tensor:
    """Read all blocks into one matrix."""
    X = source.empty(sum(sizes))
    reader, start = Reader(source, sizes, 0, 0, is_once=True), 0
    try:
        with _bar("reading", len(X), verbose) as bar:
            for number, (size, expected) in enumerate(zip(sizes, sums, strict=True)):
                block, found = reader.next()
                if expected is not None and found != expected:
                    raise changed(source, number)
                X[start : start + size] = source.checked(block, number).numpy()
                start += size
                bar.update(size)
        reader.finish()
    finally:
        reader.stop()
    return torch.from_numpy(X)


def _draw(
    source: BlockSource,
    codes: np.ndarray,
    weight: np.ndarray,
    n_classes: int,
    budget: float,
    group: Group,
) -> tuple[Draw, float]:
    """Return how the sample is drawn, half by weight and half by class; and its size, about."""
    own = np.bincount(codes, weight, minlength=n_classes).astype(np.float64)  # also without rows
    counts = np.bincount(codes, minlength=n_classes).astype(np.float64)
    totals, counts = (t.numpy() for t in group.total(*map(torch.from_numpy, (own, counts))))
    n_rows = counts.sum()
    wanted = max(SAMPLED_PART * n_rows, FEWEST_SAMPLED, SAMPLED_PER_COLUMN * source.n_features)
    if not source.is_sparse:
        row_bytes = source.n_features * source.dtype.itemsize
        most = max(budget, LEAST_BUDGET) * group.size / row_bytes
        few = min(SAMPLED_PER_COLUMN * source.n_features, LARGEST_PART * most)
        wanted = min(wanted, max(PART_OF_BUDGET * most, few))
    wanted = max(wanted, 2 * n_classes)
    per_class = 0.5 * wanted / (np.count_nonzero(counts) * np.maximum(counts, 1))
    draw = Draw(codes, weight, 0.5 * wanted / totals.sum(), per_class, seed=group.rank)
    return draw, min(wanted, n_rows) / group.size


def _bar(what: str, total: int | None, verbose: bool) -> Any:
    return tqdm(total=total, desc=what, unit="row", unit_scale=True, disable=not verbose)
