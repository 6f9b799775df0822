"""The training loop: a skorch net in which one epoch is one solver iteration."""

from __future__ import annotations

import dis
from typing import Any

import skorch
from torch import Tensor

from torchlogreg.data import RowBlocks, WholeBatch
from torchlogreg.objective import PenalizedLoss


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
        callbacks: Any = "disable",
        verbose: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            module,
            criterion,
            iterator_train=iterator_train,
            train_split=train_split,
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
            if not _is_raised_by_statement(interrupt):
                self.interrupt_ = interrupt
            raise
        return self

    def train_step(self, batch: RowBlocks, **fit_params: Any) -> dict[str, Any]:
        """Make one solver iteration on the whole data."""
        loss: Tensor = self.optimizer_.step(self.objective_)
        self.history.record("train_loss", loss.item())
        self.history.record("optimality", max(self.optimizer_.optimality))
        return {"loss": loss, "y_pred": None}

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Let go of the data."""
        super().on_train_end(net, X, y, **kwargs)
        del self.objective_
        self.optimizer_.release()

    def partial_fit(
        self, X: RowBlocks, y: None = None, classes: None = None, **fit_params: Any
    ) -> LogisticNet:
        """Go on from where the parameters are; a user's Ctrl-C is raised at the end."""
        super().partial_fit(X, y, classes, **fit_params)
        if self.interrupt_ is not None:
            raise self.interrupt_
        return self


def _is_raised_by_statement(error: BaseException) -> bool:
    """Tell ``raise KeyboardInterrupt`` in a callback from the Ctrl-C of a user.

    Python delivers the signal between two instructions, so that the instruction at which the
    traceback ends is a ``raise`` only if the program itself raised the error.
    """
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return False
    instruction = traceback.tb_frame.f_code.co_code[traceback.tb_lasti]
    return dis.opname[instruction] == "RAISE_VARARGS"
