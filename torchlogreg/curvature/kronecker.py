"""One matrix for the outputs and one for the columns."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from torchlogreg.curvature.base import Curvature, with_ridge
from torchlogreg.curvature.row_sample import draw, leverage, second_moments
from torchlogreg.curvature.symmetric import invert_, set_diagonal_
from torchlogreg.problem.families import inverse
from torchlogreg.problem.objective import LEAST_CURVATURE, Objective
from torchlogreg.problem.points import Point
from torchlogreg.problem.rows import joined


@dataclass(frozen=True, eq=False)
class Kronecker(Curvature):
    r"""One matrix over the outputs times one over the columns.

    :math:`H \approx A \otimes G`, with the mean A of the rows' R x R Hessians in eta, of trace
    one, and the second moments G of the columns, weighted by the traces of those Hessians. At
    zero coefficients, where all classes are alike, this is exact. Along the gauge A vanishes, and
    so do steps. The penalty is added to G, times the number of directions that A leaves.

    References
    ----------
    .. [1] Martens & Grosse, Optimizing neural networks with Kronecker-factored approximate
       curvature, ICML 2015, of which this is the case of a single layer.
    """

    outputs: Tensor
    """A of every problem, shape (1 or B, R, R)."""

    columns: Tensor
    """G of every problem without ``ridge``, shape (1 or B, D, D)."""

    damping: float = 1.0
    """Added to the eigenvalues of A, in units of their mean: rare classes have next to none."""

    @classmethod
    def sampled(
        cls, objective: Objective, point: Point, generator: torch.Generator, n_rows: int
    ) -> Self:
        """Estimate both matrices at a point from ``n_rows`` rows, or fewer."""
        (B, R, D), all_rows = point.coef.shape, objective.rows
        traces = [part.sum(1, keepdim=True) for part in objective.row_curvature(point)]
        exact, score = leverage(objective, traces, max(R - 1, 1) * objective.ridge, n_rows)
        curvature, family = joined(traces).squeeze(1), objective.family
        targets = joined([block.targets for block in all_rows])
        row_weight = all_rows.weight.unsqueeze(-2).expand(B, -1, -1)
        outputs, columns = point.coef.new_empty(B, R, R), point.coef.new_empty(B, D, D)
        for b in range(B):
            index, weight = draw(all_rows, curvature[b], score[b, 0], n_rows, generator)
            some = slice(None) if index is None else index
            residual = joined([part[b : b + 1] for part in point.residual])[..., some]
            before = row_weight[b : b + 1, :, some]
            rows = family.curvature(residual, targets[some], before, -inverse(before))
            trace = family.curvature_diagonal(rows, before).sum(1, keepdim=True)
            factor = weight * inverse(torch.maximum(trace, LEAST_CURVATURE * before))
            own = family.summed_hessian(rows * factor, before * factor)[0]
            (outputs[b],) = all_rows.group.total(own)
            columns[b] = second_moments(all_rows, index, weight)
            if exact is not None:
                set_diagonal_(columns[b], exact[b, 0])
        total = outputs.diagonal(dim1=-2, dim2=-1).sum(-1)[:, None, None]
        return cls(torch.where(total > 0, outputs / total, outputs), columns)

    @property
    def n_free(self) -> int:
        """Number of directions that the gauge leaves to the outputs."""
        return max(self.outputs.shape[-1] - 1, 1)

    @cached_property
    def inverse_outputs(self) -> Tensor:
        """Pseudo-inverse of A (1 or B, R, R), computed in float64 on the host: it is small.

        The identity where every row is saturated: there is no curvature to know.
        """
        values, vectors = torch.linalg.eigh(self.outputs.to("cpu", torch.float64))
        largest = values[:, -1:]
        values = values.clamp_min(0)
        damped = (values + self.damping / self.n_free) / (1 + self.damping)
        inverse = torch.where(values < 1e-9, 0, 1 / damped)
        outputs = (vectors * inverse.unsqueeze(-2)) @ vectors.mT
        identity = torch.eye(vectors.shape[-1], dtype=torch.float64, device="cpu")
        return torch.where(largest.unsqueeze(-1) > 0, outputs, identity).to(self.outputs)

    @cached_property
    def inverse_columns(self) -> Tensor:
        """Inverse of G and the penalty, shape (1 or B, D, D)."""
        ridge = None if self.ridge is None else self.n_free * self.ridge.squeeze(1)
        return invert_(with_ridge(self.columns, ridge))

    def solve(self, g: Tensor) -> Tensor:
        """A step s with H s = g, damped, and 0 along the gauge."""
        return self.inverse_outputs @ g @ self.inverse_columns

    def _multiply(self, v: Tensor) -> Tensor:
        return self.outputs @ v @ self.columns
