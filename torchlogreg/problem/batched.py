"""What has a part for each of B problems."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from torch import Tensor


class Batched:
    """Base of dataclasses that have a part for each of B problems.

    Tensors and arrays have a leading axis B, or 1 where the problems share them. A tuple has an
    entry for each problem; a list, one for each block of rows or the like.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def take(self, problems: Sequence[int]) -> Self:
        """Return the parts of some of the problems; what was computed from them is kept."""
        index = list(problems)
        twin = object.__new__(type(self))
        twin.__dict__.update({name: _taken(part, index) for name, part in vars(self).items()})
        return twin

    def evolved(self, **changes: Any) -> Self:
        """Return a copy with other values for some of the fields, and nothing computed from them.

        As ``dataclasses.replace``, which takes ten times as long: a fit of small data is calls.
        """
        assert changes.keys() <= self.__dataclass_fields__.keys(), changes.keys()
        twin = object.__new__(type(self))
        known = self.__dict__
        twin.__dict__.update({name: known[name] for name in self.__dataclass_fields__}, **changes)
        return twin


def _taken(part: Any, index: list[int]) -> Any:
    if isinstance(part, (Tensor, np.ndarray)):
        return part if len(part) == 1 else part[index]
    if isinstance(part, list):
        return [_taken(entry, index) for entry in part]
    if isinstance(part, tuple):
        return tuple([part[i] for i in index])
    return part.take(index) if hasattr(part, "take") else part
