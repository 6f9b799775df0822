"""The training loop: a skorch net in which one epoch is one solver iteration."""

from __future__ import annotations

import dis
import math
from typing import Any

import skorch
import torch

from torchlogreg.criterion import PenalizedLoss
from torchlogreg.data import RowBlocks, WholeBatch


class LogisticNet(skorch.NeuralNet):
    """skorch net that minimises the penalised mean loss over whole batches.

    The optimizer is a :class:`~torchlogreg.optim.FullBatchOptimizer`; the loop ends when it
    reports that it is finished. Its history has, for every epoch, ``train_loss`` (the
    penalised mean loss), ``optimality`` (the gradient norm) and ``train_batch_size``.

    It differs from :class:`skorch.NeuralNet` in the defaults (no validation split, no
    callbacks) and in that Ctrl-C raises ``KeyboardInterrupt`` once training has been brought
    to its end.

    Parameters
    ----------
    module : type
        :class:`~torchlogreg.BinaryLogistic` or :class:`~torchlogreg.MultinomialLogistic`.
    criterion : type, default=PenalizedLoss
        Family and penalty; makes the objective of row blocks.
    **kwargs
        As for :class:`skorch.NeuralNet`.
    """

    def __init__(
        self,
        module: Any,
        criterion: Any = PenalizedLoss,
        *,
        iterator_train: Any = WholeBatch,
        train_split: Any = None,
        batch_size: int = -1,
        callbacks: Any = "disable",
        verbose: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            module,
            criterion,
            iterator_train=iterator_train,
            train_split=train_split,
            batch_size=batch_size,
            callbacks=callbacks,
            verbose=verbose,
            **kwargs,
        )

    def fit_loop(
        self, X: RowBlocks, y: None = None, epochs: int | None = None, **fit_params: Any
    ) -> LogisticNet:
        """Run epochs until the optimizer is finished, ``max_epochs`` at most."""
        self.interrupt_: KeyboardInterrupt | None = None
        self.objective_ = self.criterion_.objective(X.blocks)
        self.optimizer_.is_finished = False
        try:
            for _ in range(self.max_epochs if epochs is None else epochs):
                super().fit_loop(X, y, epochs=1, **fit_params)
                if self.optimizer_.is_finished:
                    break
        except KeyboardInterrupt as interrupt:
            # skorch takes it for the wish of a callback, such as EarlyStopping, to stop.
            if not _is_raised_by(interrupt, [callback for _, callback in self.callbacks_]):
                self.interrupt_ = interrupt
            raise
        return self

    def train_step(self, batch: RowBlocks, **fit_params: Any) -> dict[str, Any]:
        """Make one solver iteration on the whole data."""
        self.optimizer_.step(self.objective_)
        self._record()
        loss = self.history[-1].get("train_loss", math.nan)
        return {"loss": torch.tensor(loss, dtype=torch.float64, device="cpu"), "y_pred": None}

    def _record(self) -> None:
        """Write what the optimizer has traced into the last rows of the history."""
        trace = self.optimizer_.trace
        rows = self.history[len(self.history) - len(trace) :]
        for row, (loss, optimality) in zip(rows, trace, strict=True):
            row["batches"][0]["train_loss"] = row["train_loss"] = loss
            row["optimality"] = optimality

    def partial_fit(
        self, X: RowBlocks, y: None = None, classes: None = None, **fit_params: Any
    ) -> LogisticNet:
        """Go on from where the parameters are; a user's Ctrl-C is raised at the end."""
        super().partial_fit(X, y, classes, **fit_params)
        self.optimizer_.certify(self.objective_)
        self._record()
        self.optimizer_.release()
        del self.objective_
        if self.interrupt_ is not None:
            raise self.interrupt_
        return self


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
