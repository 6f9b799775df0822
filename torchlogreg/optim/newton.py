"""Newton's method with a Cholesky factorisation of the Hessian."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from torch import Tensor

from torchlogreg.curvature import Dense
from torchlogreg.curvature.base import solved
from torchlogreg.optim.algorithm import Algorithm, Memory
from torchlogreg.optim.line_search import NEWTON_C2
from torchlogreg.optim.stopping import Stopping
from torchlogreg.problem.memory import memory_of
from torchlogreg.problem.objective import Objective
from torchlogreg.problem.points import Point

SMALL_BYTES = 1e7
"""Memory that is always there: whether it is need not be asked."""


@dataclass(frozen=True, eq=False)
class NewtonMemory(Memory):
    """What Newton's method keeps from the last iteration."""

    hessian: Dense | None = None
    """The Hessian where that iteration began, or the one before it, penalty included."""

    known_at: Point | None = None
    """Where the gradient was solved for by it after the iteration, once for each Hessian."""

    known: Tensor | None = None
    """The direction there."""

    is_fresh: bool = False
    """Whether that is the very point that the Hessian belongs to."""


@dataclass(frozen=True)
class Newton(Algorithm[NewtonMemory]):
    r"""Newton's method: forms the Hessian and factorises it, for small problems.

    An iteration costs :math:`O(n P^2 + P^3)` for P coefficients; four to eight iterations are the
    rule, and the last ones are quadratically convergent. Close to the minimum every other one makes
    do with the Hessian of the one before, which leaves little of the error and costs
    :math:`O(n P)`.

    References
    ----------
    .. [1] Nocedal & Wright, Numerical Optimization, 2nd ed., Section 3.3.
    .. [2] Kelley, Iterative Methods for Linear and Nonlinear Equations, SIAM 1995, Section 5.4.3
       (the Shamanskii method).
    """

    name: ClassVar[str] = "newton-cholesky"
    c2: ClassVar[float] = NEWTON_C2

    @cached_property
    def stopping(self) -> Stopping:
        """The rule by which problems are judged.

        An iteration on a stand-in that gains less than these lacks the digits for its Hessian.
        """
        return Stopping(
            self.tol,
            patience=10,
            stage_patience=2,
            stage_gain=0.1,
            stage_decrease=1e-3,
        )

    def restored(
        self, stored: Mapping[str, Any], coef: Tensor, *, is_attended: bool = True
    ) -> NewtonMemory:
        """Return an empty memory."""
        return NewtonMemory()

    def direction(
        self, objective: Objective, point: Point, memory: NewtonMemory, norm: float
    ) -> tuple[Tensor, NewtonMemory]:
        """Solve H p = -g, unless the last Hessian was found to serve once more."""
        if memory.known_at is point and memory.known is not None:
            is_fresh = memory.is_fresh
            return memory.known, memory.evolved(known=None, is_fresh=False) if is_fresh else memory
        hessian = self._hessian(objective, point)
        return hessian.solve(point.grad).neg_(), NewtonMemory(hessian)

    def gap(
        self, objective: Objective, point: Point, memory: NewtonMemory
    ) -> tuple[Tensor, NewtonMemory]:
        """Newton decrement, with the Hessian of the last iteration, or of this point at first."""
        hessian = memory.hessian
        if hessian is None:
            hessian = self._hessian(objective, point)
            memory = NewtonMemory(hessian, is_fresh=True)
        direction = solved(hessian, point.grad).neg_()
        if memory.known is None:
            memory = memory.evolved(known_at=point, known=direction)
        return -0.5 * (point.grad * direction).sum((-2, -1)), memory

    @staticmethod
    def _hessian(objective: Objective, point: Point) -> Dense:
        """Form the Hessian, with the penalty; refuse before that if it does not fit."""
        (B, R, D), device = point.coef.shape, point.coef.device
        P = R * D
        n_bytes = 3 * B * P**2 * point.coef.element_size()
        if n_bytes < SMALL_BYTES:
            return Dense(objective.hessian(point), ridge=objective.ridge)
        available = memory_of(device)
        shortage = (
            f"solver='newton-cholesky' needs {n_bytes / 1e9:.1f} GB for the Hessian of {P} "
            f"coefficients, a copy and its factor; {device} has {available / 1e9:.1f} GB. Use "
            "solver='lbfgs', which forms no such matrix."
        )
        if n_bytes > available:
            raise MemoryError(shortage)
        try:
            return Dense(objective.hessian(point), ridge=objective.ridge)
        except RuntimeError as error:
            if "memory" in str(error):  # torch has no type of its own for this on a CPU
                raise MemoryError(shortage) from error
            raise
