"""What is known of the objective at some coefficients, and along a line.

Shapes follow the legend in :mod:`torchlogreg.problem.objective`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from torchlogreg.problem.batched import Batched, Places

Numbers = Any
"""One number for each of B problems: a tuple on the host; a tensor on the device if the objective
is not attended."""


def compute(function: Callable[..., Any], *numbers: Numbers) -> Numbers:
    """Compute numbers from others, problem by problem if they are on the host.

    Python's own are several times faster than arrays of a few.
    """
    if isinstance(numbers[0], Tensor):
        return function(*numbers)
    return tuple(map(function, *numbers))


def on_host(numbers: Numbers) -> tuple[float, ...]:
    """Bring numbers to the host if they are not there."""
    if not isinstance(numbers, Tensor):
        return tuple(numbers)
    return (numbers.item(),) if len(numbers) == 1 else tuple(numbers.tolist())


class _Evaluation(Batched):
    """Tensors and tuples of B entries, and lists of these, that can be put together."""

    def put(self, problems: Sequence[int], other: Self, *, in_place: bool = False) -> Self:
        """Return this evaluation with that of some problems in the place of its own.

        If it is in place, this one must not be used again.
        """
        places = Places.of(problems)

        def replace(whole: Any, part: Any) -> Any:
            if isinstance(whole, Tensor):
                return places.put_(whole if in_place else whole.clone(), part)
            copy = list(whole)
            for place, number in zip(places, part, strict=True):
                copy[place] = number
            return tuple(copy)

        return self._combined(replace, other)

    def where(self, mask: Tensor, other: Self) -> Self:
        """Return this one in the problems for which the mask (B,) holds, the other elsewhere."""

        def choose(new: Any, old: Any) -> Any:
            if not isinstance(new, Tensor):
                return tuple(n if m else o for m, n, o in zip(mask.tolist(), new, old, strict=True))
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
