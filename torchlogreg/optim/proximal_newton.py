"""Newton's method for penalties with a kink, on the coefficients that are or become non-zero."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from torchlogreg.curvature.chosen import chosen_hessian
from torchlogreg.optim.algorithm import Algorithm, Memory
from torchlogreg.optim.quadratic import KinkedQuadratic
from torchlogreg.optim.stopping import Stopping
from torchlogreg.problem.batched import Batched
from torchlogreg.problem.objective import Objective
from torchlogreg.problem.points import Point


GAUGE = 1e-4


@dataclass(frozen=True, eq=False)
class WorkingSet(Batched):
    """Some coefficients of every problem, and the Hessian in these."""

    matrix: Tensor
    """Hessian (B, p, p), penalty included; where there are fewer coefficients, the identity."""

    index: Tensor | None = None
    """Their places (B, p) in the flattened coefficients; None for all of these."""

    is_filled: Tensor | None = None
    """Where there is one (B, p); None for everywhere."""

    def pick(self, flat: Tensor, empty: float = 0.0) -> Tensor:
        """Entries (B, p) of what there is of all coefficients (B, P)."""
        if self.index is None:
            return flat
        picked = flat.gather(1, self.index)
        return picked if self.is_filled is None else torch.where(self.is_filled, picked, empty)

    def spread(self, picked: Tensor, like: Tensor) -> Tensor:
        """Enter them (B, p) into coefficients (B, R, D) that are 0 elsewhere."""
        if self.index is None:
            return picked.view_as(like)
        return torch.zeros_like(like).flatten(1).scatter_add_(1, self.index, picked).view_as(like)


@dataclass(frozen=True, eq=False)
class ProximalNewtonMemory(Memory):
    """What the method keeps from the last iteration."""

    working: WorkingSet | None = None
    """The coefficients of the last model, and the Hessian."""

    known_at: Point | None = None
    """Where the model was minimised with it after the iteration, once for each Hessian."""

    known: Tensor | None = None
    """The direction there."""

    def to(self, dtype: torch.dtype) -> ProximalNewtonMemory:
        """Return it for an objective of another dtype: with nothing."""
        return ProximalNewtonMemory()


@dataclass(frozen=True)
class ProximalNewton(Algorithm[ProximalNewtonMemory]):
    r"""Newton's method for a smooth convex function plus :math:`\mu \lVert W \rVert_1`.

    An iteration minimises the quadratic model of the smooth part plus the penalty as it is, and
    searches along the line to that minimiser. Close to the solution the step of length 1 is taken;
    coefficients that the model sets to zero are then exactly zero.

    The model is one in few coefficients: those that are not zero, the intercepts, and of the
    others those that violate the condition of a minimum most. The condition is looked at for all
    coefficients in every iteration.

    Parameters
    ----------
    tol, lr, stages
        As in :class:`~torchlogreg.optim.algorithm.Algorithm`.
    few : int
        Coefficients up to which all of them are in the model.
    growth : float
        How many times as many coefficients as are not zero a model has at most.

    References
    ----------
    .. [1] Lee, Sun & Saunders, Proximal Newton-type methods for minimizing composite functions,
       SIAM J. Optim. 24 (2014), Algorithm 1.
    .. [2] Massias, Gramfort & Salmon, Celer: a fast solver for the lasso with dual extrapolation,
       ICML 2018, Section 4.3 (working sets that double).
    """

    name: ClassVar[str] = "prox-newton"

    c2: ClassVar[float] = 1e9
    """Whatever the slope: it jumps where a coefficient becomes zero."""

    few: int = 300
    growth: float = 2.0

    @cached_property
    def stopping(self) -> Stopping:
        """The rule by which problems are judged."""
        return Stopping(
            self.tol, patience=20, stage_patience=2, stage_gain=0.3, stage_decrease=1e-3
        )

    def restored(
        self, stored: Mapping[str, Any], coef: Tensor, *, is_attended: bool = True
    ) -> ProximalNewtonMemory:
        """Return an empty memory."""
        return ProximalNewtonMemory()

    def direction(
        self, objective: Objective, point: Point, memory: ProximalNewtonMemory, norm: float
    ) -> tuple[Tensor, ProximalNewtonMemory]:
        """Minimise the model, unless the last Hessian was found to serve once more."""
        if memory.known_at is point and memory.known is not None:
            return memory.known, memory
        working = self._working_set(objective, point)
        direction, _ = self._minimiser(objective, point, working)
        return direction, ProximalNewtonMemory(working)

    def gap(
        self, objective: Objective, point: Point, memory: ProximalNewtonMemory
    ) -> tuple[Tensor, ProximalNewtonMemory]:
        """Decrease that the model with the last Hessian promises."""
        if memory.working is None:
            return point.grad.new_full((len(point.grad),), torch.nan), memory
        direction, lowest = self._minimiser(objective, point, memory.working)
        if memory.known is None:
            memory = memory.evolved(known_at=point, known=direction)
        return -lowest, memory

    @staticmethod
    def _minimiser(
        objective: Objective, point: Point, working: WorkingSet
    ) -> tuple[Tensor, Tensor]:
        """Direction (B, R, D) to the minimiser of the model, and the model's value there (B,)."""
        kink = kinks(objective, point.coef)
        model = KinkedQuadratic(
            working.matrix,
            working.pick(point.grad.flatten(1)),
            working.pick(point.coef.flatten(1)),
            working.pick(kink.flatten(1), empty=1.0),
        )
        step, lowest = model.minimise()
        direction = working.spread(step, point.coef)
        if not objective.family.outputs_compete:
            return direction, lowest
        end = point.coef + direction
        fixed = objective.penalty.fix_kinked_gauge(end)
        lowest = lowest + objective.penalty.kink(fixed) - objective.penalty.kink(end)
        return torch.where(fixed == end, direction, fixed - point.coef), lowest

    def _working_set(self, objective: Objective, point: Point) -> WorkingSet:
        """Choose the coefficients of the model, and form the Hessian in them."""
        B, R, D = point.coef.shape
        if self.few >= R * D:
            matrix = objective.hessian(point)
            diagonal = matrix.diagonal(dim1=-2, dim2=-1).unflatten(-1, (R, D))
            diagonal += objective.ridge
            if objective.family.outputs_compete:
                blocks = matrix.view(B, R, D, R, D).diagonal(dim1=2, dim2=4)
                blocks += (GAUGE * diagonal.mean(1) / R)[:, None, None]
            return WorkingSet(matrix)
        kink = kinks(objective, point.coef)
        excess = objective.penalty.least_subgradient(point.grad, point.coef).abs()
        is_free = (point.coef != 0) | (kink == 0)
        # Those that are sure to be in it come first, then those with the largest violation.
        excess = torch.where(is_free, torch.inf, excess).flatten(1)
        n_free = is_free.flatten(1).sum(1)
        most = torch.clamp((self.growth * n_free).long(), min=self.few)
        sizes = torch.minimum(most, (excess > 0).sum(1)).tolist()
        chosen = excess.topk(max(sizes), dim=1).indices
        parts = [chosen[b, :size].sort().values for b, size in enumerate(sizes)]
        matrices = [
            chosen_hessian(objective.take([b]), point.take([b]), part)
            for b, part in enumerate(parts)
        ]
        if objective.family.outputs_compete:
            for matrix, part in zip(matrices, parts, strict=True):
                _bend_gauge_(matrix, part % D, R)
        if B == 1:
            return WorkingSet(matrices[0].unsqueeze(0), parts[0].unsqueeze(0))
        return _padded(matrices, parts)


