"""One matrix for the outputs and one for the columns."""

from __future__ import annotations

import torch
from torch import Tensor

from torchlogreg.curvature.row_sample import draw, joined, leverage, second_moments
from torchlogreg.curvature.symmetric import invert_, set_diagonal_
from torchlogreg.problem.objective import LEAST_CURVATURE, Objective
from torchlogreg.problem.points import Point


class Kronecker:
    r"""One matrix over the outputs times one over the columns.

    :math:`H \approx A \otimes G`, with the mean A of the rows' R x R Hessians in eta, of trace
    one, and the second moments G of the columns, weighted by the traces of those Hessians. At
    zero coefficients, where all classes are alike, this is exact. Along the gauge A vanishes, and
    the inverse is taken to vanish, too.

    References
    ----------
    .. [1] Martens & Grosse, Optimizing neural networks with Kronecker-factored approximate
       curvature, ICML 2015, of which this is the case of a single layer.
    """

    damping = 1.0
    """Added to the eigenvalues of A, in units of their mean: rare classes have next to none."""

    def __init__(
        self, objective: Objective, point: Point, generator: torch.Generator, n_rows: int
    ) -> None:
        B, R, D = point.coef.shape
        traces = [part.sum(1, keepdim=True) for part in objective.row_curvature(point)]
        n_free = max(R - objective.family.outputs_compete, 1)  # R - 1 but for the gauge
        strength = n_free * objective.penalty.strength
        exact, score = leverage(objective, traces, strength, n_rows)
        curvature = joined(traces).squeeze(1)
        self.outputs = point.coef.new_empty(B, R, R)
        """Pseudo-inverse of A, shape (B, R, R)."""
        self.columns = point.coef.new_empty(B, D, D)
        """Inverse of G and the penalty, shape (B, D, D)."""
        for b in range(B):
            index, weight = draw(curvature[b], score[b, 0], n_rows, generator)
            eta = joined([eta[b] for eta in point.eta])
            row = objective.family.curvature(eta if index is None else eta[:, index])
            trace = objective.family.curvature_diagonal(row).sum(0)
            mean = objective.family.summed_hessian(row, weight / trace.clamp_min(LEAST_CURVATURE))
            self.outputs[b] = self._invert_outputs(mean, n_free)
            gram = second_moments(objective.blocks, index, weight, out=self.columns[b])
            if exact is not None:
                set_diagonal_(gram, exact[b, 0])
            gram.diagonal().add_(strength[b, 0])
            invert_(gram)

    def _invert_outputs(self, mean: Tensor, n_free: int) -> Tensor:
        """Pseudo-inverse of A, computed in float64 on the host: it is small."""
        values, vectors = torch.linalg.eigh(mean.to("cpu", torch.float64))
        if not values[-1] > 0:  # every row is saturated: there is no curvature to know
            return torch.eye(len(values), dtype=mean.dtype, device=mean.device)
        values = values.clamp_min(0) / values.sum()
        is_flat = values < 1e-9
        damped = (values + self.damping / n_free) / (1 + self.damping)
        inverse = torch.where(is_flat, 0, 1 / damped)
        outputs: Tensor = (vectors * inverse) @ vectors.T
        return outputs.to(mean)

    def __call__(self, grad: Tensor) -> Tensor:
        """Apply the inverse."""
        step: Tensor = self.outputs @ grad @ self.columns
        return step
