"""Blocks that a callable makes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch

from torchlogreg.data.containers import as_numpy
from torchlogreg.data.files import floats_of
from torchlogreg.data.sources import Allocate, BlockSource, Labels, checksum, tensor_of


class IterableSource(BlockSource):
    """Blocks that a callable makes anew for every pass.

    Parameters
    ----------
    make_blocks : callable
        Returns an iterable of features, or of tuples of features, labels and maybe weights.
    budget : int or None
        As for :class:`BlockSource`.
    """

    def __init__(self, make_blocks: Callable[[], Any], budget: int | None) -> None:
        if not callable(make_blocks):
            raise TypeError(
                f"make_blocks={make_blocks!r} must be a callable that returns the blocks anew for "
                "every pass: an iterator can be read once only. Write lambda: ... ."
            )
        self.budget, self._make = budget, make_blocks
        made = make_blocks()
        if isinstance(made, Iterator) and made is make_blocks():
            raise ValueError(
                f"make_blocks={make_blocks!r} returns the same iterator again: it is read to its "
                "end once only. Let it make a new one whenever it is called."
            )
        first = next(self._made(), None)
        if first is None:
            raise ValueError(f"make_blocks={make_blocks!r} makes no block: a fit needs rows.")
        X = first[0]
        self.n_features, self.feature_names = X.shape[1], first[2]
        self.is_sparse = hasattr(X, "tocsr")
        self.dtype = floats_of(X.dtype)

    def labels(self) -> Iterator[tuple[int, Labels]]:
        """Yield the number of rows of every block, their labels and weights."""
        for X, labels, _ in self._made():
            yield X.shape[0], labels

    def labels_and_sums(self) -> Iterator[tuple[int, Labels, int | None]]:
        """Yield the same with checksums of the features, which are made with the labels."""
        for X, labels, names in self._made():
            yield X.shape[0], labels, checksum(self._checked_block(X, names, self.empty))

    def blocks(self) -> Iterator[tuple[torch.Tensor, Labels]]:
        """Yield features, labels and weights, as they are made together."""
        for number, (X, labels, names) in enumerate(self._made()):
            block = self._checked_block(X, names, self.empty)
            yield self.checked(tensor_of(block), number), labels

    def read(self, start: int, allocate: Allocate) -> Iterator[Any]:
        """Yield the features of the blocks from one on."""
        for X, _, names in islice(self._made(), start, None):
            yield self._checked_block(X, names, allocate)

    def _checked_block(self, X: Any, names: list[str] | None, allocate: Allocate) -> Any:
        """Return features as the first block has them."""
        is_alike = hasattr(X, "tocsr") == self.is_sparse and X.shape[1] == self.n_features
        if not is_alike or names != self.feature_names:
            others = "" if names == self.feature_names else f" and the columns {names}"
            raise ValueError(
                f"make_blocks makes blocks of {self.n_features} columns, and one of shape "
                f"{X.shape}{others} that is a {type(X).__name__}: all must be alike."
            )
        if np.result_type(self.dtype, floats_of(X.dtype)) != self.dtype:
            raise ValueError(
                f"make_blocks makes a block of dtype {X.dtype}, and the first was read as "
                f"{self.dtype}: digits would be lost. Give all blocks the same dtype."
            )
        if self.is_sparse:
            return X.tocsr().astype(self.dtype, copy=False)
        block = allocate(X.shape[0])
        np.copyto(block, X, casting="unsafe")
        return block

    def where(self, number: int) -> str:
        """Say where a block comes from."""
        return f"block {number} of make_blocks()"

    def _made(self) -> Iterator[tuple[Any, Labels, list[str] | None]]:
        """Yield features, labels and names of columns of the blocks that have rows."""
        for number, block in enumerate(self._make()):
            parts = block if isinstance(block, (tuple, list)) else (block,)
            if not 1 <= len(parts) <= 3:
                raise ValueError(
                    f"make_blocks: block {number} has {len(parts)} parts; give features, labels "
                    "and maybe weights."
                )
            X, y, weight = (*parts, None, None)[:3]
            names = names_of(X)
            X = X if hasattr(X, "tocsr") else np.asarray(as_numpy(X))
            if X.ndim != 2:
                raise ValueError(
                    f"make_blocks: block {number} has features of shape {X.shape}: rows of "
                    "features are needed."
                )
            if X.shape[0]:
                y, weight = (None if v is None else np.asarray(as_numpy(v)) for v in (y, weight))
                yield X, (y, weight), names


def names_of(X: Any) -> list[str] | None:
    """Return the names of the columns of a data frame; None if there are none."""
    names = [*getattr(X, "columns", ())]
    return names if names and all(isinstance(name, str) for name in names) else None
