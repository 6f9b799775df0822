"""Rows that several processes have, each some of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import Tensor

from torchlogreg.data.training_data import Features, n_entries_of
from torchlogreg.problem.group import ALONE, Group


@dataclass(frozen=True, eq=False)
class Share:
    """What a process gives in the place of X: its own features, and who has the others."""

    X: Any
    """Features of the rows of this process; None for no rows."""

    group: Group
    """All of the processes."""


def opened(X: Any) -> tuple[Any, Group]:
    """Return the features of this process, and the processes."""
    return (X.X, X.group) if isinstance(X, Share) else (X, ALONE)


def has_no_rows(X: Any) -> bool:
    """Whether there are no rows: only a process among others may have none."""
    shape = getattr(X, "shape", None)
    return X is None or (shape[0] if shape else len(X)) == 0


def joined_features(
    estimator: BaseEstimator, X: Features | None, group: Group
) -> tuple[Features, tuple[int, int]]:
    """Compare what the processes have; give one without rows an empty matrix.

    Returns the features, and the numbers of rows and entries that the others have.

    Raises
    ------
    ValueError
        In all processes, if they disagree on features or parameters, or if none has rows.
    """
    facts = None
    if X is not None:
        facts = {
            "number of features": X.shape[1],
            "names of the features": _names(estimator),
            "dtype of X": X.dtype,
            "layout of X": X.layout,
        }
        size = (len(X), n_entries_of(X))
    else:
        size = (0, 0)
    every = group.gathered((facts, _parameters(estimator), size))
    known = [(rank, facts) for rank, (facts, *_) in enumerate(every) if facts is not None]
    if not known:
        raise ValueError(f"None of the {group.size} processes has rows: a fit needs some.")
    _compare(known, "Give all of them the same columns, in the same dtype and container.")
    parameters = [(rank, given) for rank, (_, given, _) in enumerate(every)]
    _compare(parameters, "Give all of them the same estimator.")
    n_rows, n_entries = (sum(s[part] for *_, s in every) - size[part] for part in (0, 1))
    if X is None:
        X = _empty(estimator, known[0][1])
    return X, (n_rows, n_entries)


def stacked(parts: Sequence[Tensor]) -> Tensor:
    """Put the rows of matrices, dense or CSR, below each other."""
    if parts[0].layout is torch.strided:
        return torch.cat(list(parts))
    counts = torch.cat([part.crow_indices().diff() for part in parts])
    start = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return torch.sparse_csr_tensor(
        start,
        torch.cat([part.col_indices() for part in parts]).to(start.dtype),
        torch.cat([part.values() for part in parts]),
        size=(len(counts), parts[0].shape[1]),
    )


def _compare(facts: list[tuple[int, dict[str, Any]]], remedy: str) -> None:
    """Refuse facts that differ from those of the first."""
    first, expected = facts[0]
    for rank, found in facts[1:]:
        for name in dict.fromkeys([*expected, *found]):
            one, other = expected.get(name), found.get(name)
            if one != other and not (one != one and other != other):  # which nan is not
                raise ValueError(
                    f"The processes disagree on the {name}: {_short(one)} in process {first}, "
                    f"{_short(other)} in process {rank}. {remedy}"
                )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _names(estimator: Any) -> list[str] | None:
    names = getattr(estimator, "feature_names_in_", None)
    return None if names is None else list(names)


def _parameters(estimator: Any) -> dict[str, Any]:
    """Class of an estimator, and those of its parameters that can be compared."""
    given = estimator.get_params(deep=False)
    compared = {f"parameter {name}": _plain(value) for name, value in given.items()}
    compared.pop("parameter device")
    return {"class of the estimator": type(estimator).__name__, **compared}


def _plain(value: Any) -> Any:
    """Return what a value is made of, as numbers, strings and tuples; of others, their class."""
    if isinstance(value, (np.ndarray, np.generic)):
        return _plain(value.tolist())
    if isinstance(value, (tuple, list)):
        return tuple(_plain(entry) for entry in value)
    if isinstance(value, dict):
        return tuple((_plain(key), _plain(entry)) for key, entry in value.items())
    if isinstance(value, (bool, int, float, str, type(None))):
        return value
    inside = getattr(value, "__dict__", {}) if hasattr(value, "split") else {}
    return type(value).__name__, _plain(inside)


def _empty(estimator: Any, facts: dict[str, Any]) -> Tensor:
    """Return a matrix without rows that agrees with the others', and tell the estimator of it."""
    n_features, names = facts["number of features"], facts["names of the features"]
    estimator.n_features_in_ = n_features
    estimator.__dict__.pop("feature_names_in_", None)
    if names is not None:
        estimator.feature_names_in_ = np.array(names, dtype=object)
    X = torch.zeros(0, n_features, dtype=facts["dtype of X"], device="cpu")
    return X if facts["layout of X"] is torch.strided else X.to_sparse_csr()
