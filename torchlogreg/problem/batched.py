"""What has a part for each of B problems."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor


class Places(list[int]):
    """Which of B problems; as a tensor, too, which is made once for all that is taken."""

    def __init__(self, problems: Sequence[int]) -> None:
        super().__init__(problems)
        self._on: dict[torch.device, Tensor] = {}

    @classmethod
    def of(cls, problems: Sequence[int]) -> Places:
        """Return the places of problems; as they are if they are places already."""
        return problems if isinstance(problems, Places) else cls(problems)

    def on(self, device: torch.device) -> Tensor:
        """Return them as an index on a device."""
        if device not in self._on:
            self._on[device] = torch.tensor(list(self), dtype=torch.int64, device=device)
        return self._on[device]

    def pick(self, whole: Tensor) -> Tensor:
        """Copy the parts of these problems."""
        return whole.index_select(0, self.on(whole.device))

    def put_(self, whole: Tensor, part: Tensor) -> Tensor:
        """Write other parts of these problems."""
        return whole.index_copy_(0, self.on(whole.device), part)


class Batched:
    """Base of dataclasses that have a part for each of B problems.

    Tensors and arrays have a leading axis B, or 1 where the problems share them. A tuple has an
    entry for each problem; a list, one for each block of rows or the like.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def take(self, problems: Sequence[int]) -> Self:
        """Return the parts of some of the problems; what was computed from them is kept."""
        places = Places.of(problems)
        twin = object.__new__(type(self))
        twin.__dict__.update({name: _taken(part, places) for name, part in vars(self).items()})
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


def _taken(part: Any, places: Places) -> Any:
    if isinstance(part, Tensor):
        return part if part.shape[0] == 1 else places.pick(part)
    if isinstance(part, np.ndarray):
        return part if len(part) == 1 else part[list(places)]
    if isinstance(part, list):
        return [_taken(entry, places) for entry in part]
    if isinstance(part, tuple):
        return tuple([part[place] for place in places])
    return part.take(places) if hasattr(part, "take") else part
