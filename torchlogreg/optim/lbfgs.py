"""Limited-memory BFGS."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from torchlogreg.optim.full_batch import FullBatchOptimizer
from torchlogreg.optim.protocol import Point, SmoothObjective


class LBFGS(FullBatchOptimizer):
    """Limited-memory BFGS with a line search that reuses the linear predictor.

    An iteration reads the data twice, whatever the line search does: once for the linear
    predictor along the direction and once for the gradient. (``torch.optim.LBFGS`` reads it
    twice for every trial of its line search.)

    Parameters
    ----------
    params, lr, tol
        As in :class:`~torchlogreg.optim.FullBatchOptimizer`.
    history_size : int, default=10
        Number of stored pairs of steps s and gradient differences y.

    References
    ----------
    .. [1] Nocedal & Wright, Numerical Optimization, 2nd ed., Algorithms 7.4 and 7.5; the
       scaling of the initial matrix is eq. (7.20).
    """

    def __init__(
        self,
        params: Iterable[Any],
        *,
        lr: float = 1.0,
        tol: float = 1e-4,
        history_size: int = 10,
    ) -> None:
        if history_size < 1:
            raise ValueError(f"history_size={history_size!r} must be at least 1.")
        super().__init__(params, lr=lr, tol=tol, history_size=history_size)

    def _direction(
        self, objective: SmoothObjective, point: Point, memory: dict[str, Any]
    ) -> Tensor:
        """Two-loop recursion: apply the inverse Hessian approximation to the gradient."""
        pairs = memory.get("pairs", [])
        q = point.grad
        if not pairs:
            return -q / _column(q.abs().sum((-2, -1)).clamp_min(torch.finfo(q.dtype).tiny))
        alphas = []
        for s, y, rho in reversed(pairs):
            alpha = _column(rho * _dot(s, q))
            q = q - alpha * y
            alphas.append(alpha)
        r = _column(memory["scale"]) * q
        for (s, y, rho), alpha in zip(pairs, reversed(alphas), strict=True):
            r = r + s * (alpha - _column(rho * _dot(y, r)))
        return -r

    def _remember(self, memory: dict[str, Any], point: Point, new_point: Point) -> None:
        """Store the pair; where rounding spoils its curvature it gets weight 0."""
        s, y = new_point.coef - point.coef, new_point.grad - point.grad
        curvature, y_norm2 = _dot(s, y), _dot(y, y)
        is_sound = curvature > torch.finfo(s.dtype).eps * y_norm2
        rho = torch.where(is_sound, 1 / curvature, 0)
        scale = torch.where(is_sound, curvature / y_norm2, memory.get("scale", rho.new_ones(())))
        size = self.param_groups[0]["history_size"]
        memory["scale"] = scale
        memory["pairs"] = [*memory.get("pairs", []), (s, y, rho)][-size:]


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner product of each problem, shape (B,)."""
    return (a * b).sum((-2, -1))


def _column(x: Tensor) -> Tensor:
    """Reshape (B,) to broadcast against (B, R, D)."""
    return x[:, None, None]
