"""Newton's method whose steps are found by conjugate gradients: no Hessian is formed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from torchlogreg.curvature import Curvature, Diagonal
from torchlogreg.optim.algorithm import Algorithm, Memory, spread
from torchlogreg.optim.line_search import NEWTON_C2
from torchlogreg.optim.stopping import Stopping
from torchlogreg.problem.objective import Objective
from torchlogreg.problem.points import Point, compute, on_host

MOST_CHANGE = 8.0
"""Change of the mean curvature of the rows, either way, with which a diagonal is computed again."""

MOST_FORCING = 0.5
"""Largest part of the residual that the equations may leave."""


@dataclass(frozen=True, eq=False)
class TruncatedNewtonMemory(Memory):
    """What the method keeps from the last direction that it has found."""

    known_at: Point | None = None
    """Where that was: the estimate of f - f* asks for it, too."""

    known: Tensor | None = None
    """The direction."""

    first_norms: tuple[float, ...] | None = None
    """Gradient norm of each problem before the first iteration."""

    diagonal: Diagonal | None = None
    """Of the Hessian of the loss, where it was computed."""

    mean: Tensor | None = None
    """Mean curvature of the rows there, shape (B, R, 1)."""

    def to(self, dtype: torch.dtype) -> TruncatedNewtonMemory:
        """Return it for an objective of another dtype, in which the diagonal may be another."""
        if self.mean is None or self.mean.dtype == dtype:
            return self.evolved(known_at=None)
        return self.evolved(known_at=None, diagonal=None, mean=None)

    def stored(self, problems: list[int], n_problems: int) -> dict[str, Any]:
        """Return what is needed to go on after a break; zeros for problems that have left."""
        if self.first_norms is None:
            return {}
        norms = torch.tensor(self.first_norms, dtype=torch.float64, device="cpu")
        stored = {"first_norms": spread(norms, problems, n_problems)}
        is_complete = len(problems) == n_problems
        if is_complete and self.diagonal is not None and self.mean is not None:
            stored |= {"diagonal": self.diagonal.diagonal, "mean": self.mean}
        return stored


@dataclass(frozen=True)
class TruncatedNewton(Algorithm[TruncatedNewtonMemory]):
    r"""Inexact Newton's method, for data with many columns of which few are in a row.

    A step of conjugate gradients reads the data twice, as an iteration of L-BFGS does, but has a
    third of its calls and no exponential. The equations are solved as precisely as the
    convergence of the outer iterations deserves.

    Where there are as many rows as columns, the diagonal of the Hessian preconditions the
    equations. It follows the mean curvature of the rows, and is computed again when that has
    changed much.
    Otherwise nothing does: the steps then stay in the space that the rows span.

    Parameters
    ----------
    tol, lr, stages
        As in :class:`~torchlogreg.optim.algorithm.Algorithm`.
    max_inner : int
        Most steps of conjugate gradients in an iteration.

    References
    ----------
    .. [1] Nocedal & Wright, Numerical Optimization, 2nd ed., Algorithm 7.1 (line search
       Newton-CG) with the forcing sequence of eq. (7.3), and Algorithm 5.3 (preconditioned CG).
    """

    name: ClassVar[str] = "newton-cg"
    c2: ClassVar[float] = NEWTON_C2

    max_inner: int = 200

    @cached_property
    def stopping(self) -> Stopping:
        """The rule by which problems are judged."""
        return Stopping(self.tol, patience=10, stage_patience=2)

    def restored(
        self, stored: Mapping[str, Any], coef: Tensor, *, is_attended: bool = True
    ) -> TruncatedNewtonMemory:
        """Return the memory that was stored; an empty one for an empty mapping."""
        if "first_norms" not in stored:
            return TruncatedNewtonMemory()
        diagonal, mean = stored.get("diagonal"), stored.get("mean")
        return TruncatedNewtonMemory(
            first_norms=on_host(stored["first_norms"]),
            diagonal=None if diagonal is None else Diagonal(diagonal),
            mean=mean,
        )

    def direction(
        self, objective: Objective, point: Point, memory: TruncatedNewtonMemory, norm: float
    ) -> tuple[Tensor, TruncatedNewtonMemory]:
        """Solve H p = -g, about."""
        if memory.known_at is point and memory.known is not None:
            return memory.known, memory
        norms = on_host(torch.linalg.vector_norm(point.grad, math.inf, (-2, -1)))
        first = norms if memory.first_norms is None else memory.first_norms
        curvature = objective.curvature(point)
        preconditioner, memory = self._preconditioner(objective, point, curvature, memory)
        forcing = tuple(map(self._forcing, norms, first))
        direction = self._solved(objective, point.grad, curvature, preconditioner, forcing)
        return direction, memory.evolved(known_at=point, known=direction, first_norms=first)

    def gap(
        self, objective: Objective, point: Point, memory: TruncatedNewtonMemory
    ) -> tuple[Tensor, TruncatedNewtonMemory]:
        """Half the decrease that the quadratic model promises along its step."""
        direction, memory = self.direction(objective, point, memory, math.nan)
        return -0.5 * (point.grad * direction).sum((-2, -1)), memory

    @staticmethod
    def _preconditioner(
        objective: Objective,
        point: Point,
        curvature: list[Tensor],
        memory: TruncatedNewtonMemory,
    ) -> tuple[Curvature | None, TruncatedNewtonMemory]:
        """Return the diagonal, scaled by the change of the mean curvature; None with few rows.

        It is computed again for problems in which that change is so large that the rows cannot have
        changed alike.
        """
        if objective.rows.n_rows < objective.rows.n_columns:
            return None, memory
        mean = now = objective.mean_curvature(curvature)
        if memory.diagonal is None or memory.mean is None:
            diagonal = Diagonal.at(objective, point)
        else:
            diagonal, mean = memory.diagonal, memory.mean
            change = now / mean
            is_far = (torch.maximum(change, 1 / change) > MOST_CHANGE).any(1, keepdim=True)
            if is_far.any():
                again = Diagonal.at(objective, point).diagonal
                diagonal = Diagonal(torch.where(is_far, again, diagonal.diagonal))
                mean = torch.where(is_far, now, mean)
        memory = memory.evolved(diagonal=diagonal, mean=mean)
        return diagonal.scaled(now / mean).shifted(objective.ridge), memory

    def _forcing(self, norm: float, first: float) -> float:
        """Part of the residual that may be left.

        It shrinks with the gradient, for convergence faster than linear, but not below what the
        goal asks for.
        """
        if not 0 < norm < math.inf:
            return MOST_FORCING
        shrinking = math.sqrt(norm / first) if first > 0 else MOST_FORCING
        return min(max(shrinking, 0.1 * self.stopping.goal / norm), MOST_FORCING)

    def _solved(
        self,
        objective: Objective,
        grad: Tensor,
        curvature: list[Tensor],
        preconditioner: Curvature | None,
        forcing: tuple[float, ...],
    ) -> Tensor:
        """Solve H p = -g for every problem, up to a part of the residual's norm."""
        step, residual = torch.zeros_like(grad), grad.clone()
        conjugate = before = goals = None
        for _ in range(self.max_inner):
            solved = residual if preconditioner is None else preconditioner.solve(residual)
            products = squares = _dots(residual, solved)
            if preconditioner is not None:
                squares = _dots(residual, residual)
            if goals is None:
                goals = compute(lambda part, square: part**2 * square, forcing, squares)
            # Problems that are solved wait for the others.
            products = compute(_if_above, products, squares, goals)
            if not any(products):
                break
            if conjugate is None or before is None:
                conjugate = solved.neg()
            else:
                conjugate = _scale_(conjugate, compute(_ratio, products, before)).sub_(solved)
            before = products
            image = objective.hessian_product(curvature, conjugate)
            lengths = compute(_ratio, products, _dots(conjugate, image))
            if not any(lengths):  # rounding has spoilt the curvature
                break
            step, residual = _add_(step, conjugate, lengths), _add_(residual, image, lengths)
        return step


