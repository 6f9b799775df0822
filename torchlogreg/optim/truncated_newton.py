"""Newton's method whose steps are found by conjugate gradients: no Hessian is formed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from torchlogreg.curvature import Curvature, Diagonal
from torchlogreg.optim.algorithm import Algorithm, Memory
from torchlogreg.optim.stopping import Stopping
from torchlogreg.problem.objective import Objective
from torchlogreg.problem.points import Point

MOST_FORCING = 0.5
"""Largest part of the residual that the equations may leave."""


@dataclass(frozen=True, eq=False)
class TruncatedNewtonMemory(Memory):
    """What the method keeps from the last direction that it has found."""

    known_at: Point | None = None
    """Where that was: the estimate of f - f* asks for it, too."""

    known: Tensor | None = None
    """The direction."""

    first_norms: np.ndarray | None = None
    """Gradient norm (B,) of each problem before the first iteration."""

    def to(self, dtype: torch.dtype) -> TruncatedNewtonMemory:
        """Return it for an objective of another dtype."""
        return self.evolved(known_at=None)

    def stored(self, problems: list[int], n_problems: int) -> dict[str, Any]:
        """Return what is needed to go on after a break; zeros for problems that have left."""
        if self.first_norms is None:
            return {}
        norms = torch.zeros(n_problems, dtype=torch.float64, device="cpu")
        norms[problems] = torch.from_numpy(self.first_norms)
        return {"first_norms": norms}


@dataclass(frozen=True)
class TruncatedNewton(Algorithm[TruncatedNewtonMemory]):
    r"""Inexact Newton's method, for data with many columns of which few are in a row.

    A step of conjugate gradients reads the data twice, as an iteration of L-BFGS does, but has a
    third of its calls and no exponential. The equations are solved as precisely as the
    convergence of the outer iterations deserves.

    Where there are as many rows as columns, the diagonal of the Hessian preconditions the
    equations. Otherwise nothing does: the steps then stay in the space that the rows span.

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
    c2: ClassVar[float] = 0.9

    max_inner: int = 200

    @cached_property
    def stopping(self) -> Stopping:
        """The rule by which problems are judged."""
        return Stopping(self.tol, patience=10, stage_patience=2)

    def restored(
        self, stored: Mapping[str, Any], coef: Tensor, *, is_attended: bool = True
    ) -> TruncatedNewtonMemory:
        """Return the memory that was stored; an empty one for an empty mapping."""
        norms = stored.get("first_norms")
        return TruncatedNewtonMemory(first_norms=None if norms is None else norms.numpy(force=True))

    def direction(
        self, objective: Objective, point: Point, memory: TruncatedNewtonMemory, norm: float
    ) -> tuple[Tensor, TruncatedNewtonMemory]:
        """Solve H p = -g, about."""
        if memory.known_at is point and memory.known is not None:
            return memory.known, memory
        norms = np.array(torch.linalg.vector_norm(point.grad, math.inf, (-2, -1)).tolist())
        first = norms if memory.first_norms is None else memory.first_norms
        direction = self._solved(objective, point, self._forcing(norms, first))
        return direction, TruncatedNewtonMemory(point, direction, first)

    def gap(
        self, objective: Objective, point: Point, memory: TruncatedNewtonMemory
    ) -> tuple[Tensor, TruncatedNewtonMemory]:
        """Half the decrease that the quadratic model promises along its step."""
        direction, memory = self.direction(objective, point, memory, math.nan)
        return -0.5 * (point.grad * direction).sum((-2, -1)), memory

    def _forcing(self, norms: np.ndarray, first: np.ndarray) -> np.ndarray:
        """Part (B,) of the residual that may be left.

        It shrinks with the gradient, for convergence faster than linear, but not below what the
        goal asks for.
        """
        safe = np.where(norms > 0, norms, 1)
        shrinking = np.sqrt(safe / np.where(first > 0, first, 1))
        enough = 0.1 * self.stopping.goal / safe
        forcing: np.ndarray = np.fmin(np.maximum(shrinking, enough), MOST_FORCING)
        return forcing

    def _solved(self, objective: Objective, point: Point, forcing: np.ndarray) -> Tensor:
        """Solve H p = -g for every problem, up to a part of the residual's norm."""
        curvature = objective.curvature(point)
        preconditioner: Curvature | None = None
        if objective.rows.n_rows >= objective.rows.n_columns:
            preconditioner = Diagonal.at(objective, point).shifted(objective.ridge)

        step, residual = torch.zeros_like(point.grad), point.grad.clone()
        conjugate = goal = before = None
        for _ in range(self.max_inner):
            solved = residual if preconditioner is None else preconditioner.solve(residual)
            product = square = _dot(residual, solved)
            if preconditioner is not None:
                square = _dot(residual, residual)
            goal = forcing**2 * square if goal is None else goal
            is_going = (square > goal) & (product > 0)
            if not is_going.any():
                break
            if conjugate is None:
                conjugate = -solved
            else:
                conjugate = _scale(conjugate, _ratio(product, before, is_going)).sub_(solved)
            before = product
            image = objective.hessian_product(curvature, conjugate)
            length = _ratio(product, _dot(conjugate, image), is_going)
            if not length.any():  # rounding has spoilt the curvature
                break
            step, residual = _add(step, conjugate, length), _add(residual, image, length)
        return step


def _dot(one: Tensor, other: Tensor) -> np.ndarray:
    """Products (B,) of two tensors (B, R, D)."""
    if len(one) == 1:
        return np.array([torch.dot(one.view(-1), other.view(-1)).item()])
    return np.array(torch.linalg.vecdot(one.flatten(1), other.flatten(1)).tolist())


def _ratio(numerator: np.ndarray, denominator: Any, mask: np.ndarray) -> np.ndarray:
    """Ratios (B,) where the mask holds and the denominator is positive, 0 elsewhere."""
    mask = mask & (denominator > 0)
    return np.where(mask, numerator / np.where(mask, denominator, 1), 0)


def _scale(tensor: Tensor, factor: np.ndarray) -> Tensor:
    """Multiply a tensor (B, R, D) by a number for each problem, in place."""
    if len(factor) == 1:
        return tensor.mul_(float(factor[0]))
    return tensor.mul_(torch.from_numpy(factor).to(tensor)[:, None, None])


def _add(to: Tensor, tensor: Tensor, factor: np.ndarray) -> Tensor:
    """Add a tensor (B, R, D) times a number for each problem, in place."""
    if len(factor) == 1:
        return to.add_(tensor, alpha=float(factor[0]))
    return to.addcmul_(tensor, torch.from_numpy(factor).to(to)[:, None, None])
