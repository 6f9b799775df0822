"""Folds in the order in which users count rows, where processes have them in another one."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np

from torchlogreg.estimators.folds import split_rows
from torchlogreg.problem.group import Group


class RowOrder:
    """A splitter that knows where the processes have the rows.

    Parameters
    ----------
    cv : int, splitter, iterable or None
        Folds of the rows as users count them.
    places : ndarray of shape (n,)
        Place of each of these rows among those of the processes.
    """

    def __init__(self, cv: Any, places: np.ndarray) -> None:
        self.cv, self.places = cv, places

    def split(self, X: Any, y: Any, groups: Any = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Return the folds of the rows of the processes."""
        for train, test in split_rows(self.cv, X, y[self.places], {}):
            yield self.places[train], self.places[test]

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of folds."""
        return len(list(self.split(X, y)))


def in_row_order(estimator: Any, lengths: dict[int, int], group: Group) -> Any:
    """Return an estimator whose folds are those of the partitions one after the other.

    Parameters
    ----------
    estimator : estimator
        With a parameter ``cv``; another one is returned as it is.
    lengths : dict of int to int
        Rows of each partition that this process has, in the order in which it has them.
    group : Group
        The processes.
    """
    every = {
        part: n_rows for lengths in group.gathered(lengths) for part, n_rows in lengths.items()
    }
    if not hasattr(estimator, "cv") or list(every) == sorted(every):
        return estimator
    ends = np.cumsum(list(every.values()))
    rows = {
        part: np.arange(end - n_rows, end)
        for (part, n_rows), end in zip(every.items(), ends, strict=True)
    }
    estimator = copy.copy(estimator)
    estimator.cv = RowOrder(estimator.cv, np.concatenate([rows[part] for part in sorted(rows)]))
    return estimator
