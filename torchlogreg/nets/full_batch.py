"""The net of the exact solvers."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from torchlogreg.data.training_sets import WholeBatch
from torchlogreg.nets.base import LogisticNet
from torchlogreg.problem.penalties import NoPenalty


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
        self.objective_ = self.criterion_.objective(X.blocks, centre=X.centre)
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
        objective = self.objective_
        self.optimizer_.certify(objective)
        self._record()
        has_penalty = not isinstance(self.criterion_.penalty, NoPenalty)
        self.is_separated_ = not has_penalty and objective.is_separated(
            objective.at(objective.inner(self.module_.coef.detach()))
        )
        self.optimizer_.release()
        del self.objective_

    def shortfall(self) -> str | None:
        """Say what has kept the gradient above ``tol``, or that there is no minimiser."""
        optimizer = self.optimizer_
        summary = (
            f"after {len(self.history)} iterations of {type(optimizer).__name__} the gradient "
            f"norm is {self.optimality:.2e} (tol={optimizer.defaults['tol']:g})"
        )
        if self.is_separated_:
            return (
                f"The classes are separable and C=inf: the loss has no minimiser, and the "
                f"coefficients grow with every iteration; {summary}. Use a finite C."
            )
        if optimizer.is_converged:
            return None
        if self.is_out_of_epochs:
            return (
                f"The fit did not converge: {summary}. Raise max_iter (now {self.max_epochs}) or "
                "scale the columns of X (sklearn.preprocessing.StandardScaler)."
            )
        if self.is_finished:
            dtype = str(self.module_.coef.dtype).removeprefix("torch.")
            remedies = [
                "pass X as float64",
                "scale the columns of X (sklearn.preprocessing.StandardScaler)",
                "raise tol",
            ][dtype == "float64" :]
            return (
                f"No further progress is possible in {dtype}: {summary}. Remedies: "
                f"{', '.join(remedies)}."
            )
        if self.n_resumed_:
            return (
                f"The fit that a checkpoint has brought back ended short of tol: {summary}. Remove "
                "the file, or raise tol."
            )
        return None  # a callback has ended it

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
