"""Limited-memory BFGS."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from torchlogreg.optim.full_batch import FullBatchOptimizer
from torchlogreg.optim.protocol import Point, SmoothObjective


class LBFGS(FullBatchOptimizer):
    r"""Limited-memory BFGS with a line search that reuses the linear predictor.

    An iteration reads the data twice, whatever the line search does: once for the linear
    predictor along the direction and once for the gradient. (``torch.optim.LBFGS`` reads it
    twice for every trial of its line search.)

    Parameters
    ----------
    params, lr, tol
        As in :class:`~torchlogreg.optim.FullBatchOptimizer`.
    history_size : int, default=10
        Number of stored pairs of steps s and gradient differences y.

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
       scaling of the initial matrix is eq. (7.20).
    """

    # A trial reads no data: an almost exact search is cheap, and halves the iterations.
    c2 = 0.1

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
        """Apply the inverse Hessian approximation to the gradient."""
        g = point.grad.flatten(1).unsqueeze(-1)
        if "S" not in memory:
            direction = -g / g.abs().sum(-2, keepdim=True).clamp_min(torch.finfo(g.dtype).tiny)
        else:
            S, Y = memory["S"], memory["Y"]
            R = torch.triu(S @ Y.mT)
            curvature = R.diagonal(dim1=-2, dim2=-1).unsqueeze(-1).clone()
            R.diagonal(dim1=-2, dim2=-1)[curvature.squeeze(-1) == 0] = 1  # left-out pairs
            alpha = torch.linalg.solve_triangular(R, S @ g, upper=True)
            r = memory["scale"] * (g - Y.mT @ alpha)
            delta = torch.linalg.solve_triangular(R.mT, curvature * alpha - Y @ r, upper=False)
            direction = -(r + S.mT @ delta)
        return direction.view_as(point.grad)

    def _remember(self, memory: dict[str, Any], point: Point, new_point: Point) -> None:
        """Store the pair; where rounding spoils its curvature, a pair of zeros."""
        s = (new_point.coef - point.coef).flatten(1).unsqueeze(-2)
        y = (new_point.grad - point.grad).flatten(1).unsqueeze(-2)
        curvature, y_norm2 = s @ y.mT, y @ y.mT
        is_sound = curvature > torch.finfo(s.dtype).eps * y_norm2
        scale = memory.get("scale", torch.ones_like(curvature))
        memory["scale"] = torch.where(is_sound, curvature / y_norm2, scale)
        for name, row in (("S", s), ("Y", y)):
            rows = [memory[name]] if name in memory else []
            rows.append(torch.where(is_sound, row, 0))
            memory[name] = torch.cat(rows, dim=-2)[:, -self.param_groups[0]["history_size"] :]
