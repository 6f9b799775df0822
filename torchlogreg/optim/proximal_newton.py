"""Newton's method for penalties with a kink, on the coefficients that are or become non-zero."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from torchlogreg.curvature.chosen import bend_gauge_, chosen_hessian
from torchlogreg.curvature.working import DenseWorking
from torchlogreg.curvature.working_blocks import Moves, WorkingBlocks
from torchlogreg.optim.algorithm import Algorithm, Memory
from torchlogreg.optim.stopping import Stopping
from torchlogreg.optim.working_set import WorkingSet, kinks, minimiser
from torchlogreg.problem.objective import Objective
from torchlogreg.problem.points import Point

NEGLIGIBLE = 0.01
"""Violation of the condition of a minimum that a model may overlook, in units of ``tol``."""

MOVED_ENTRIES = 2**21
"""Most entries of all stored steps of a problem."""

MISSING = 0.1
"""Part of the coefficients that may be new to an estimate of the Hessian."""

FACTORISATIONS = 10.0
"""Multiplications p^3 for the systems that a model in p coefficients takes."""


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

    Where the Hessian in these would take too long, it is estimated from sampled rows; the pairs of
    L-BFGS on top of it correct the estimate.

    Parameters
    ----------
    tol, lr, stages
        As in :class:`~torchlogreg.optim.algorithm.Algorithm`.
    few : int
        Coefficients up to which all of them are in the model.
    growth : float
        How many times as many coefficients as are not zero a model has at most.
    most_work : float
        Multiplications for a Hessian in p coefficients, and for the systems that are solved with
        it, from which on it takes too long.
    history_size : int
        Number of stored pairs.
    rows_per_column : int
        Rows of a sample for every column of a block.
    min_rows : int
        Fewest rows in a sample, where there are as many.
    most_coupled : int
        Most coefficients for which the outputs are coupled in the estimate; with more it has a
        block for every output.
    most_entries : int
        Most entries of all blocks of an estimate. Coefficients that have no place in one are known
        by their diagonal, and by the pairs.
    every : int
        Iterations after which rows are sampled again.
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

    c2: ClassVar[float] = 1e9
    """Whatever the slope: it jumps where a coefficient becomes zero."""

    few: int = 300
    growth: float = 2.0
    most_work: float = 1e11
    history_size: int = 20
    rows_per_column: int = 8
    min_rows: int = 2000
    most_coupled: int = 4000
    most_entries: int = 2**25
    every: int = 8
    seed: int = 0

    @cached_property
    def stopping(self) -> Stopping:
        """The rule by which problems are judged."""
        return Stopping(
            self.tol, patience=30, stage_patience=3, stage_gain=0.9, stage_decrease=1e-4
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
        memory = self._built(objective, point, memory.evolved(known_at=None, known=None))
        assert memory.working is not None
        direction, _ = minimiser(objective, point, memory.working)
        return direction, memory

    def gap(
        self, objective: Objective, point: Point, memory: ProximalNewtonMemory
    ) -> tuple[Tensor, ProximalNewtonMemory]:
        """Decrease that the model with the last Hessian promises."""
        if memory.working is None:  # at a start that may be good enough
            memory = self._built(objective, point, memory)
        assert memory.working is not None
        direction, lowest = minimiser(objective, point, memory.working)
        if memory.known is None:
            memory = memory.evolved(known_at=point, known=direction)
        return torch.where(
            self._misses_some(objective, point, memory), torch.inf, 0 - lowest
        ), memory

    def learn(self, old: Point, new: Point, memory: ProximalNewtonMemory) -> ProximalNewtonMemory:
        """Store the move, if there are models that need it."""
        memory = memory.evolved(n_iter=memory.n_iter + 1)
        if memory.blocks is None:
            return memory
        moves = memory.moves
        if moves is None:
            moves = Moves.none(old.coef)
        step, change = new.coef - old.coef, new.grad - old.grad
        most = min(self.history_size, max(MOVED_ENTRIES // old.coef[0].numel(), 1))
        return memory.evolved(moves=moves.add(step, change, most))

    def forget(self, memory: ProximalNewtonMemory) -> ProximalNewtonMemory:
        """Forget everything."""
        return ProximalNewtonMemory()

    def _misses_some(
        self, objective: Objective, point: Point, memory: ProximalNewtonMemory
    ) -> Tensor:
        """Whether coefficients outside the model violate the condition of a minimum, (B,)."""
        excess = objective.ascent(point).abs().flatten(1)
        working = memory.working
        for b, one in enumerate(working if isinstance(working, tuple) else ()):
            assert one.index is not None
            excess[b, one.index[0]] = 0
        is_missed = excess.amax(1) > NEGLIGIBLE * self.tol
        return is_missed if isinstance(working, tuple) else torch.zeros_like(is_missed)

    def _built(
        self, objective: Objective, point: Point, memory: ProximalNewtonMemory
    ) -> ProximalNewtonMemory:
        """Choose the coefficients of the model, and form or estimate the Hessian in them."""
        B, R, D = point.coef.shape
        if self.few >= R * D:
            matrix = objective.hessian(point)
            diagonal = matrix.diagonal(dim1=-2, dim2=-1).unflatten(-1, (R, D))
            diagonal += objective.ridge
            if objective.family.outputs_compete:
                column = torch.arange(R * D, device=matrix.device) % D
                for one in matrix:
                    bend_gauge_(one, column, R)
            return memory.evolved(working=WorkingSet(DenseWorking(matrix)))
        working = []
        for b, index in enumerate(self._chosen(objective, point)):
            one, at = objective.take([b]), point.take([b])
            p = float(len(index))
            if objective.rows.n_rows * p**2 + FACTORISATIONS * p**3 <= self.most_work:
                working.append(WorkingSet(self._dense(one, at, index), index.unsqueeze(0)))
                continue
            if memory.blocks is None:
                memory = memory.evolved(blocks=(None,) * B)
            estimated, memory = self._sampled(one, at, index, memory, b)
            working.append(estimated)
        return memory.evolved(working=tuple(working))

    def _chosen(self, objective: Objective, point: Point) -> list[Tensor]:
        """Coefficients of the model of each problem, as a rising index."""
        excess = objective.ascent(point).abs()
        is_sure = (point.coef != 0) | (kinks(objective, point.coef) == 0)
        # Those that are sure to be in it come first, then those with the largest violation.
        excess = torch.where(is_sure, torch.inf, excess).flatten(1)
        most = torch.clamp((self.growth * is_sure.flatten(1).sum(1)).long(), min=self.few)
        sizes = torch.minimum(most, (excess > 0).sum(1)).clamp(min=1).tolist()
        chosen = excess.topk(max(sizes), dim=1).indices
        return [chosen[b, :size].sort().values for b, size in enumerate(sizes)]

    @staticmethod
    def _dense(objective: Objective, point: Point, index: Tensor) -> DenseWorking:
        """Form the Hessian of a single problem."""
        matrix, column = chosen_hessian(objective, point, index), index % point.coef.shape[2]
        matrix.diagonal().add_(objective.ridge[0, 0, column])
        if objective.family.outputs_compete:
            bend_gauge_(matrix, column, point.coef.shape[1])
        return DenseWorking(matrix.unsqueeze(0))

    def _sampled(
        self,
        objective: Objective,
        point: Point,
        index: Tensor,
        memory: ProximalNewtonMemory,
        b: int,
    ) -> tuple[WorkingSet, ProximalNewtonMemory]:
        """Estimate the Hessian of a single problem, the b-th, from sampled rows and pairs."""
        assert memory.blocks is not None
        blocks = memory.blocks[b]
        if blocks is None or self._is_stale(blocks, index, memory.n_iter):
            blocks = self._blocks(objective, point, index, memory.n_iter)
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
        self, objective: Objective, point: Point, index: Tensor, n_iter: int
    ) -> WorkingBlocks:
        """Sample blocks for these coefficients."""
        _, R, D = point.coef.shape
        of_outputs = [index[index // D == r] for r in range(R)]
        places = [index] if len(index) <= self.most_coupled else of_outputs
        largest = int((self.most_entries / len(places)) ** 0.5)
        n_columns = min(max(map(len, of_outputs)), largest)
        size = max(self.rows_per_column * n_columns, self.min_rows)
        n_all = objective.rows.n_rows
        blocks = WorkingBlocks.sampled(
            objective,
            point,
            places,
            torch.Generator(point.coef.device).manual_seed(self.seed * 2**16 + n_iter),
            n_all if 2 * size >= n_all else size,
            largest=largest,
        )
        return replace(blocks, n_iter=n_iter)
