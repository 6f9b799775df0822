"""What an algorithm is asked for, and in which order: see :mod:`torchlogreg.optim.iteration`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Self, TypeVar

import torch
from torch import Tensor

from torchlogreg.optim.stages import Stages
from torchlogreg.optim.stopping import Stopping
from torchlogreg.problem.batched import Batched
from torchlogreg.problem.objective import Objective
from torchlogreg.problem.points import Point


@dataclass(frozen=True, eq=False)
class Memory(Batched):
    """What an algorithm has learnt. It does not change: learning returns another one."""

    def to(self, dtype: torch.dtype) -> Self:
        """Return it for an objective of another dtype; as it is by default."""
        return self

    def stored(self, problems: list[int], n_problems: int) -> dict[str, Any]:
        """Return what is needed to go on after a break, as numbers and tensors; nothing.

        It is for all of ``n_problems``; the memory is of some of them, and what is not known of the
        others is left empty.
        """
        return {}


def spread(value: Any, problems: list[int], n_problems: int, empty: float = 0.0) -> Any:
    """Enter what is known of some problems, a tensor, into one for all; the rest is left empty."""
    if len(problems) == n_problems or not isinstance(value, Tensor):
        return value
    whole = torch.full_like(value[:1], empty).repeat(n_problems, *[1] * (value.ndim - 1))
    whole[problems] = value
    return whole


M = TypeVar("M", bound=Memory)


@dataclass(frozen=True)
class Algorithm(ABC, Generic[M]):
    """A way to find descent directions: configuration, and functions of objective and memory.

    Parameters
    ----------
    tol : float
        See :class:`~torchlogreg.optim.stopping.Stopping`.
    lr : float
        First step that the line search tries, in units of the direction.
    stages : Stages or None
        Which cheaper stand-ins are minimised before the objective; None for no others.
    """

    name: ClassVar[str]
    """What users call it."""

    c2: ClassVar[float]
    """Curvature constant of the line search: how much of the initial slope may be left."""

    tol: float = 1e-4
    lr: float = 1.0
    stages: Stages | None = field(default_factory=Stages)

    @property
    @abstractmethod
    def stopping(self) -> Stopping:
        """The rule by which problems are judged."""

    @abstractmethod
    def restored(self, stored: Mapping[str, Any], coef: Tensor, *, is_attended: bool = True) -> M:
        """Return the memory that was stored, for coefficients (B, R, D); else an empty one.

        If it is attended, it may bring numbers to the host.
        """

    def begin(self, objective: Objective, coef: Tensor, memory: M) -> tuple[Point, M]:
        """Return where to begin on a stage, given where one was asked to begin."""
        return objective.at(coef), memory

    @abstractmethod
    def direction(
        self, objective: Objective, point: Point, memory: M, norm: float
    ) -> tuple[Tensor, M]:
        """Return a descent direction (B, R, D) at a point, with the largest gradient norm there."""

    @abstractmethod
    def gap(self, objective: Objective, point: Point, memory: M) -> tuple[Tensor, M]:
        """Estimate f - f* (B,) at a point without reading the data; nan if unknown."""

    def learn(self, old: Point, new: Point, memory: M) -> M:
        """Learn from a move; nothing by default."""
        return memory

    def forget(self, memory: M) -> M:
        """Forget what was learnt from moves; nothing by default."""
        return memory
