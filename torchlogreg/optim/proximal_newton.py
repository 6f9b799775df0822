"""Newton's method for penalties with a kink, on the coefficients that are or become non-zero."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from torchlogreg.curvature.chosen import add_floor_, add_penalty_, chosen_hessian
from torchlogreg.curvature.working import DenseWorking
from torchlogreg.curvature.working_blocks import Moves, WorkingBlocks
from torchlogreg.curvature.working_rows import RowWorking
from torchlogreg.optim.algorithm import Algorithm, Memory
from torchlogreg.optim.stopping import Stopping
from torchlogreg.optim.working_set import (
    WorkingSet,
    adapted_floor,
    chosen,
    expected_decrease,
    minimiser,
    promised_outside,
)
from torchlogreg.problem.objective import Objective
from torchlogreg.problem.points import Point

MOVED_ENTRIES = 2**21
"""Most entries of all stored steps of a problem."""

LOOK_BACK = 10
"""Iterations whose decrease is looked at."""

MISSING = 0.1
"""Part of the coefficients that may be new to an estimate of the Hessian."""


@dataclass(frozen=True, eq=False)
class ProximalNewtonMemory(Memory):
    """What the method keeps from the last iteration."""

    working: WorkingSet | tuple[WorkingSet, ...] | None = None
    """The coefficients of the last model, and the Hessian; of all problems, or of each."""

    known_at: Point | None = None
    """Where the model was minimised with it after the iteration, once for each Hessian."""

    known: Tensor | None = None
    """The direction there."""

    blocks: tuple[WorkingBlocks | None, ...] | None = None
    """Sampled blocks of each problem, where the Hessian is too large."""

    moves: Moves | None = None
    """The last moves, from when on they are needed."""

    values: Tensor | None = None
    """Objectives before and after the last iterations, the oldest first, (B, m)."""

    tried: Tensor | None = None
    """The last direction."""

    floor: Tensor | None = None
    """What is added to the curvature of each problem's rows, in units of their weights, (B,)."""

    built_floor: Tensor | None = None
    """The same in the last model, (B,)."""

    n_iter: int = 0
    """Iterations on the present stage."""

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

    Rows that the model is sure of have hardly any curvature, and a step that the model takes for
    granted may be far too long for them. After a short step a floor is therefore added to the
    curvature of all rows; it is lowered after steps of full length.

    Where the Hessian in these would take too long, it is estimated from sampled rows; the pairs of
    L-BFGS on top of it correct the estimate.

    Parameters
    ----------
    tol, lr, stages
        As in :class:`~torchlogreg.optim.algorithm.Algorithm`.
    few : int
        Coefficients up to which all of them are in the model, and that may enter it at once.
    growth : float
        How many times as many coefficients as are not zero a model has at most, next to ``few``.
    most_work : float
        Multiplications n p^2 for a Hessian in p coefficients beyond which it is estimated.
    history_size : int
        Number of stored pairs.
    rows_per_column : int
        Rows of a sample for every column of a block.
    min_rows : int
        Fewest rows in a sample, where there are as many.
    most_entries : int
        Most entries of all blocks of an estimate. Coefficients that have no place in one are known
        by their diagonal, and by the pairs.
    every : int
        Iterations after which rows are sampled again, if nothing else asks for it before.
    seed : int
        For the generator that rows are drawn with.

    References
    ----------
    .. [1] Lee, Sun & Saunders, Proximal Newton-type methods for minimizing composite functions,
       SIAM J. Optim. 24 (2014), Algorithm 1, with the quasi-Newton matrices of its Section 2.3.
    .. [2] Massias, Gramfort & Salmon, Celer: a fast solver for the lasso with dual extrapolation,
       ICML 2018, Section 4.3 (working sets that double).
    """

    name: ClassVar[str] = "prox-newton"

    c2: ClassVar[float] = 0.5
    """Beyond the model's minimum its zeros are none: with less, steps went to and fro."""

    few: int = 300
    growth: float = 1.2
    most_work: float = 5e10
    history_size: int = 20
    rows_per_column: int = 16
    min_rows: int = 4000
    most_entries: int = 2**25
    every: int = 16
    seed: int = 0

    @cached_property
    def stopping(self) -> Stopping:
        """The rule by which problems are judged."""
        return Stopping(
            self.tol, patience=30, stage_patience=6, stage_gain=0.9, stage_decrease=1e-4
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
            return memory.known, memory.evolved(tried=memory.known)
        memory = self._built(objective, point, memory.evolved(known_at=None, known=None))
        assert memory.working is not None
        direction, _ = minimiser(objective, point, memory.working)
        return direction, memory.evolved(tried=direction)

    def gap(
        self, objective: Objective, point: Point, memory: ProximalNewtonMemory
    ) -> tuple[Tensor, ProximalNewtonMemory]:
        """Decrease that the model with the last Hessian promises.

        One that is estimated, or has a floor, may promise far too little: what the last iterations
        suggest is then the least that is left.
        """
        if memory.working is None:  # at a start that may be good enough
            memory = self._built(objective, point, memory)
        working = memory.working
        assert working is not None
        direction, lowest = minimiser(objective, point, working)
        if memory.known is None:
            memory = memory.evolved(known_at=point, known=direction)
        gap = promised_outside(objective, point, working, memory.blocks or ()) - lowest
        is_rough = torch.zeros_like(gap, dtype=torch.bool)
        if memory.built_floor is not None:
            is_rough = memory.built_floor > 0
        for b, one in enumerate(working if isinstance(working, tuple) else ()):
            is_rough[b] |= one.hessian.is_estimate
        least = torch.full_like(gap, torch.nan)  # which is no proof
        if memory.values is not None:
            least = expected_decrease(memory.values).to(gap)
        return torch.where(is_rough, torch.maximum(gap, least), gap), memory

    def learn(self, old: Point, new: Point, memory: ProximalNewtonMemory) -> ProximalNewtonMemory:
        """Adapt the floor; store the objective, and the move if there are models that need it."""
        step = new.coef - old.coef
        floor = adapted_floor(memory.floor, step, memory.tried, self.lr)
        values = [torch.as_tensor(p.value, dtype=torch.float64)[:, None] for p in (old, new)]
        if memory.values is not None:
            values = [memory.values, values[1]]
        if memory.floor is not None and (floor > memory.floor).any():
            # The last Hessian has led too far.
            memory = memory.evolved(working=None, known_at=None, known=None)
        memory = memory.evolved(
            n_iter=memory.n_iter + 1,
            floor=floor,
            values=torch.cat(values, dim=1)[:, -LOOK_BACK - 1 :],
        )
        if memory.blocks is None:
            return memory
        moves = Moves.none(old.coef) if memory.moves is None else memory.moves
        most = min(self.history_size, max(MOVED_ENTRIES // old.coef[0].numel(), 1))
        return memory.evolved(moves=moves.add(step, new.grad - old.grad, most))

    def forget(self, memory: ProximalNewtonMemory) -> ProximalNewtonMemory:
        """Forget everything."""
        return ProximalNewtonMemory()

    def _built(
        self, objective: Objective, point: Point, memory: ProximalNewtonMemory
    ) -> ProximalNewtonMemory:
        """Choose the coefficients of the model, and form or estimate the Hessian in them."""
        B, R, D = point.coef.shape
        memory = memory.evolved(built_floor=memory.floor)
        floors = [0.0] * B if memory.floor is None else memory.floor.tolist()
        if self.few >= R * D:
            matrix = objective.hessian(point)
            add_floor_(matrix, objective, floors)
            column = torch.arange(R * D, device=matrix.device) % D
            for whole, ridge in zip(matrix, objective.ridge.expand(B, 1, D), strict=True):
                add_penalty_(whole, ridge[0], column, R)
            return memory.evolved(working=WorkingSet(DenseWorking(matrix)))
        working = []
        for b, index in enumerate(chosen(objective, point, self.few, self.growth)):
            one, at = objective.take([b]), point.take([b])
            wide = RowWorking.at(one, at, index, floor=floors[b])
            if wide is not None:
                working.append(WorkingSet(wide, index.unsqueeze(0)))
                continue
            n_entries = len(index) ** 2
            if n_entries <= min(self.most_work / objective.rows.n_rows, self.most_entries):
                working.append(
                    WorkingSet(self._dense(one, at, index, floors[b]), index.unsqueeze(0))
                )
                continue
            if memory.blocks is None:
                memory = memory.evolved(blocks=(None,) * B)
            estimated, memory = self._sampled(one, at, index, memory, b, floors[b])
            working.append(estimated)
        return memory.evolved(working=tuple(working))

    @staticmethod
    def _dense(objective: Objective, point: Point, index: Tensor, floor: float) -> DenseWorking:
        """Form the Hessian of a single problem."""
        _, R, D = point.coef.shape
        matrix = chosen_hessian(objective, point, index, floor=floor)
        add_penalty_(matrix, objective.ridge[0, 0], index % D, R)
        return DenseWorking(matrix.unsqueeze(0))

    def _sampled(
        self,
        objective: Objective,
        point: Point,
        index: Tensor,
        memory: ProximalNewtonMemory,
        b: int,
        floor: float,
    ) -> tuple[WorkingSet, ProximalNewtonMemory]:
        """Estimate the Hessian of a single problem, the b-th, from sampled rows and pairs."""
        assert memory.blocks is not None
        blocks = memory.blocks[b]
        is_low = blocks is not None and blocks.floor < floor
        if blocks is None or is_low or self._is_stale(blocks, index, memory.n_iter):
            blocks = self._blocks(objective, point, index, memory.n_iter, floor)
            known = memory.blocks
            memory = memory.evolved(blocks=(*known[:b], blocks, *known[b + 1 :]))
        moves = Moves.none(point.coef) if memory.moves is None else memory.moves.take([b])
        others = blocks.others(index)
        places = torch.cat([*blocks.places, others]).unsqueeze(0)
        return WorkingSet(moves.on(blocks, others), places), memory

    def _is_stale(self, blocks: WorkingBlocks, index: Tensor, n_iter: int) -> bool:
        """Whether rows are to be sampled again."""
        is_old = n_iter - blocks.n_iter >= self.every
        is_large = len(blocks.index) > max(self.growth * len(index), self.few)
        return is_old or is_large or blocks.n_new(index) > MISSING * len(index)

    def _blocks(
        self, objective: Objective, point: Point, index: Tensor, n_iter: int, floor: float
    ) -> WorkingBlocks:
        """Sample blocks for these coefficients."""
        _, R, D = point.coef.shape
        of_outputs = [index[index // D == r] for r in range(R)]
        largest = int((self.most_entries / R) ** 0.5)
        n_columns = min(max(map(len, of_outputs)), largest)
        size = max(self.rows_per_column * n_columns, self.min_rows)
        if objective.is_stored:
            objective = objective.sketch
            point = objective.at(point.coef)
        n_all = objective.rows.n_rows
        blocks = WorkingBlocks.sampled(
            objective,
            point,
            of_outputs,
            torch.Generator(point.coef.device).manual_seed(self.seed * 2**16 + n_iter),
            n_all if 2 * size >= n_all else size,
            largest=largest,
            floor=floor,
        )
        return replace(blocks, n_iter=n_iter)
