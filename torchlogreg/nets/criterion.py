"""The criterion of the net: an objective that still lacks its data."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from torchlogreg.problem.centring import Centre
from torchlogreg.problem.families import Family
from torchlogreg.problem.objective import Objective
from torchlogreg.problem.penalties import L2
from torchlogreg.problem.rows import RowBlock


class PenalizedLoss(nn.Module):
    """Family and penalty, from which the objective of any rows is made.

    Parameters
    ----------
    family : Family
        Loss of a row.
    penalty : L2
        Penalty on the weights.
    """

    def __init__(self, family: Family, penalty: L2) -> None:
        super().__init__()
        self.family = family
        self.penalty = penalty

    def objective(
        self,
        blocks: Sequence[RowBlock],
        *,
        is_attended: bool = True,
        centre: Centre | None = None,
    ) -> Objective:
        """Return the objective of these rows."""
        return Objective(blocks, self.family, self.penalty, is_attended, centre)

    def forward(self, eta: Tensor, codes: Tensor) -> Tensor:
        """Mean loss of the logits (..., n, R) of a module, without the penalty."""
        loss, _ = self.family.loss_and_residual(eta.mT, self.family.encode(codes, eta.dtype))
        return loss.mean()
