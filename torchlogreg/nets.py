"""The training loop: skorch nets whose epoch is an iteration, or a pass over mini-batches."""

from __future__ import annotations

import dis
import math
import time
from abc import abstractmethod
from typing import Any

import numpy as np
import skorch
import torch
from skorch.history import History
from skorch.utils import to_tensor
from torch import Tensor

from torchlogreg.batches import RowBlocks, TrainingSet, WholeBatch
from torchlogreg.criterion import PenalizedLoss


class _Finished(Exception):  # noqa: N818
    """Leaves skorch's loop over the epochs."""


class EpochHistory(History):
    """skorch's history, but a row is found without a copy of the list of all."""

    def __getitem__(self, i: Any) -> Any:
        """Return a row, or what skorch makes of another index."""
        return list.__getitem__(self, i) if isinstance(i, int) else super().__getitem__(i)


class LogisticNet(skorch.NeuralNet):
    """skorch net of a logistic module: what the nets of all solvers have in common.

    It differs from :class:`skorch.NeuralNet` in the defaults (no validation split, no
    callbacks), in that training ends when :attr:`is_finished` says so, and in that Ctrl-C raises
    ``KeyboardInterrupt`` once training has been brought to its end.

    It is trained on a :class:`~torchlogreg.batches.TrainingSet`, but predicts for arrays and
    tensors as every skorch net does; its labels are class codes 0..K-1. The history has one row
    an epoch with ``train_loss`` (the penalised mean loss), ``optimality`` (the gradient norm),
    ``step`` (the step length) and ``seconds``.

    Parameters
    ----------
    module : type
        :class:`~torchlogreg.BinaryLogistic` or :class:`~torchlogreg.MultinomialLogistic`.
    criterion : type, default=PenalizedLoss
        Family and penalty; makes the objective of rows.
    **kwargs
        As for :class:`skorch.NeuralNet`.
    """

    def __init__(
        self,
        module: Any,
        criterion: Any = PenalizedLoss,
        *,
        train_split: Any = None,
        batch_size: int = -1,
        callbacks: Any = "disable",
        verbose: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            module,
            criterion,
            train_split=train_split,
            batch_size=batch_size,
            callbacks=callbacks,
            verbose=verbose,
            **kwargs,
        )

    @property
    @abstractmethod
    def is_finished(self) -> bool:
        """Whether the last epoch was good enough."""

    @property
    @abstractmethod
    def optimality(self) -> float:
        """Gradient norm: the largest absolute value after the last epoch."""

    @property
    def suboptimality(self) -> float:
        """Estimate of f - f*; nan if there is none."""
        return math.nan

    def fit_loop(
        self, X: Any, y: None = None, epochs: int | None = None, **fit_params: Any
    ) -> LogisticNet:
        """Run epochs until training is finished, ``max_epochs`` at most."""
        if epochs is None:
            epochs = 0 if self.was_finished_ else max(self.max_epochs - self.n_resumed_, 0)
        self.interrupt_: KeyboardInterrupt | None = None
        try:
            super().fit_loop(X, y, epochs=epochs, **fit_params)
        except _Finished:
            pass
        except KeyboardInterrupt as interrupt:
            # skorch takes it for the wish of a callback, such as EarlyStopping, to stop.
            if not _is_raised_by(interrupt, [callback for _, callback in self.callbacks_]):
                self.interrupt_ = interrupt
            raise
        return self

    def partial_fit(
        self, X: TrainingSet, y: None = None, classes: None = None, **fit_params: Any
    ) -> LogisticNet:
        """Go on from where the parameters are; a user's Ctrl-C is raised at the end."""
        super().partial_fit(X, y, classes, **fit_params)
        self.conclude()
        if self.interrupt_ is not None:
            raise self.interrupt_
        return self

    def conclude(self) -> None:
        """Do what is left to do after the callbacks; nothing by default."""

    def initialize_history(self) -> LogisticNet:
        """Begin with an empty history."""
        self.history_ = EpochHistory()
        return self

    def notify(self, method_name: str, **cb_kwargs: Any) -> None:
        """Call the callbacks; after an epoch, see whether it was the last."""
        super().notify(method_name, **cb_kwargs)
        if method_name == "on_epoch_end" and self.is_finished:
            raise _Finished

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Begin with no epochs of an earlier run, unless a checkpoint is loaded."""
        super().on_train_begin(net, X=X, y=y, **kwargs)
        self.n_resumed_, self.was_finished_ = 0, False

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Begin a row of the history, and look at the clock."""
        super().on_epoch_begin(net, **kwargs)
        self._epoch_start = time.perf_counter()

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Record how long the epoch took."""
        super().on_epoch_end(net, **kwargs)
        self.history.record("seconds", time.perf_counter() - self._epoch_start)

    def infer(self, x: Any, **fit_params: Any) -> Tensor:
        """Logits (n, R) of some rows."""
        x = to_tensor(x, device=self.device).to(self.module_.coef.dtype)
        eta: Tensor = self.module_(x, **fit_params)
        return eta[0] if eta.ndim == 3 else eta  # of one problem

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (n, K) of the classes."""
        proba: np.ndarray = self.criterion_.family.proba(self.forward(X).mT).mT.cpu().numpy()
        return proba

    def predict(self, X: Any) -> np.ndarray:
        """Codes (n,) of the most probable classes."""
        codes: np.ndarray = self.criterion_.family.classify(self.forward(X).mT).cpu().numpy()
        return codes


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


