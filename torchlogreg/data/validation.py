"""The one door: what users pass becomes tensors here, and results leave in the user's container.

NumPy arrays, pandas and polars frames and SciPy sparse matrices go through scikit-learn's own
validation; torch tensors are held to the same rules without leaving their device. Nothing is
copied unless its dtype or device has to change.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import (
    assert_all_finite,
    check_consistent_length,
    column_or_1d,
    validate_data,
)
from torch import Tensor

from torchlogreg.data.containers import (
    ARRAYS,
    Container,
    alias,
    as_numpy,
    as_tensor,
    container_of,
    from_library,
)
from torchlogreg.data.labels import encode_labels
from torchlogreg.data.sharing import has_no_rows, joined_features, opened
from torchlogreg.data.sources import BlockSource, agreed_source
from torchlogreg.data.stored import check_blocks
from torchlogreg.data.training_data import TrainingData, check_device, is_finite
from torchlogreg.data.weights import row_weights
from torchlogreg.problem.group import Group

_LOW_PRECISION = (torch.bfloat16, torch.float16)
"""What dense tensors may keep: they are read as float32."""


def check_training_data(
    estimator: BaseEstimator,
    X: Any,
    y: Any,
    sample_weight: Any,
    class_weight: dict[Any, float] | str | None,
    device: str | torch.device | None,
    *,
    classes: Any = None,
    reset: bool = True,
) -> TrainingData:
    """Validate the arguments of ``fit`` or ``partial_fit``.

    The latter names the ``classes``, and with ``reset=False`` goes on with the features that it
    has seen before.

    Raises
    ------
    ValueError
        If the features are not a finite matrix, the labels not discrete or all the same, the
        weights negative or all zero, or the device not to be had.
    """
    X, group = opened(X)
    X = agreed_source(X, group)
    if isinstance(X, BlockSource):
        return check_blocks(estimator, X, y, sample_weight, class_weight, device, group)
    with group.together():
        X, y, container = _checked(estimator, X, y, group, reset=reset)
        target_device = check_device(device, X)
        X = None if X is None else as_tensor(X, target_device)
    elsewhere = (0, 0)
    if group.size > 1:
        X, elsewhere = joined_features(estimator, X, group)
    assert X is not None
    codes, classes = encode_labels(y, classes, group)
    weight = row_weights(codes, sample_weight, class_weight, classes, group)
    return TrainingData(
        X=X.to(target_device),
        codes=torch.from_numpy(codes).to(target_device),
        sample_weight=alias(weight),
        classes=classes,
        container=container,
        group=group,
        elsewhere=elsewhere,
    )


def _checked(
    estimator: BaseEstimator, X: Any, y: Any, group: Group, *, reset: bool
) -> tuple[Any, np.ndarray, Container]:
    """Validate features and labels: these and their container; None for no features."""
    y, container = as_numpy(y), container_of(X)
    if group.size > 1 and has_no_rows(X):
        return None, np.empty(0), container
    if container is ARRAYS:
        X, y = validate_data(
            estimator, X, y, accept_sparse="csr", dtype=[np.float64, np.float32], reset=reset
        )
        return X, y, container
    X = X if isinstance(X, Tensor) else from_library(X)
    X = _check_tensor(estimator, X, reset=reset)
    if y is None:
        raise ValueError("y=None: a classifier needs the labels of the rows of X.")
    y = column_or_1d(y, warn=True)
    assert_all_finite(y, input_name="y")
    check_consistent_length(X, y)
    return X, y, container


def check_features(estimator: BaseEstimator, X: Any) -> Any:
    """Validate the features given to a fitted estimator: a tensor, or what scikit-learn takes.

    Raises
    ------
    ValueError
        If they are unfit.
    """
    if container_of(X) is not ARRAYS:
        X = X if isinstance(X, Tensor) else from_library(X)
        return _check_tensor(estimator, X, reset=False)
    return validate_data(
        estimator, X, accept_sparse="csr", dtype=[np.float64, np.float32], reset=False
    )


def feature_blocks(X: Any, n_outputs: int, most_entries: int = 2**22) -> Iterator[Any]:
    """Cut validated features into blocks of rows that have at most so many logits."""
    size = max(most_entries // n_outputs, 1)
    if X.shape[0] <= size or (isinstance(X, Tensor) and X.layout is not torch.strided):
        yield X
    else:
        for start in range(0, X.shape[0], size):
            yield X[start : start + size]


def _check_tensor(estimator: BaseEstimator, X: Tensor, *, reset: bool) -> Tensor:
    """Hold a tensor to scikit-learn's rules for X."""
    if X.ndim != 2:
        raise ValueError(
            f"Expected X of shape (n_samples, n_features), got a tensor of shape "
            f"{tuple(X.shape)}. Use X.reshape(-1, 1) for a single feature or "
            "X.reshape(1, -1) for a single sample."
        )
    if X.layout not in (torch.strided, torch.sparse_csr):
        raise ValueError(
            f"X has the layout {X.layout}; dense tensors and torch.sparse_csr are accepted. "
            "Use X.to_sparse_csr() or X.to_dense()."
        )
    if X.is_complex():
        raise ValueError(f"X has the dtype {X.dtype}: complex data is not supported.")
    if 0 in X.shape:
        raise ValueError(f"Found no samples or no features in X of shape {tuple(X.shape)}.")
    validate_data(estimator, X, skip_check_array=True, reset=reset)
    X = X.detach()
    if X.dtype in _LOW_PRECISION and X.layout is not torch.strided:
        X = X.to(torch.float32)
    elif X.dtype not in (torch.float32, torch.float64, *_LOW_PRECISION):
        X = X.to(torch.float64)
    values = X if X.layout is torch.strided else X.values()
    if not is_finite(values):
        raise ValueError("Input X contains NaN or infinity. Drop or impute these entries.")
    return X