def _if_above(product: float, square: float, goal: float) -> float:
    """Product of a residual that is above the goal, if it is positive; otherwise 0."""
    return product if square > goal and product > 0 else 0.0


def _ratio(numerator: float, denominator: float) -> float:
    """Ratio to a positive number, otherwise 0."""
    return numerator / denominator if denominator > 0 else 0.0


def _dots(one: Tensor, other: Tensor) -> tuple[float, ...]:
    """Products (B,) of two tensors (B, R, D)."""
    if len(one) == 1:
        return (torch.dot(one.view(-1), other.view(-1)).item(),)
    return tuple(torch.linalg.vecdot(one.flatten(1), other.flatten(1)).tolist())


def _scale_(tensor: Tensor, factors: Sequence[float]) -> Tensor:
    """Multiply a tensor (B, R, D) by a number for each problem, in place."""
    if len(factors) == 1:
        return tensor.mul_(factors[0])
    return tensor.mul_(tensor.new_tensor(factors)[:, None, None])


def _add_(to: Tensor, tensor: Tensor, factors: Sequence[float]) -> Tensor:
    """Add a tensor (B, R, D) times a number for each problem, in place."""
    if len(factors) == 1:
        return to.add_(tensor, alpha=factors[0])
    return to.addcmul_(tensor, to.new_tensor(factors)[:, None, None])
