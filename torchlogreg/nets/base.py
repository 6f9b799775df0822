"""What the nets of all solvers have in common."""

from __future__ import annotations

import copy
import dis
import math
import time
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import skorch
import torch
from skorch.callbacks import Callback
from skorch.history import History
from skorch.utils import to_tensor
from torch import Tensor, nn

from torchlogreg.data.training_sets import TrainingSet
from torchlogreg.problem.families import Family
from torchlogreg.problem.objective import Objective
from torchlogreg.problem.penalties import Penalty
from torchlogreg.problem.points import Point
from torchlogreg.problem.rows import Rows, joined


class PenalizedLoss(nn.Module):
    """The criterion of the nets: an objective that still lacks its rows.

    Parameters
    ----------
    family : Family
        Loss of a row.
    penalty : Penalty
        Penalty on the weights.
    """

    def __init__(self, family: Family, penalty: Penalty) -> None:
        super().__init__()
        self.family = family
        self.penalty = penalty

    def objective(self, rows: Rows, *, is_attended: bool = True) -> Objective:
        """Return the objective of these rows."""
        return Objective(rows, self.family, self.penalty, is_attended)

    def forward(self, eta: Tensor, codes: Tensor) -> Tensor:
        """Mean loss of the logits (..., n, R) of a module, without the penalty."""
        return self.family.losses(eta.mT, self.family.encode(codes, eta.dtype)).mean()


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

    It is trained on a :class:`~torchlogreg.data.training_sets.TrainingSet`, but predicts for
    arrays and tensors as every skorch net does; its labels are class codes 0..K-1. The history
    has one row per epoch with ``train_loss`` (the penalised mean loss), ``optimality`` (the
    gradient norm), ``step`` (the step length) and ``seconds``.

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
        verbose: int = 1,
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
    def _default_callbacks(self) -> list[tuple[str, Any]]:
        """skorch's, but nothing is printed unless ``callbacks`` has a PrintLog."""
        default = super()._default_callbacks
        return [(name, Callback() if name == "print_log" else call) for name, call in default]

    @property
    @abstractmethod
    def is_finished(self) -> bool:
        """Whether the last epoch was good enough."""

    @property
    def is_out_of_epochs(self) -> bool:
        """Whether training has ended because the epochs ran out."""
        return not self.is_finished and len(self.history) == self.max_epochs

    @property
    @abstractmethod
    def optimality(self) -> float:
        """Gradient norm: the largest absolute value after the last epoch."""

    @abstractmethod
    def shortfall(self) -> str | None:
        """Say why the result may not be the minimiser; None if training went as it should."""

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
        self.conclude(X)
        if self.interrupt_ is not None:
            raise self.interrupt_
        return self

    def conclude(self, rows: Any) -> None:
        """Do what is left to do after the callbacks; nothing by default."""

    @property
    def coef(self) -> Tensor:
        """Coefficients (B, R, D) that training has found."""
        coef: Tensor = self.module_.coef.detach()
        return coef

    def start_at(self, coef: Tensor) -> None:
        """Begin at coefficients (B, R, D), or the same (R, D) for all problems."""
        with torch.no_grad():
            self.module_.coef.copy_(coef)

    def twin(self) -> LogisticNet:
        """Copy the net with what training changes; the callbacks are the same objects."""
        shared = {id(part): part for part in (self.callbacks, self.callbacks_)}
        return copy.deepcopy(self, shared)

    def snapshot(self) -> Callable[[], None]:
        """Copy what a call of ``partial_fit`` changes; return what undoes the changes since."""
        coef, n_epochs = self.module_.coef.detach().clone(), len(self.history)
        optimizer = copy.deepcopy(self.optimizer_.state_dict())
        attributes = {"lr": self.lr, "batch_size": self.batch_size}

        def restore() -> None:
            self.start_at(coef)
            self.optimizer_.load_state_dict(optimizer)
            del self.history[n_epochs:]
            self.__dict__.update(attributes)

        return restore

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
        if eta.ndim == 2:
            return eta
        if len(eta) > 1:
            raise ValueError(
                f"The net was trained on {len(eta)} problems at once and predicts for one. Apply "
                "module_, which gives the logits of all."
            )
        return eta[0]

    def _logits(self, point: Point) -> Tensor | None:
        """Logits (n, R) for the callbacks; None without these, or for many problems."""
        if not self.callbacks_ or len(point.coef) > 1:
            return None
        return joined(point.eta)[0].mT.clone()  # callbacks may change it, and differentiate

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (n, K) of the classes."""
        proba: np.ndarray = self.criterion_.family.proba(self.forward(X)).cpu().numpy()
        return proba

    def predict(self, X: Any) -> np.ndarray:
        """Codes (n,) of the most probable classes."""
        codes: np.ndarray = self.criterion_.family.classify(self.forward(X)).cpu().numpy()
        return codes


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
