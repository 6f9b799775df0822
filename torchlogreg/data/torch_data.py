"""What data sets of torch tell of themselves, and what their batches are."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset

from torchlogreg.data.containers import as_numpy


def labels_of(dataset: Any) -> np.ndarray | None:
    """Labels (n,) of a data set, without reading its rows; None if it does not tell.

    They are looked for where torch and torchvision keep them: in ``targets``, ``labels``, or the
    last of ``tensors``, also below :class:`~torch.utils.data.Subset` and
    :class:`~torch.utils.data.ConcatDataset`. A data set that transforms its targets does not tell:
    the labels are those that its items carry.
    """
    if transforms_targets(dataset):
        return None
    if isinstance(dataset, Subset):
        labels = labels_of(dataset.dataset)
        return None if labels is None else labels[np.asarray(dataset.indices)]
    if isinstance(dataset, ConcatDataset):
        parts = [labels_of(part) for part in dataset.datasets]
        known = [part for part in parts if part is not None]
        return np.concatenate(known) if len(known) == len(parts) else None
    tensors: tuple[Any, ...] = getattr(dataset, "tensors", ())
    labels = tensors[-1] if len(tensors) == 2 else None
    for name in ("labels", "targets"):
        labels = getattr(dataset, name, labels)
    if labels is None:
        return None
    array = np.asarray(as_numpy(labels))
    return array.reshape(-1) if array.ndim == 2 and array.shape[1] == 1 else array


def transforms_targets(dataset: Any) -> bool:
    """Whether a data set of torchvision's kind gives other labels than it holds."""
    joint = getattr(dataset, "transforms", None)  # of features and target at once
    is_joint = joint is not None and getattr(joint, "target_transform", joint) is not None
    return is_joint or getattr(dataset, "target_transform", None) is not None


def length_of(dataset: Any) -> int | None:
    """Return the number of rows of a data set; None if it does not tell."""
    return len(dataset) if hasattr(dataset, "__len__") else None


def is_loaded(X: Any) -> bool:
    """Whether features come batch by batch, from a data set or a loader of torch."""
    return isinstance(X, (Dataset, DataLoader))


def batches_of(
    data: Any, *, with_labels: bool = False, batch_size: int = 1000
) -> Iterator[tuple[Tensor, Any]]:
    """Yield features (n_rows, d) and labels of a data set or loader, batch by batch, in its order.

    Where no labels are asked for, the items need not have them: they are None then.

    Raises
    ------
    ValueError
        If there are no rows, or labels are missing.
    """
    loader = data if isinstance(data, DataLoader) else DataLoader(data, batch_size)
    is_empty = True
    for batch in loader:
        is_alone = isinstance(batch, Tensor)
        if not with_labels and (is_alone or (isinstance(batch, (tuple, list)) and batch)):
            batch = (batch if is_alone else batch[0], None)
        features, labels = features_and_labels(batch)
        is_empty = False
        yield features.flatten(1), labels
    if is_empty:
        raise ValueError(f"X={data!r} is empty: there is nothing to predict for.")


def features_and_labels(batch: Any) -> tuple[Tensor, Any]:
    """Features and labels of a batch."""
    if not (isinstance(batch, (tuple, list)) and len(batch) == 2):
        raise ValueError(
            f"A batch of the data is a {type(batch).__name__}, not a pair of features and labels: "
            "a classifier needs labels. Use TensorDataset(X, y), or a data set whose items are "
            "pairs."
        )
    try:
        features = torch.as_tensor(batch[0])
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"The features of a batch of the data are a {type(batch[0]).__name__}, not a tensor: "
            f"{error}. Let the items have tensors or arrays."
        ) from error
    labels = batch[1]
    if features.ndim < 2:
        raise ValueError(
            f"A batch of the data has features of shape {tuple(features.shape)}: rows of features "
            "are needed. Give the loader a batch_size, and rows one feature at least."
        )
    return features, None if labels is None else labels_of_batch(labels, len(features))


def labels_of_batch(labels: Any, n_rows: int) -> np.ndarray:
    """Return labels (n_rows,): a column is flattened, as it is where arrays are fitted.

    Raises
    ------
    ValueError
        If there is not one label for each row.
    """
    array = np.asarray(as_numpy(labels))
    if array.shape not in ((n_rows,), (n_rows, 1)):
        raise ValueError(
            f"A batch of {n_rows} rows has labels of shape {array.shape}: one for each row is "
            "needed. Of one-hot labels, give argmax(-1)."
        )
    return array.reshape(-1)


@contextmanager
def generators_kept() -> Iterator[None]:
    """Leave the global generators as they were: transforms may draw from them."""
    state, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(state)
        np.random.set_state(legacy)  # noqa: NPY002
