"""Limited-memory BFGS."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from torchlogreg.optim.full_batch import FullBatchOptimizer
from torchlogreg.optim.protocol import Point, PreconditionerFactory, SmoothObjective

SETTLED = 5
"""Iterations that a start on a subsample stands for."""

AT_ONCE = 2
"""Iterations that are sure to be made: what costs no more is built before them."""

SLOW = 20
"""Iterations after which those to come are estimated."""


class LBFGS(FullBatchOptimizer):
    r"""Limited-memory BFGS with a line search that reuses the linear predictor.

    An iteration reads the data twice, whatever the line search does: once for the linear
    predictor along the direction and once for the gradient. (``torch.optim.LBFGS`` reads it
    twice for every trial of its line search.)

    With a preconditioner, its initial matrix is an approximate inverse Hessian. A rough one
    serves the first iterations; a better one is built when the coefficients have settled, and an
    ever better one from time to time. The stored pairs do not depend on it and remain.

    Parameters
    ----------
    params, lr, tol, check_every
        As in :class:`~torchlogreg.optim.FullBatchOptimizer`.
    history_size : int, default=10
        Number of stored pairs of steps s and gradient differences y.
    preconditioner : callable, default=None
        Builds the initial matrix, see
        :class:`~torchlogreg.optim.protocol.PreconditionerFactory`. None for a multiple of the
        identity.
    seed : int, default=0
        For the generator that the preconditioner draws rows with.

    Notes
    -----
    With the pairs as rows of S and Y (B, m, P), the first loop of the two-loop recursion is
    the triangular system :math:`R\alpha = Sg` with :math:`R = \mathrm{triu}(SY^\top)`, and
    the second is :math:`R^\top\delta = \mathrm{diag}(R)\,\alpha - Yr` with
    :math:`r = H_0(g - Y^\top\alpha)`; the direction is :math:`-(r + S^\top\delta)`. That is
    a dozen kernels instead of a hundred, for any number of problems.

    References
    ----------
    .. [1] Nocedal & Wright, Numerical Optimization, 2nd ed., Algorithms 7.4 and 7.5; the
       scaling of the initial matrix without a preconditioner is eq. (7.20).
    """

    # A trial reads no data: an almost exact search is cheap, and halves the iterations.
    c2 = 0.1

    # With a preconditioner all directions converge alike: when the largest entries of the gradient
    # are at tol, the rest is not as far below it as in plain L-BFGS, and the objective is higher.
    margin = 0.2

    n_start = 3
    """Iterations on a subsample, where there are rows enough for one."""

    _inverse: Callable[[Tensor], Tensor] | None = None
    _precision = torch.float64
    _is_built = False
    _known: tuple[Point, Tensor] | None = None

    def __init__(
        self,
        params: Iterable[Any],
        *,
        lr: float = 1.0,
        tol: float = 1e-4,
        check_every: int = 1,
        history_size: int = 10,
        preconditioner: PreconditionerFactory | None = None,
        seed: int = 0,
    ) -> None:
        if history_size < 1:
            raise ValueError(f"history_size={history_size!r} must be at least 1.")
        super().__init__(
            params,
            lr=lr,
            tol=tol,
            check_every=check_every,
            history_size=history_size,
            seed=seed,
        )
        self.preconditioner = preconditioner

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "preconditioner": self.preconditioner}

    def _start(self, objective: SmoothObjective, coef: Tensor, memory: dict[str, Any]) -> Point:
        """Make the first iterations on a subsample of the rows, if there are plenty.

        Not from coefficients that somebody has given, nor if it leads astray.
        """
        start = objective.at(coef)
        is_cold = not coef.any() and "n_iter" not in memory
        if self.preconditioner is None or not is_cold:
            return start
        sample = objective.subsample(self._generator(coef.device, 0))
        if sample is None:
            return start
        param = torch.nn.Parameter(coef.clone(), requires_grad=False)
        options = {name: self.param_groups[0][name] for name in self.defaults}
        helper = LBFGS([param], preconditioner=self.preconditioner, **options)
        helper.state[param]["n_iter"] = 0  # no subsample of the subsample
        for _ in range(self.n_start):
            helper.step(sample)
            if helper.is_finished:
                break
        point = objective.at(param.detach().to(coef.dtype))
        if not (point.value < start.value).all():
            return start
        memory["n_iter"] = SETTLED
        return point

    def _direction(
        self, objective: SmoothObjective, point: Point, memory: dict[str, Any]
    ) -> Tensor:
        """Apply the inverse Hessian approximation to the gradient."""
        memory.setdefault("first_norm", max(self.optimality))
        if self.preconditioner is not None:
            self._precondition(objective, point, memory)
        return self._descend(point, memory)

    def _suboptimality(self, point: Point, memory: dict[str, Any]) -> Tensor:
        """Half the decrease that the model promises along its step."""
        if self.preconditioner is not None and "S" in memory and not self._is_built:
            self._precondition(self._objective, point, memory)
        if "S" not in memory and self._inverse is None:
            return point.grad.new_full(point.grad.shape[:1], torch.nan)
        return -0.5 * (point.grad * self._descend(point, memory)).sum((-2, -1))

    def _descend(self, point: Point, memory: dict[str, Any]) -> Tensor:
        """Direction at a point, found once: the estimate of f - f* asks for it, too."""
        if self._known is None or self._known[0] is not point:
            self._known = point, self._two_loops(point, memory)
        return self._known[1]

    def _two_loops(self, point: Point, memory: dict[str, Any]) -> Tensor:
        """Two-loop recursion on the gradient."""
        g = point.grad.flatten(1).unsqueeze(-1)
        if "S" not in memory:
            if self._inverse is not None:
                return -self._apply_inverse(point.grad)
            return -point.grad / point.grad.abs().sum((-2, -1), keepdim=True).clamp_min(
                torch.finfo(g.dtype).tiny
            )
        S, Y = memory["S"], memory["Y"]
        R = torch.triu(S @ Y.mT)
        curvature = R.diagonal(dim1=-2, dim2=-1).unsqueeze(-1).clone()
        R.diagonal(dim1=-2, dim2=-1)[curvature.squeeze(-1) == 0] = 1  # left-out pairs
        alpha = torch.linalg.solve_triangular(R, S @ g, upper=True)
        q = g - Y.mT @ alpha
        r = memory["scale"] * self._apply_inverse(q.view_as(point.grad)).reshape_as(q)
        delta = torch.linalg.solve_triangular(R.mT, curvature * alpha - Y @ r, upper=False)
        direction: Tensor = -(r + S.mT @ delta)
        return direction.view_as(point.grad)

    def _precondition(
        self, objective: SmoothObjective | None, point: Point, memory: dict[str, Any]
    ) -> None:
        """Build the initial matrix when it is time, and after a break as it was before."""
        assert self.preconditioner is not None
        assert objective is not None
        memory.setdefault("n_iter", 0)
        known = memory.get("quality", -1)
        quality = self._quality_due(objective, point, memory)
        if quality < 0:
            return
        if quality > known:
            memory["anchor"], memory["quality"] = point.coef, quality
        if quality > known or not self._is_built:
            anchor = memory["anchor"]
            at_anchor = point if anchor is point.coef else objective.at(anchor)
            generator = self._generator(point.coef.device, 1 + quality)
            self._inverse = self.preconditioner(objective, at_anchor, generator, quality=quality)
            self._is_built, self._precision, self._known = True, objective.dtype, None
            if not self._apply_inverse(point.grad).isfinite().all():  # it overflows
                self._inverse = None
            if "S" in memory:
                self._rescale(memory, point.grad.shape)

    def _quality_due(self, objective: SmoothObjective, point: Point, memory: dict[str, Any]) -> int:
        """Return the best quality that is due: as much time has gone by as it costs.

        It is due before that, if it is not out of all proportion, when the iterations so far
        show that without it there will be many.
        """
        assert self.preconditioner is not None
        n_iter, known = int(memory["n_iter"]), int(memory.get("quality", -1))
        limit = n_iter + AT_ONCE
        if n_iter >= SLOW and self._expected(memory) > 3 * SLOW:
            limit = max(limit, 10 * SLOW)
        for quality in reversed(range(known + 1, len(self.preconditioner.earliest))):
            is_settled = n_iter >= self.preconditioner.earliest[quality]
            if is_settled and self.preconditioner.cost(objective, point, quality) <= limit:
                return quality
        return known

    def _expected(self, memory: dict[str, Any]) -> float:
        """Return how many iterations there will be if they go on as so far."""
        goal = max(self.margin * self._tol, torch.finfo(torch.float64).tiny)
        first, now = memory["first_norm"], max(self.optimality)
        if not 0 < now < first < math.inf:
            return math.inf
        return float(memory["n_iter"] * math.log(first / goal) / math.log(first / now))

    def _apply_inverse(self, gradient: Tensor) -> Tensor:
        """Apply the preconditioner, if any, in the precision in which it was built."""
        if self._inverse is None:
            return gradient
        return self._inverse(gradient.to(self._precision)).to(gradient.dtype)

    def _generator(self, device: torch.device, stream: int) -> torch.Generator:
        """Return a generator for one of several purposes: the same one each time."""
        seed = self.param_groups[0]["seed"]
        return torch.Generator(device).manual_seed(seed * 2**16 + stream)

    def _remember(self, memory: dict[str, Any], point: Point, new_point: Point) -> None:
        """Store the pair; where rounding spoils its curvature, a pair of zeros."""
        memory["n_iter"] = memory.get("n_iter", 0) + 1
        s = (new_point.coef - point.coef).flatten(1).unsqueeze(-2)
        y = (new_point.grad - point.grad).flatten(1).unsqueeze(-2)
        lengths = s.norm(dim=-1, keepdim=True) * y.norm(dim=-1, keepdim=True)
        is_sound = s @ y.mT > torch.finfo(s.dtype).eps * lengths
        for name, row in (("S", s), ("Y", y)):
            rows = [memory[name]] if name in memory else []
            rows.append(torch.where(is_sound, row, 0))
            memory[name] = torch.cat(rows, dim=-2)[:, -self.param_groups[0]["history_size"] :]
        self._rescale(memory, point.grad.shape)

    def _forget(self, memory: dict[str, Any]) -> None:
        """Forget pairs and preconditioner."""
        for name in ("S", "Y", "scale", "anchor", "quality"):
            memory.pop(name, None)
        self._inverse, self._is_built, self._known = None, False, None

    def _rescale(self, memory: dict[str, Any], shape: torch.Size) -> None:
        """Scale the initial matrix so that it fits the curvature along the last step.

        With a preconditioner, too: where the classes are all but separated, the Hessian shrinks
        with every iteration.
        """
        s, y = memory["S"][:, -1:], memory["Y"][:, -1:]
        expected = y @ self._apply_inverse(y.view(shape)).view_as(y).mT
        scale = (s @ y.mT) / expected
        known = memory.get("scale", torch.ones_like(scale))
        memory["scale"] = torch.where((scale > 0) & scale.isfinite(), scale, known)

    def release(self) -> None:
        """Let go of the objective, and of the data behind it."""
        super().release()
        self._inverse, self._is_built, self._known = None, False, None
