"""Limited-memory BFGS on top of an approximate Hessian."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from torchlogreg.curvature import Pairs
from torchlogreg.optim.algorithm import Algorithm, Memory, spread
from torchlogreg.optim.choice import SampledCurvature
from torchlogreg.optim.minimise import minimise
from torchlogreg.optim.stages import Subsample
from torchlogreg.optim.stopping import Stopping
from torchlogreg.problem.objective import Objective
from torchlogreg.problem.points import Point


@dataclass(frozen=True, eq=False)
class QuasiNewtonMemory(Memory):
    """What L-BFGS knows between two iterations."""

    pairs: Pairs
    """The last moves, on top of the initial matrix. Changes in every iteration."""

    n_iter: int | None = None
    """Iterations made, with those that a start on a subsample stands for; None before the start."""

    first_norm: float | None = None
    """Largest gradient norm before the first iteration; it stays."""

    quality: int = -1
    """Quality of the initial matrix, -1 for none. Rises when a better one is built."""

    anchor: Tensor | None = None
    """Coefficients at which that was built: after a break it is built there again."""

    is_built: bool = False
    """Whether ``pairs`` has it. False after a break."""

    known_at: Point | None = None
    """Where the gradient was last solved for."""

    gradient_solved: Tensor | None = None
    """The initial matrix' solution for that gradient. The next pair asks for it, too."""

    known: Tensor | None = None
    """The direction there, if it was found: the estimate of f - f* asks for it, too."""

    def to(self, dtype: torch.dtype) -> QuasiNewtonMemory:
        """Return it for an objective of another dtype."""
        anchor = None if self.anchor is None else self.anchor.to(dtype)
        return replace(self, pairs=self.pairs.to(dtype), anchor=anchor, known_at=None)

    def stored(self, problems: list[int], n_problems: int) -> dict[str, Any]:
        """Return what is needed to go on after a break; zeros for problems that have left."""
        names = ("n_iter", "first_norm", "quality", "anchor")
        stored = {name: getattr(self, name) for name in names}
        scale = torch.as_tensor(self.pairs.scale)
        stored |= {"S": self.pairs.steps, "Y": self.pairs.differences, "scale": scale}
        return {
            name: spread(value, problems, n_problems, empty=float(name == "scale"))
            for name, value in stored.items()
            if value is not None
        }


