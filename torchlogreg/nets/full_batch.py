"""The net of the exact solvers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchlogreg.data.training_sets import ArrayRows
from torchlogreg.nets.base import LogisticNet
from torchlogreg.problem.objective import Objective


class WholeBatch:
    """Iterator whose epoch is a single batch: the objective of all rows, and their codes."""

    def __init__(self, objective: Objective, codes: Tensor) -> None:
        self.objective = objective
        self.codes = codes

    def __iter__(self) -> Iterator[tuple[Objective, Tensor]]:
        """Yield the batch once."""
        yield self.objective, self.codes


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
        return max((s.optimality for s in self.optimizer_.standings), default=math.inf)

    @property
    def suboptimality(self) -> float:
        """Estimate of f - f* of the worst problem; nan if that of any is."""
        gap = float(np.max([s.gap for s in self.optimizer_.standings], initial=-math.inf))
        return gap if gap < math.inf else math.nan

    def get_iterator(self, dataset: Any, training: bool = False) -> Any:
        """Give out the objective of the training set."""
        if training:
            return WholeBatch(self.criterion_.objective(dataset.rows), dataset.codes)
        return super().get_iterator(dataset, training)

    def fit_loop(
        self, X: Any, y: None = None, epochs: int | None = None, **fit_params: Any
    ) -> LogisticNet:
        """Run iterations until the optimizer is finished, ``max_epochs`` at most."""
        self.optimizer_.restart()
        return super().fit_loop(X, y, epochs, **fit_params)

    def run_single_epoch(
        self, iterator: Any, training: bool, prefix: str, step_fn: Any, **fit_params: Any
    ) -> None:
        """Make one solver iteration; without callbacks, nobody is told of the batch."""
        if self.callbacks_ or not training:
            super().run_single_epoch(iterator, training, prefix, step_fn, **fit_params)
            return
        self.optimizer_.iterate(iterator.objective)
        row, size = self.history[-1], len(iterator.objective)
        row["batches"].append({"train_loss": math.nan, "train_batch_size": size})
        row["train_batch_count"] = 1
        self._record()

    def train_step(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        """Make one solver iteration."""
        objective, _ = batch
        self.optimizer_.step(objective)
        self._record()
        loss = self.history[-1].get("train_loss", math.nan)
        return {
            "loss": torch.tensor(loss, dtype=torch.float64, device="cpu"),
            "y_pred": self._logits(self.optimizer_.run.state.point),
        }

    def conclude(self, rows: ArrayRows) -> None:
        """Let the optimizer check its result and forget the data."""
        objective = self.criterion_.objective(rows.rows)
        self.optimizer_.certify(objective)
        self._record()
        self.is_separated_ = False
        if self.criterion_.penalty.is_zero:
            point = objective.at(objective.inner(self.coef))
            self.is_separated_ = bool(objective.is_separated(point).any())
        self.optimizer_.release()

    def shortfall(self) -> str | None:
        """Say what has kept the gradient above ``tol``, or that there is no minimiser."""
        optimizer = self.optimizer_
        tol = optimizer.defaults["tol"]
        failure = (
            f"{optimizer.algorithm.name} failed to converge after {len(self.history)} iterations"
        )
        summary = f"the gradient norm is {self.optimality:.2e} (tol={tol:g})"
        if self.is_separated_:
            return (
                f"{failure}: the classes are separable and C=inf, so that the loss has no "
                f"minimiser and the coefficients grow with every iteration; {summary}. Use a "
                "finite C."
            )
        if optimizer.is_converged:
            return None
        if self.is_out_of_epochs:
            return (
                f"{failure}: {summary}. Increase the number of iterations "
                f"(max_iter={self.max_epochs}) or scale the "
                "columns of X (sklearn.preprocessing.StandardScaler)."
            )
        if self.is_finished:
            dtype = str(self.module_.coef.dtype).removeprefix("torch.")
            remedies = [
                "pass X as float64",
                "scale the columns of X (sklearn.preprocessing.StandardScaler)",
                "raise tol",
            ][dtype == "float64" :]
            return (
                f"{failure}: {summary}, and no further progress is possible in {dtype}. Remedies: "
                f"{', '.join(remedies)}."
            )
        if self.n_resumed_:
            return (
                f"{failure}, in a run that a checkpoint has brought back: {summary}. Remove the "
                "file, or raise tol."
            )
        return None  # a callback has ended it

    def _record(self) -> None:
        """Write what the optimizer has traced into the last rows of the history."""
        looks = [] if self.optimizer_.run is None else self.optimizer_.run.looks
        start = len(self.history) - len(looks)
        for number, look in enumerate(looks, start):
            row = self.history[number]
            row["train_loss"] = sum(look.values)
            row["optimality"], row["step"] = max(look.norms), max(look.lengths)
            if row["batches"]:
                row["batches"][0]["train_loss"] = row["train_loss"]