def kinks(objective: Objective, coef: Tensor) -> Tensor:
    """Penalty on the absolute value of every coefficient, shape (B, R, D)."""
    l1 = objective.penalty.l1
    return torch.zeros_like(coef) if l1 is None else l1.expand_as(coef)


def _bend_gauge_(matrix: Tensor, column: Tensor, n_outputs: int) -> None:
    """Add a curvature along the gauge to a Hessian in coefficients of these columns (p,).

    The loss has none there, so that models would go on without end. How far a column is shifted
    for all outputs alike is found afterwards, exactly.
    """
    place = column.unique(return_inverse=True)[1]
    diagonal = matrix.diagonal()
    n_columns = int(place.max()) + 1
    total = matrix.new_zeros(n_columns).index_add_(0, place, diagonal)
    mean = GAUGE * total / torch.bincount(place, minlength=n_columns) / n_outputs
    is_same = place.unsqueeze(0) == place.unsqueeze(1)
    matrix += torch.where(is_same, mean[place], 0)


def _padded(matrices: list[Tensor], parts: list[Tensor]) -> WorkingSet:
    """Put working sets of different size together."""
    size = max(len(part) for part in parts)
    matrix = torch.eye(size).to(matrices[0]).repeat(len(parts), 1, 1)
    index = parts[0].new_zeros(len(parts), size)
    is_filled = torch.zeros_like(index, dtype=torch.bool)
    for b, (one, part) in enumerate(zip(matrices, parts, strict=True)):
        matrix[b, : len(part), : len(part)] = one
        index[b, : len(part)] = part
        is_filled[b, : len(part)] = True
    return WorkingSet(matrix, index, is_filled)
