"""The net of the exact solvers."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from torchlogreg.batches import WholeBatch
from torchlogreg.nets.base import LogisticNet


class FullBatchNet(LogisticNet):
    """Net of the exact solvers: an epoch is an iteration on the whole data.

    The optimizer is a :class:`~torchlogreg.optim.FullBatchOptimizer`, which knows when it is
    finished.
    """

    @property
    def is_finished(self) -> bool:
        """Whether the optimizer says so."""
        return bool(self.optimizer_.is_finished)

    @property
    def optimality(self) -> float:
        """Gradient norm of the worst problem."""
        return float(max(self.optimizer_.optimality))

    @property
    def suboptimality(self) -> float:
        """Estimate of f - f* of the worst problem."""
        return float(max(self.optimizer_.suboptimality))

    def get_iterator(self, dataset: Any, training: bool = False) -> Any:
        """Give out the training set as a whole."""
        return WholeBatch(dataset) if training else super().get_iterator(dataset, training)

    def fit_loop(
        self, X: Any, y: None = None, epochs: int | None = None, **fit_params: Any
    ) -> LogisticNet:
        """Run iterations until the optimizer is finished, ``max_epochs`` at most."""
        self.objective_ = self.criterion_.objective(X.blocks)
        self.optimizer_.is_finished = False
        return super().fit_loop(X, y, epochs, **fit_params)

    def train_step(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        """Make one solver iteration."""
        self.optimizer_.step(self.objective_)
        self._record()
        loss = self.history[-1].get("train_loss", math.nan)
        eta = self._logits() if self.callbacks_ else None
        return {"loss": torch.tensor(loss, dtype=torch.float64, device="cpu"), "y_pred": eta}

    def conclude(self) -> None:
        """Let the optimizer check its result and forget the data."""
        self.optimizer_.certify(self.objective_)
        self._record()
        self.optimizer_.release()
        del self.objective_

    def _logits(self) -> Tensor:
        """Logits (n, R) after the iteration, which the optimizer has at hand."""
        return torch.cat(list(self.optimizer_.point.eta), dim=-1)[0].mT

    def _record(self) -> None:
        """Write what the optimizer has traced into the last rows of the history."""
        trace = self.optimizer_.trace
        rows = [row for row in self.history[len(self.history) - len(trace) :] if row["batches"]]
        trace = trace[: len(rows)]
        for row, (loss, optimality, step) in zip(rows, trace, strict=True):
            row["batches"][0]["train_loss"] = row["train_loss"] = loss
            row["optimality"], row["step"] = optimality, step
