"""What is known of the objective at some coefficients, and along a line.

Shapes follow the legend in :mod:`torchlogreg.problem.objective`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from torchlogreg.problem.batched import Batched

Numbers = Any
"""One number for each problem, shape (B,): a NumPy array on the host; a tensor on the device if
the objective is not attended."""


class _Evaluation(Batched):
    """Tensors and arrays of B entries, and lists of these, that can be put together."""

    def put(self, problems: Sequence[int], other: Self) -> Self:
        """Return this evaluation with that of some problems in the place of its own."""
        index = list(problems)

        def replace(whole: Any, part: Any) -> Any:
            copy = whole.clone() if isinstance(whole, Tensor) else whole.copy()
            copy[index] = part
            return copy

        return self._combined(replace, other)

    def where(self, mask: Tensor, other: Self) -> Self:
        """Return this one in the problems for which the mask (B,) holds, the other elsewhere."""

        def choose(new: Any, old: Any) -> Any:
            if not isinstance(new, Tensor):
                return np.where(mask.cpu().numpy(), new, old)
            return torch.where(mask.view(-1, *[1] * (new.ndim - 1)), new, old)

        return self._combined(choose, other)

    def _combined(self, function: Callable[[Any, Any], Any], other: Self) -> Self:
        """Apply a function to the fields of both, to lists entry by entry."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return type(self)(
            *(
                [function(*entries) for entries in zip(one, two, strict=True)]
                if isinstance(one, list)
                else function(one, two)
                for one, two in pairs
            )
        )


@dataclass(frozen=True, eq=False)
class Point(_Evaluation):
    """The objective at some coefficients."""

    coef: Tensor
    """Coefficients (B, R, D)."""

    value: Numbers
    """Objective of each problem."""

    penalty: Numbers
    """The penalty's part of it."""

    grad: Tensor
    """Gradient (B, R, D)."""

    eta: list[Tensor]
    """Linear predictor (B, R, n), block by block."""

    residual: list[Tensor]
    """Residual (B, R, n), block by block."""


@dataclass(frozen=True, eq=False)
class Trial(_Evaluation):
    """The objective restricted to a line, at one step length."""

    step: Numbers
    """Step length of each problem."""

    value: Numbers
    """Objective of each problem."""

    penalty: Numbers
    """The penalty's part of it."""

    slope: Numbers
    """Derivative of the objective along the line of each problem."""

    eta: list[Tensor]
    """Linear predictor (B, R, n), block by block."""

    residual: list[Tensor]
    """Residual (B, R, n), block by block."""
