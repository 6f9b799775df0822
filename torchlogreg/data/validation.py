"""The one door: what users pass becomes tensors here, and results leave in the user's container.

NumPy arrays, pandas and polars frames and SciPy sparse matrices go through scikit-learn's own
validation; torch tensors are held to the same rules without leaving their device. Nothing is
copied unless its dtype or device has to change.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.validation import (
    _check_sample_weight,
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
from torchlogreg.problem.threads import threads_for

_LOW_PRECISION = (torch.bfloat16, torch.float16)
"""What dense tensors may keep: they are read as float32."""


@dataclass(frozen=True, eq=False)
class TrainingData:
    """A validated training set. Shapes: see :mod:`torchlogreg.problem.objective`."""

    X: Tensor
    """Features (n, d), dense or CSR: float32 or float64, bfloat16 or float16 if dense."""

    codes: Tensor
    """Class codes (n,)."""

    sample_weight: Tensor
    """Row weights (n,), class weights included: float64, on the CPU."""

    classes: np.ndarray
    """Labels (K,), sorted."""

    container: Container
    """What the features came in, and the model goes out in."""


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
    y, container = as_numpy(y), container_of(X)
    if container is not ARRAYS:
        X = X if isinstance(X, Tensor) else from_library(X)
        X = _check_tensor(estimator, X, reset=reset)
        if y is None:
            raise ValueError("y=None: a classifier needs the labels of the rows of X.")
        y = column_or_1d(y, warn=True)
        assert_all_finite(y, input_name="y")
        check_consistent_length(X, y)
    else:
        X, y = validate_data(
            estimator, X, y, accept_sparse="csr", dtype=[np.float64, np.float32], reset=reset
        )
    codes, classes = encode_labels(y, classes)
    target_device = check_device(device, X)
    X = as_tensor(X, target_device)
    weight = row_weights(y, codes, sample_weight, class_weight, classes)
    return TrainingData(
        X=X,
        codes=torch.from_numpy(codes).to(target_device),
        sample_weight=alias(weight),
        classes=classes,
        container=container,
    )


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
    if not _is_finite(values):
        raise ValueError("Input X contains NaN or infinity. Drop or impute these entries.")
    return X


def _is_finite(values: Tensor) -> bool:
    """Whether there is neither NaN nor infinity."""
    with threads_for(values.numel(), values.device):
        return bool(values.isfinite().all())


def check_device(device: str | torch.device | None, X: Any) -> torch.device:
    """Turn the parameter ``device`` into a device that can hold X."""
    if device is None:
        return X.device if isinstance(X, Tensor) else torch.device("cpu")
    try:
        torch.ones(1, device=device).cpu()
        target = torch.device(device)
    except Exception as error:  # each backend has its own way to say that it is not there
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"device={device!r} cannot be used here: {reason} "
            "Use 'cpu', or None for the device of X."
        ) from error
    if target.type == "mps" and X.dtype in (np.float64, torch.float64):
        raise ValueError(f"device={device!r} has no float64 and X is float64. Pass X as float32.")
    return target


def row_weights(
    y: np.ndarray,
    codes: np.ndarray,
    sample_weight: Any,
    class_weight: dict[Any, float] | str | None,
    classes: np.ndarray,
) -> np.ndarray:
    """Row weights (n,) times class weights.

    Raises
    ------
    ValueError
        If they are negative or all zero, or overflow.
    """
    if sample_weight is None and class_weight is None:
        return np.ones(len(codes))
    weight: np.ndarray = _check_sample_weight(
        as_numpy(sample_weight), codes, dtype=np.float64, ensure_non_negative=True
    )
    if class_weight is not None:
        # A class may be without any weight, and products may overflow.
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            per_class = compute_class_weight(
                class_weight,
                classes=classes,
                y=y,
                sample_weight=weight
                / max(weight.max(), 1.0),  # so that their sum does not overflow
            )
            product = np.where(weight > 0, weight * per_class[codes], 0)
        if np.isinf(product).any() and np.isfinite(per_class).all():
            raise ValueError(
                f"sample_weight times class_weight={class_weight!r} overflows. Divide "
                "sample_weight by a constant, and multiply C by it."
            )
        weight = product
        check_class_weights(weight, class_weight)
    if not (weight > 0).any():
        raise ValueError(
            "The row weights sum to zero: sample_weight times class_weight must be positive "
            "for some row."
        )
    return weight


def check_class_weights(weight: np.ndarray, class_weight: Any) -> None:
    """Refuse weights that no objective can have, given by ``class_weight``."""
    if not (np.isfinite(weight).all() and (weight >= 0).all() and weight.any()):
        raise ValueError(
            f"class_weight={class_weight!r} gives weights that are negative or not finite, or all "
            "zero. Every class needs a finite weight of at least 0, and one of them more."
        )
