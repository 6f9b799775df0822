"""What a full-batch optimizer asks of an objective.

An objective is a smooth convex function of a parameter tensor (B, ...): B independent
problems, minimised in lockstep. :class:`torchlogreg.problem.objective.Objective` is one; the
optimizers know this protocol only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

Numbers = Any
"""One number for each problem, shape (B,): a NumPy array on the host; a tensor on the device if
the objective is not attended."""


class Point(Protocol):
    """The objective at some coefficients."""

    @property
    def coef(self) -> Tensor:
        """Coefficients (B, R, D)."""

    @property
    def value(self) -> Numbers:
        """Objective of each problem."""

    @property
    def grad(self) -> Tensor:
        """Gradient (B, R, D)."""


class Trial(Protocol):
    """The objective along a line, at one step length."""

    @property
    def step(self) -> Numbers:
        """Step length of each problem."""

    @property
    def value(self) -> Numbers:
        """Objective of each problem."""

    @property
    def slope(self) -> Numbers:
        """Derivative along each line."""


class Line(Protocol):
    """The objective along ``origin.coef + step * direction``."""

    @property
    def origin(self) -> Point:
        """Where the line starts."""

    @property
    def slope(self) -> Numbers:
        """Derivative at the start of each line."""

    @property
    def resolution(self) -> float:
        """Relative spacing of the numbers that values are computed with."""

    def at(self, step: Numbers) -> Trial:
        """Evaluate at the step lengths ``step``."""

    def point(self, trial: Any) -> Point:
        """Complete one of this line's trials to a Point."""


class SmoothObjective(Protocol):
    """B smooth convex functions of one parameter tensor."""

    @property
    def dtype(self) -> torch.dtype:
        """Of the coefficients it takes."""

    def at(self, coef: Tensor) -> Point:
        """Evaluate at ``coef``."""

    def recheck(self, coef: Tensor) -> Point:
        """Evaluate at the user's coefficients, as exactly as can be."""

    def inner(self, coef: Tensor) -> Tensor:
        """Turn the user's coefficients into those that are minimised over."""

    def outer(self, coef: Tensor) -> Tensor:
        """Turn the coefficients that are minimised over into the user's."""

    def outer_gradient(self, grad: Tensor) -> Tensor:
        """Turn a gradient into that in the user's coefficients."""

    def optimality(self, point: Any) -> Tensor:
        """Largest absolute entry (B,) of the gradient in the user's coefficients."""

    def polished(self, point: Any) -> Tensor:
        """Return better coefficients close to a solution, as far as no data is needed for it."""

    def along(self, point: Any, direction: Tensor) -> Line:
        """Restrict to a line that starts at one of this objective's points."""

    def hessian(self, point: Any) -> Tensor:
        """Hessian (B, P, P) over the P flattened coefficients of a problem."""

    def fix_gauge(self, coef: Tensor) -> Tensor:
        """Remove the part of ``coef`` along which the objective is flat."""

    def select(self, mask: Tensor, new: Any, old: Any) -> Point:
        """Take each problem from one of two points, ``new`` where the mask (B,) holds."""

    def unattended(self) -> SmoothObjective:
        """Return the same objective, whose numbers stay on the device."""

    def stages(self) -> Sequence[SmoothObjective]:
        """Return stand-ins that are ever more precise and dear; the last is the objective."""

    def subsample(self, generator: torch.Generator) -> SmoothObjective | None:
        """Return the objective of few of the rows; None if that is not worth it."""


class PreconditionerFactory(Protocol):
    """Builds approximate inverses of Hessians, of qualities 0, 1, 2, ..."""

    @property
    def earliest(self) -> Sequence[int]:
        """Iterations before which each quality is not built."""

    def cost(self, objective: Any, point: Any, quality: int) -> float:
        """Return how many iterations take as long as to build that quality; inf for never."""

    def __call__(
        self, objective: Any, point: Any, generator: torch.Generator, *, quality: int
    ) -> Callable[[Tensor], Tensor]:
        """Return what maps a gradient at ``point`` to a step."""
