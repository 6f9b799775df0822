"""What has a part for each of B problems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, Self

import numpy as np
from torch import Tensor


class Batched:
    """Base of dataclasses that have a part for each of B problems.

    Tensors and arrays have a leading axis B, or 1 where the problems share them. A tuple has an
    entry for each problem; a list, one for each block of rows or the like.
    """

    def take(self, problems: Sequence[int]) -> Self:
        """Return the parts of some of the problems; what was computed from them is kept."""
        index = list(problems)
        parts = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        twin = replace(self, **{name: _taken(part, index) for name, part in parts.items()})  # type: ignore[type-var]
        cached = {name: part for name, part in vars(self).items() if name not in parts}
        twin.__dict__.update({name: _taken(part, index) for name, part in cached.items()})
        return twin


def _taken(part: Any, index: list[int]) -> Any:
    if isinstance(part, (Tensor, np.ndarray)):
        return part if len(part) == 1 else part[index]
    if isinstance(part, list):
        return [_taken(entry, index) for entry in part]
    if isinstance(part, tuple):
        return tuple(part[i] for i in index)
    return part.take(index) if hasattr(part, "take") else part
