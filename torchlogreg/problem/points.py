"""What is known of the objective at some coefficients.

Shapes follow the legend in :mod:`torchlogreg.problem.objective`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

Numbers = Any
"""One number for each problem, shape (B,): a NumPy array on the host, or a tensor."""


@dataclass(frozen=True, eq=False)
class Point:
    """The objective at some coefficients."""

    coef: Tensor
    """Coefficients (B, R, D)."""

    value: Numbers
    """Objective of each problem."""

    penalty: Numbers
    """The penalty's part of it."""

    grad: Tensor
    """Gradient (B, R, D)."""

    eta: Sequence[Tensor]
    """Linear predictor (B, R, n), block by block."""


@dataclass(frozen=True, eq=False)
class Trial:
    """The objective restricted to a line, at one step length."""

    step: Numbers
    """Step length of each problem."""

    value: Numbers
    """Objective of each problem."""

    penalty: Numbers
    """The penalty's part of it."""

    slope: Numbers
    """Derivative of the objective along the line of each problem."""

    eta: Sequence[Tensor]
    """Linear predictor (B, R, n), block by block."""

    residual: Sequence[Tensor]
    """Weighted residual (B, R, n), block by block."""
