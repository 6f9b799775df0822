"""Newton's method with a Cholesky factorisation of the Hessian."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor

from torchlogreg.optim.full_batch import FullBatchOptimizer
from torchlogreg.optim.protocol import Point, SmoothObjective


def memory_of(device: torch.device) -> float:
    """Return the memory of a device in bytes: all of it on a CPU, what is free on a GPU.

    Infinity where the system does not tell.
    """
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):
        return float("inf")


class NewtonCholesky(FullBatchOptimizer):
    r"""Newton's method: forms the Hessian and factorises it, for small problems.

    An iteration costs :math:`O(n P^2 + P^3)` for P coefficients; six to ten iterations are the
    rule, and the last ones are quadratically convergent.

    The Hessian is singular where the objective is flat: along the gauge, and without a
    penalty along whatever the data does not determine. A multiple of its own diagonal, of
    the size of the rounding errors, makes it positive definite whatever the scale of the
    columns; it is raised until the factorisation succeeds.

    Parameters
    ----------
    params, lr, tol
        As in :class:`~torchlogreg.optim.FullBatchOptimizer`.

    References
    ----------
    .. [1] Nocedal & Wright, Numerical Optimization, 2nd ed., Section 3.4, Algorithm 3.3 with
       Levenberg's multiple of the identity replaced by Marquardt's multiple of the diagonal.
    """

    patience = 10

    # Newton's method that gains less from an iteration lacks the digits for its Hessian.
    stage_patience = 2
    stage_gain = 0.1
    stage_decrease = 1e-3

    # One iteration more squares the error; many of other methods stop well below tol by chance.
    margin = 0.02

    _factor: Tensor | None = None

    def _direction(
        self, objective: SmoothObjective, point: Point, memory: dict[str, Any]
    ) -> Tensor:
        """Solve H p = -g."""
        grad = point.grad.flatten(1).unsqueeze(-1)
        hessian = self._hessian(objective, point, grad)
        resolution = torch.finfo(grad.dtype).eps
        diagonal = hessian.diagonal(dim1=-2, dim2=-1)
        tiny = torch.finfo(grad.dtype).tiny
        # A column of zeros has no gradient either.
        diagonal += (diagonal <= tiny) * (diagonal.amax(-1, keepdim=True) + tiny)
        damping = resolution * grad.shape[1]
        while damping < 1:
            diagonal.mul_(1 + damping)
            factor, info = torch.linalg.cholesky_ex(hessian)
            if not info.any():
                self._factor = factor
                return -torch.cholesky_solve(grad, factor).view_as(point.grad)
            damping *= 100
        self._factor = None
        return -point.grad

    @staticmethod
    def _hessian(objective: SmoothObjective, point: Point, grad: Tensor) -> Tensor:
        """Form the Hessian; refuse before that if it does not fit with its factor."""
        B, P, _ = grad.shape
        n_bytes, available = 2 * B * P**2 * grad.element_size(), memory_of(grad.device)
        shortage = (
            f"solver='newton-cholesky' needs {n_bytes / 1e9:.1f} GB for the Hessian of {P} "
            f"coefficients and its factor; {grad.device} has {available / 1e9:.1f} GB. Use "
            "solver='lbfgs', which forms no such matrix."
        )
        if n_bytes > available:
            raise MemoryError(shortage)
        try:
            return objective.hessian(point)
        except RuntimeError as error:
            if "memory" in str(error):  # torch has no type of its own for this on a CPU
                raise MemoryError(shortage) from error
            raise

    def _suboptimality(self, point: Point, memory: dict[str, Any]) -> Tensor:
        """Newton decrement, with the Hessian of the last iteration."""
        grad = point.grad.flatten(1).unsqueeze(-1)
        if self._factor is None:
            return point.grad.new_full(point.grad.shape[:1], torch.nan)
        return 0.5 * (grad * torch.cholesky_solve(grad, self._factor.to(grad))).sum((-2, -1))

    def release(self) -> None:
        """Let go of the objective, and of the data behind it."""
        super().release()
        self._factor = None
