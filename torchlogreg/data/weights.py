"""Weights of rows: those that users give, times those of their classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.validation import _check_sample_weight

from torchlogreg.data.containers import as_numpy
from torchlogreg.problem.group import ALONE, Group


def row_weights(
    codes: np.ndarray,
    sample_weight: Any,
    class_weight: dict[Any, float] | str | None,
    classes: np.ndarray,
    group: Group = ALONE,
) -> np.ndarray:
    """Row weights (n,) times class weights.

    "balanced" is by the weights of all rows, also of those that other processes have.

    Raises
    ------
    ValueError
        If they are negative or all zero, or overflow.
    """
    if not group.any(sample_weight is not None or class_weight is not None):
        return np.ones(len(codes))
    with group.together():
        given = as_numpy(sample_weight)
        weight: np.ndarray = np.zeros(len(codes))
        is_zero = group.size > 1 and (  # which others may make up for
            not len(codes) or (given is not None and not np.any(np.asarray(given)))
        )
        if not is_zero:
            weight = _check_sample_weight(given, codes, dtype=np.float64, ensure_non_negative=True)
    if class_weight is not None:
        product, per_class = _times_class_weights(weight, codes, class_weight, classes, group)
        with group.together():
            if np.isinf(product).any() and np.isfinite(per_class).all():
                raise ValueError(
                    f"sample_weight times class_weight={class_weight!r} overflows. Divide "
                    "sample_weight by a constant, and multiply C by it."
                )
        weight = product
        is_positive = group.any(bool(weight.any()))
        with group.together():
            check_class_weights(weight, class_weight, is_positive=is_positive)
    if not group.any(bool((weight > 0).any())):
        raise ValueError(
            "The row weights sum to zero: sample_weight times class_weight must be positive "
            "for some row."
        )
    return weight


def check_class_weights(
    weight: np.ndarray, class_weight: Any, *, is_positive: bool | None = None
) -> None:
    """Refuse weights that no objective can have, given by ``class_weight``."""
    is_positive = bool(weight.any()) if is_positive is None else is_positive
    if not (np.isfinite(weight).all() and (weight >= 0).all() and is_positive):
        raise ValueError(
            f"class_weight={class_weight!r} gives weights that are negative or not finite, or all "
            "zero. Every class needs a finite weight of at least 0, and one of them more."
        )


def _times_class_weights(
    weight: np.ndarray, codes: np.ndarray, class_weight: Any, classes: np.ndarray, group: Group
) -> tuple[np.ndarray, np.ndarray]:
    """Return row weights times those of their classes, and these."""
    largest = group.largest(torch.tensor([weight.max(initial=1.0)])).item()
    # Divided so that their sum does not overflow.
    own = np.bincount(codes, weight / largest, minlength=len(classes)).astype(np.float64)
    (totals,) = group.total(torch.from_numpy(own))
    # A class may be without any weight, and products may overflow.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        per_class = compute_class_weight(
            class_weight, classes=classes, y=classes, sample_weight=totals.numpy()
        )
        return np.where(weight > 0, weight * per_class[codes], 0), per_class
