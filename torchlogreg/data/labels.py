"""Labels of any kind, and the codes 0..K-1 that they become."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from sklearn.utils.multiclass import check_classification_targets

from torchlogreg.problem.group import ALONE, Group


def encode_labels(
    y: np.ndarray, classes: Any = None, group: Group = ALONE
) -> tuple[np.ndarray, np.ndarray]:
    """Turn labels into codes 0..K-1; return these and the classes, sorted.

    The classes are those of all processes, if others have rows, too.

    Raises
    ------
    ValueError
        If the labels are not discrete, if there is only one class, or if one is not among the
        given ``classes``.
    """
    with group.together():
        labels, codes = distinct(y) if classes is None else (_sorted_classes(classes), None)
    if group.size > 1 and codes is not None:
        labels, codes = among_all(labels, codes, group)
    if len(labels) < 2:
        raise ValueError(
            f"y has one class only, {labels.tolist()!r}: a classifier needs rows of at least two."
        )
    return _codes_of(y, labels) if codes is None else codes, labels


def among_all(labels: np.ndarray, codes: np.ndarray, group: Group) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels of all processes, and the code of each row among these."""
    every = joined_labels(group.gathered(labels))
    return every, places_among(labels, every)[codes]


def joined_labels(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Return the labels of several parts of the data, sorted.

    Raises
    ------
    TypeError
        If they cannot be sorted.
    """
    given = [part for part in parts if len(part)]
    known = {label for part in given for label in part.tolist()}
    try:
        every = sorted(known)
    except TypeError as error:
        raise _unsortable(known, error) from error
    dtypes = [part.dtype for part in given]
    return np.array(every, dtype=np.result_type(*dtypes) if dtypes else np.float64)


def places_among(labels: np.ndarray, every: np.ndarray) -> np.ndarray:
    """Return the place of some labels among all."""
    places = {label: place for place, label in enumerate(every.tolist())}
    return np.array([places[label] for label in labels.tolist()], dtype=np.intp)


def distinct(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels that there are, sorted, and the code of each row."""
    if not len(y):
        return y, np.empty(0, dtype=np.intp)
    if y.dtype.kind in "iu" and y.dtype != np.uint64 and len(y):
        low, high = int(y.min()), int(y.max())
        if high - low < len(y) // 2:  # counting is faster than sorting
            shifted = y.astype(np.int64) - low
            is_there = np.bincount(shifted, minlength=high - low + 1) > 0
            labels = np.arange(low, high + 1)[is_there].astype(y.dtype)
            return labels, (is_there.cumsum() - 1)[shifted]
    check_classification_targets(y)
    try:
        labels, codes = np.unique(y, return_inverse=True)
    except TypeError as error:
        raise _unsortable(y.tolist(), error) from error
    return labels, codes.reshape(y.shape)


def _unsortable(labels: Iterable[Any], error: TypeError) -> TypeError:
    kinds = sorted({type(label).__name__ for label in labels})
    return TypeError(
        f"y has labels of the types {kinds}, which cannot be sorted: {error}. Use uniformly "
        "strings or numbers."
    )


def _sorted_classes(classes: Any) -> np.ndarray:
    """Return the classes that were named, sorted."""
    array = np.asarray(classes)
    if array.dtype.kind in "US" and not all(isinstance(label, (str, bytes)) for label in classes):
        raise ValueError(f"classes={classes!r} mixes strings and numbers. Use one or the other.")
    return np.unique(array)


def _codes_of(y: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the code of each row's label among the classes.

    Labels are compared as Python compares them, which never turns one into another: NumPy casts
    "catfish" to "cat" for classes of three letters, and 257 to 1 for classes of eight bits.
    """
    codes = {label: code for code, label in enumerate(classes.tolist())}
    inverse: Any
    if y.dtype.kind == "O":  # may hold what cannot be sorted
        labels, inverse = y, slice(None)
    else:
        labels, inverse = np.unique(y, return_inverse=True)
    unknown = [label for label in dict.fromkeys(labels.tolist()) if label not in codes]
    if unknown:
        raise ValueError(
            f"y has labels that are not among the classes {classes!r}: {unknown[:5]!r}. Name all "
            "classes in advance, or begin again with fit."
        )
    code: np.ndarray = np.array([codes[label] for label in labels.tolist()], dtype=np.intp)
    return np.reshape(code[inverse], y.shape)