class MiniBatchNet(LogisticNet):
    """Net of the mini-batch solvers: an epoch is a pass over the data, some rows at a time.

    The optimizer is any of ``torch.optim`` that needs no closure. Gradients are those of
    :class:`~torchlogreg.objective.Objective` for the rows of a batch: unbiased estimates of the
    gradient of the whole.

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
    valid_set : RowBlocks, default=None
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
        valid_set: RowBlocks | None = None,
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
        if isinstance(dataset, RowBlocks):
            return WholeBatch(dataset)
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
        self.n_batches_ = getattr(iterator, "n_batches", None)
        self._gradient = torch.zeros_like(self.module_.coef.detach())
        if self.callbacks_:
            super().run_single_epoch(iterator, training, prefix, step_fn, **fit_params)
            batches = self.history[-1, "batches"]
            losses = [batch["train_loss"] for batch in batches]
            sizes = [batch["train_batch_size"] for batch in batches]
        else:
            steps = [(step_fn(batch, **fit_params)["loss"], len(batch[0])) for batch in iterator]
            losses = torch.cat([loss for loss, _ in steps]).tolist() if steps else []
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
        point = self.criterion_.objective([rows], is_attended=False).at(coef.detach())
        coef.grad = point.grad
        self._gradient += point.grad
        if self.callbacks_:
            parameters = list(self.get_all_learnable_params())
            self.notify("on_grad_computed", named_parameters=parameters, batch=batch, training=True)
        self.optimizer_.step()
        return {"loss": point.value, "y_pred": point.eta[0][0].mT if self.callbacks_ else None}

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

    def conclude(self) -> None:
        """Forget the rows held out."""
        self.valid_set = None

    def _validate(self, iterator: Any) -> None:
        """Record loss and accuracy on the rows held out."""
        ((dataset, codes),) = iterator
        objective = self.criterion_.objective(dataset.blocks)
        point = objective.at(self.module_.coef.detach())
        right = self.criterion_.family.classify(torch.cat(list(point.eta), dim=-1)) == codes
        weight = torch.cat([block.weight for block in dataset.blocks], dim=-1)
        self.history.record("valid_loss", float(point.value.sum()))
        self.history.record("valid_accuracy", (right * weight).sum().item())

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


def _is_raised_by(error: BaseException, callbacks: list[Any]) -> bool:
    """Tell ``raise KeyboardInterrupt`` in a method of a callback from the Ctrl-C of a user.

    A signal is delivered between two instructions. If the instruction at which the traceback
    ends is a ``raise`` of a callback, it was the callback; a ``raise`` elsewhere may be that of
    the program's own signal handler.
    """
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return False
    frame = traceback.tb_frame
    instruction = dis.opname[frame.f_code.co_code[traceback.tb_lasti]]
    raiser = frame.f_locals.get("self")
    return instruction == "RAISE_VARARGS" and any(raiser is callback for callback in callbacks)