@dataclass(frozen=True)
class QuasiNewton(Algorithm[QuasiNewtonMemory]):
    r"""Limited-memory BFGS with a line search that reuses the linear predictor.

    An iteration reads the data twice, whatever the line search does: once for the linear
    predictor along the direction and once for the gradient. (``torch.optim.LBFGS`` reads it
    twice for every trial of its line search.)

    With a preconditioner, the initial matrix is an approximate Hessian. A rough one serves the
    first iterations. A better one is built when the coefficients have settled, and again from time
    to time. The stored pairs do not depend on it and remain.

    Parameters
    ----------
    tol, lr, stages
        As in :class:`~torchlogreg.optim.algorithm.Algorithm`.
    history_size : int
        Number of stored pairs of steps s and gradient differences y.
    preconditioner : SampledCurvature, optional
        Builds the initial matrix, a better one from time to time. None for a multiple of the
        identity.
    subsample : Subsample or None
        Where a cold start with a preconditioner makes its first iterations.
    seed : int
        For the generator that rows are drawn with.
    at_once : int
        Iterations that are sure to be made: what costs no more is built before them.
    slow : int
        Iterations after which those to come are estimated.

    References
    ----------
    .. [1] Nocedal & Wright, Numerical Optimization, 2nd ed., Algorithms 7.4 and 7.5.
    """

    name: ClassVar[str] = "lbfgs"

    # A trial reads no data: an almost exact search is cheap, and halves the iterations.
    c2: ClassVar[float] = 0.1

    history_size: int = 10
    preconditioner: SampledCurvature | None = None
    subsample: Subsample | None = field(default_factory=Subsample)
    seed: int = 0
    at_once: int = 2
    slow: int = 20

    def __post_init__(self) -> None:
        if self.history_size < 1:
            raise ValueError(f"history_size={self.history_size!r} must be at least 1.")

    @cached_property
    def stopping(self) -> Stopping:
        """The rule by which problems are judged.

        The model promises half of the excess, or less, where pairs and sample know little.
        """
        return Stopping(self.tol, excess=0.005)

    def restored(
        self, stored: Mapping[str, Any], coef: Tensor, *, is_attended: bool = True
    ) -> QuasiNewtonMemory:
        """Return the memory that was stored; an empty one for an empty mapping."""
        rest = {name: value for name, value in stored.items() if name not in ("S", "Y", "scale")}
        pairs = Pairs.none(coef, is_attended=is_attended)
        if "S" in stored:
            scale = stored["scale"]
            scale = scale.numpy(force=True) if is_attended else scale.to(coef.dtype)
            pairs = pairs.refilled(stored["S"], stored["Y"], coef.shape, self.history_size)
            pairs = pairs.evolved(scale=scale)
        return QuasiNewtonMemory(pairs, **rest)

    def begin(
        self, objective: Objective, coef: Tensor, memory: QuasiNewtonMemory
    ) -> tuple[Point, QuasiNewtonMemory]:
        """Make the first iterations on a subsample of the rows, if there are plenty.

        Not from coefficients that somebody has given, nor for problems that it leads astray.
        """
        start = objective.at(coef)
        is_cold = memory.n_iter is None and not coef.any()
        if self.preconditioner is None or self.subsample is None or not is_cold:
            return start, memory.evolved(n_iter=memory.n_iter or 0)
        memory = memory.evolved(n_iter=0)
        sample = self.subsample.of(objective, self._generator(coef.device, 0))
        if sample is None:
            return start, memory
        plain = replace(self, subsample=None, stages=None)
        found = minimise(sample, coef, plain, self.subsample.n_iter, is_checked=False).coef
        point = objective.at(objective.inner(found))
        is_lower = torch.as_tensor(point.value < start.value)
        if not is_lower.any():
            return start, memory
        point = point if is_lower.all() else point.where(is_lower.to(coef.device), start)
        return point, memory.evolved(n_iter=self.subsample.worth)

    def direction(
        self, objective: Objective, point: Point, memory: QuasiNewtonMemory, norm: float
    ) -> tuple[Tensor, QuasiNewtonMemory]:
        """Apply the inverse Hessian approximation to the gradient."""
        if memory.first_norm is None:
            memory = memory.evolved(first_norm=norm)
        quality = self._quality_due(objective, point, memory, norm)
        memory = self._on_curvature(objective, point, memory, quality)
        return self._descend(point, memory)

    def gap(
        self, objective: Objective, point: Point, memory: QuasiNewtonMemory
    ) -> tuple[Tensor, QuasiNewtonMemory]:
        """Half the decrease that the model promises along its step; a bound before the first."""
        quality = memory.quality
        if quality < 0:  # of a diagonal alone, no estimate can be trusted
            quality = self._quality_due(objective, point, memory, math.inf)
            quality = -1 if quality == 0 else quality
        memory = self._on_curvature(objective, point, memory, quality)
        if not len(memory.pairs) and memory.pairs.initial is None:
            return _bound(objective, point), memory
        direction, memory = self._descend(point, memory)
        return -0.5 * (point.grad * direction).sum((-2, -1)), memory

    def learn(self, old: Point, new: Point, memory: QuasiNewtonMemory) -> QuasiNewtonMemory:
        """Store the pair; where rounding spoils its curvature, a pair of zeros."""
        assert memory.n_iter is not None
        pairs, before = memory.pairs, memory.gradient_solved
        after, change = pairs.initial_solve(new.grad), new.grad - old.grad
        solved = pairs.initial_solve(change) if before is None else after - before
        return memory.evolved(
            pairs=pairs.add(new.coef - old.coef, change, solved, self.history_size),
            n_iter=memory.n_iter + 1,
            known_at=new,
            gradient_solved=after,
            known=None,
        )

    def forget(self, memory: QuasiNewtonMemory) -> QuasiNewtonMemory:
        """Forget pairs and initial matrix."""
        pairs = memory.pairs.cleared()
        return memory.evolved(pairs=pairs, quality=-1, anchor=None, is_built=False, known_at=None)

    def _descend(self, point: Point, memory: QuasiNewtonMemory) -> tuple[Tensor, QuasiNewtonMemory]:
        """Direction at a point, found once."""
        pairs, solved = memory.pairs, memory.gradient_solved
        if memory.known_at is not point or solved is None:
            solved = pairs.initial_solve(point.grad)
        elif memory.known is not None:
            return memory.known, memory
        direction = pairs.completed(point.grad, solved).neg_()
        if not len(memory.pairs) and memory.pairs.initial is None:
            tiny = torch.finfo(direction.dtype).tiny
            direction = direction / direction.abs().sum((-2, -1), keepdim=True).clamp_min(tiny)
        memory = memory.evolved(known_at=point, gradient_solved=solved, known=direction)
        return direction, memory

    def _on_curvature(
        self, objective: Objective, point: Point, memory: QuasiNewtonMemory, quality: int
    ) -> QuasiNewtonMemory:
        """Build the initial matrix when it is time, and after a break as it was before."""
        if (
            self.preconditioner is None
            or quality < 0
            or (memory.is_built and quality == memory.quality)
        ):
            return memory
        if quality > memory.quality or memory.anchor is None:
            memory, at_anchor = memory.evolved(anchor=point.coef, quality=quality), point
        else:
            at_anchor = objective.at(memory.anchor)
        generator = self._generator(point.coef.device, 1 + quality)
        initial = self.preconditioner(objective, at_anchor, generator, quality=quality)
        is_sound = initial.solve(point.grad).isfinite().all(-1).all(-1)  # it may overflow
        pairs = memory.pairs.on(initial, is_sound, point.grad.shape)
        return memory.evolved(pairs=pairs, is_built=True, known_at=None)

    def _quality_due(
        self, objective: Objective, point: Point, memory: QuasiNewtonMemory, norm: float
    ) -> int:
        """Return the best quality that is due: as much time has gone by as it costs.

        It is due before that, if it is not out of all proportion, when the iterations so far
        show that without it there will be many. The slowest problem decides.
        """
        if self.preconditioner is None:
            return -1
        n_iter = memory.n_iter or 0
        limit = n_iter + self.at_once
        if n_iter >= self.slow and self._expected(memory, norm) > 3 * self.slow:
            limit = max(limit, 10 * self.slow)
        for quality in reversed(range(memory.quality + 1, len(self.preconditioner.earliest))):
            is_settled = n_iter >= self.preconditioner.earliest[quality]
            if is_settled and self.preconditioner.cost(objective, point, quality) <= limit:
                return quality
        return memory.quality

    def _expected(self, memory: QuasiNewtonMemory, norm: float) -> float:
        """Return how many iterations there will be if they go on as so far."""
        goal = max(self.stopping.goal, torch.finfo(torch.float64).tiny)
        first = memory.first_norm
        if first is None or memory.n_iter is None or not 0 < norm < first < math.inf:
            return math.inf
        return memory.n_iter * math.log(first / goal) / math.log(first / norm)

    def _generator(self, device: torch.device, stream: int) -> torch.Generator:
        """Return a generator for one of several purposes: the same one each time."""
        return torch.Generator(device).manual_seed(self.seed * 2**16 + stream)


def _bound(objective: Objective, point: Point) -> Tensor:
    r"""Bound (B,) for the excess of strongly convex objectives, about.

    That is :math:`\lVert g \rVert^2 / (2 \lambda)`, with the mean curvature of the rows in
    the place of the penalty for the intercept, which has none. Infinity without a penalty.
    """
    if objective.penalty.is_zero:
        return point.grad.new_full((len(point.grad),), math.inf)
    curvature = objective.mean_curvature(objective.curvature(point))
    least = torch.where(objective.ridge == 0, curvature, objective.ridge)
    return 0.5 * (point.grad**2 / least).sum((-2, -1))
