"""The net of the mini-batch solvers."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from torchlogreg.data.training_sets import ArrayRows
from torchlogreg.nets.base import LogisticNet, PenalizedLoss
from torchlogreg.problem.rows import Rows, joined
from torchlogreg.problem.threads import share_threads


class MiniBatchNet(LogisticNet):
    """Net of the mini-batch solvers: an epoch is a pass over the data, some rows at a time.

    The optimizer is any of ``torch.optim`` that needs no closure. Gradients are those of
    :class:`~torchlogreg.problem.objective.Objective` for the rows of a batch: unbiased estimates
    of the gradient of the whole.

    Parameters
    ----------
    module, criterion, **kwargs
        As for :class:`LogisticNet`.
    seed : int, default=0
        For the order of the rows.
    tol : float, default=None
        What an epoch must gain, in loss or accuracy; None for no such test.
    n_iter_no_change : int, default=5
        Epochs in a row without that gain after which training is finished.
    valid_set : ArrayRows, default=None
        Rows held out; their accuracy then decides instead of the training loss.
    """

    def __init__(
        self,
        module: Any,
        criterion: Any = PenalizedLoss,
        *,
        seed: int = 0,
        tol: float | None = None,
        n_iter_no_change: int = 5,
        valid_set: ArrayRows | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(module, criterion, **kwargs)
        self.seed = seed
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.valid_set = valid_set

    @property
    def is_finished(self) -> bool:
        """Whether so many epochs have gained too little."""
        return self._n_idle >= self.n_iter_no_change

    @property
    def optimality(self) -> float:
        """Norm of the mean gradient of the last epoch's batches."""
        known = [row["optimality"] for row in self.history if "optimality" in row]
        return float(known[-1]) if known else math.inf

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Forget the gains of earlier calls."""
        super().on_train_begin(net, X=X, y=y, **kwargs)
        self._best, self._n_idle, self._n_judged = -math.inf, 0, len(self.history)
        self.best_coef_: Tensor | None = None

    def get_split_datasets(self, X: Any, y: Any = None, **fit_params: Any) -> tuple[Any, Any]:
        """Return the training set and the rows held out."""
        return X, self.valid_set

    def get_iterator(self, dataset: Any, training: bool = False) -> Any:
        """Give out the training set in mini-batches, the rows held out as a whole."""
        if training:
            return dataset.mini_batches(self.batch_size, self.seed, len(self.history))
        if isinstance(dataset, ArrayRows):
            return [(dataset, dataset.codes)]
        return super().get_iterator(dataset, training)

    def run_single_epoch(
        self, iterator: Any, training: bool, prefix: str, step_fn: Any, **fit_params: Any
    ) -> None:
        """Pass over the batches, and sum up the epoch.

        Without callbacks nothing is told or noted of the single batches: that would take half
        the time of a small one.
        """
        if not training:
            if iterator is not None:
                self._validate(iterator)
            return
        share_threads()
        self.n_batches_ = getattr(iterator, "n_batches", None)
        self._gradient = torch.zeros_like(self.module_.coef.detach())
        if self.callbacks_:
            super().run_single_epoch(iterator, training, prefix, step_fn, **fit_params)
            batches = self.history[-1, "batches"]
            losses = [batch["train_loss"] for batch in batches]
            sizes = [batch["train_batch_size"] for batch in batches]
        else:
            steps = [(step_fn(batch, **fit_params)["loss"], len(batch[0])) for batch in iterator]
            losses = torch.stack([loss for loss, _ in steps]).tolist() if steps else []
            sizes = [size for _, size in steps]
            self.history.record("train_batch_count", len(sizes))
        if not sizes:
            raise ValueError(
                f"The data gave no batches in epoch {len(self.history)}: fit iterates over it once "
                "an epoch. Make it iterable again, set max_iter=1, or use partial_fit."
            )
        loss = sum(a * b for a, b in zip(losses, sizes, strict=True)) / sum(sizes)
        self._check_loss(loss)
        self.history.record("train_loss", loss)
        self.history.record("optimality", self._gradient.abs().max().item() / len(sizes))
        self.history.record("step", float(self.optimizer_.param_groups[0]["lr"]))

    def train_step(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        """Make one step of the optimizer."""
        rows, _ = batch
        coef = self.module_.coef
        objective = self.criterion_.objective(Rows((rows,)), is_attended=False)
        point = objective.at(coef.detach())
        coef.grad = objective.penalty.subgradient(point.grad, point.coef)
        self._gradient += coef.grad
        if self.callbacks_:
            parameters = list(self.get_all_learnable_params())
            self.notify("on_grad_computed", named_parameters=parameters, batch=batch, training=True)
        self.optimizer_.step()
        return {"loss": point.value.sum(), "y_pred": self._logits(point)}

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Compare the epoch, and those of a checkpoint, with the best one."""
        super().on_epoch_end(net, **kwargs)
        for row in self.history[self._n_judged :]:
            score = -row["train_loss"] if self.valid_set is None else row["valid_accuracy"]
            gain = score - self._best
            if self.tol is not None:
                self._n_idle = 0 if gain >= self.tol else self._n_idle + 1
            if gain > 0:
                self._best = score
        self._n_judged = len(self.history)
        if self.valid_set is not None and gain > 0:
            self.best_coef_ = self.module_.coef.detach().clone()

    @property
    def coef(self) -> Tensor:
        """Coefficients (B, R, D): those of the best epoch on the rows held out, or the last."""
        best: Tensor | None = getattr(self, "best_coef_", None)
        return super().coef if best is None else best

    def conclude(self, rows: Any) -> None:
        """Forget the rows held out."""
        self.valid_set = None

    def shortfall(self) -> str | None:
        """Say that the loss has risen, or was still changing in the last epoch."""
        losses = [row["train_loss"] for row in self.history if "train_loss" in row]
        failure = f"{type(self.optimizer_).__name__} failed to converge after {len(losses)} epochs"
        if losses and not losses[-1] <= 2 * losses[0] + 1:
            return (
                f"{failure}: the mean loss rose from {losses[0]:.3g} to {losses[-1]:.3g}, training "
                f"diverges with lr={self.lr:g}. Use a smaller lr, or scale the columns of X "
                "(sklearn.preprocessing.StandardScaler)."
            )
        if not losses:
            return f"{failure}: max_iter=0. Increase the number of iterations (max_iter)."
        if self.tol is not None and self.is_out_of_epochs:
            return (
                f"{failure}: the loss still changed by more than tol={self.tol:g} in the last of "
                f"max_iter={self.max_epochs}. Increase the number of iterations (max_iter), or set "
                "tol=None to make so many epochs and no warning."
            )
        return None

    def _validate(self, iterator: Any) -> None:
        """Record loss and accuracy on the rows held out."""
        ((dataset, codes),) = iterator
        point = self.criterion_.objective(dataset.rows).at(self.module_.coef.detach())
        right = self.criterion_.family.classify(joined(point.eta).mT) == codes
        accuracy = (right * dataset.rows.weight).sum(-1)
        self.history.record("valid_loss", sum(point.value))
        self.history.record("valid_accuracy", accuracy.mean().item())

    def _check_loss(self, loss: float) -> None:
        """Say so if training has diverged."""
        if math.isfinite(loss):
            return
        lr = self.optimizer_.param_groups[0]["lr"]
        raise ValueError(
            f"Training diverged in epoch {len(self.history)}: the mean loss is {loss}, with "
            f"lr={lr:g}. Use a smaller lr, or scale the columns of X "
            "(sklearn.preprocessing.StandardScaler)."
        )
