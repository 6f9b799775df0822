"""The processes that share the rows of a training set, and what they tell each other.

Every process runs the same program on rows of its own. Sums over all rows, and what is decided from
them, are the same everywhere, so that no process goes another way than the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor


class Group:
    """One process alone: what it has is all there is."""

    rank = 0
    """Number of this process."""

    size = 1
    """Number of processes."""

    def total(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Add up tensors of the same shapes over all processes; these may be overwritten."""
        return tensors

    def largest(self, tensor: Tensor) -> Tensor:
        """Return the largest entries that a process has; those of this one may be overwritten."""
        return tensor

    def agreed(self, tensor: Tensor) -> Tensor:
        """Return the first process' numbers, which may differ from the others' by rounding."""
        return tensor

    def gathered(self, value: Any) -> list[Any]:
        """Return what every process gives, in their order."""
        return [value]

    def any(self, is_so: bool) -> bool:
        """Whether something is so in one of the processes."""
        return any(self.gathered(is_so))

    @contextmanager
    def together(self) -> Iterator[None]:
        """Raise an error of one process in all of them; within, nothing may be asked of others."""
        yield


ALONE = Group()
"""The only process there is."""
