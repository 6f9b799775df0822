"""skorch callbacks of our own: a progress bar, and checkpoints to resume from."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import torch
from skorch.callbacks import Callback
from tqdm.auto import tqdm

from torchlogreg.data.fingerprint import described

FREE = {
    "device",
    "lr",
    "max_epochs",
    "n_iter_no_change",
    "optimizer__check_every",  # follows from the device
    "optimizer__lr",
    "optimizer__tol",
    "tol",
    "valid_set",
    "verbose",
}
"""Parameters of a net that may change between two runs of a fit."""


class Progress(Callback):
    """A bar over the epochs and, where an epoch has many batches, one over these.

    It is a bar of ``tqdm``: in a terminal, and as a widget in a notebook. Next to it stand the
    loss and what else there is of ``optimality`` and ``valid_accuracy``.
    """

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Draw the empty bar."""
        self.epochs_ = tqdm(
            total=net.max_epochs, initial=net.n_resumed_, unit="epoch", desc=type(net).__name__
        )
        self.batches_: Any = None

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Forget the bar of the last epoch."""
        self.batches_ = None

    def on_batch_begin(
        self, net: Any, batch: Any = None, training: bool = False, **kwargs: Any
    ) -> None:
        """Draw the bar of the epoch when its second batch begins."""
        if training and self.batches_ is None and len(net.history[-1, "batches"]) == 2:
            total = getattr(net, "n_batches_", None)
            self.batches_ = tqdm(total=total, initial=1, unit="batch", leave=False)

    def on_batch_end(
        self, net: Any, batch: Any = None, training: bool = False, **kwargs: Any
    ) -> None:
        """Go on by a batch."""
        if training and self.batches_ is not None:
            self.batches_.set_postfix(
                loss=f"{net.history[-1, 'batches', -1, 'train_loss']:.4g}", refresh=False
            )
            self.batches_.update()

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Go on by an epoch."""
        if self.batches_ is not None:
            self.batches_.close()
        row = net.history[-1]
        names = {"train_loss": "loss", "optimality": "gradient", "valid_accuracy": "accuracy"}
        shown = {short: f"{row[name]:.4g}" for name, short in names.items() if name in row}
        self.epochs_.set_postfix(shown, refresh=False)
        self.epochs_.update()

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Leave the bar where it is."""
        for bar in (self.batches_, self.epochs_):
            if bar is not None:
                bar.close()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if not name.endswith("_")}


class Checkpoint(Callback):
    """Write the state of training to a file, and go on from there if the file exists.

    A fit that was stopped, by Ctrl-C or a crash, is resumed by running it again: its parameters,
    the state of its optimizer and its history are those of the file, and ``max_iter`` counts
    from the beginning. With the same data, the result is that of a single run.

    The data must be the same bit by bit; in which memory order, on which device and with how many
    threads makes no difference. Of a data set or loader of torch are compared the shape, the
    labels that it tells, and some of its items, or the first batch of an iterable one.

    Parameters
    ----------
    path : str or path
        The file. It is replaced as a whole: a crash while it is written leaves the old one.
    every : int, default=1
        Epochs between two writes. The end of training is written in any case, but not the part
        of an epoch that Ctrl-C has interrupted.

    Raises
    ------
    ValueError
        If the file holds a fit of other data, of another shape, with another optimizer or other
        parameters, those in ``net_params`` included. What may change is ``max_iter``, ``tol`` and
        the learning rate.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from sklearn.datasets import load_digits
    >>> from torchlogreg import TorchLogisticRegression
    >>> from torchlogreg.callbacks import Checkpoint
    >>> X, y = load_digits(return_X_y=True)
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "digits.pt"
    >>> model = TorchLogisticRegression(solver="adam", tol=None, callbacks=[Checkpoint(path)])
    >>> int(model.set_params(max_iter=10).fit(X, y).n_iter_[0])
    10
    >>> int(model.set_params(max_iter=20).fit(X, y).n_iter_[0])  # ten more
    20
    """

    def __init__(self, path: str | os.PathLike[str], every: int = 1) -> None:
        self.path = path
        self.every = every

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Read the file, if it exists."""
        if self.every < 1:
            raise ValueError(f"every={self.every!r} must be at least 1.")
        if not Path(self.path).parent.is_dir():
            raise ValueError(f"path={str(self.path)!r} is in a folder that does not exist.")
        self.origin_ = {"data": X.fingerprint(), **self._parameters(net)}
        if Path(self.path).exists():
            state = torch.load(self.path, map_location=net.device, weights_only=True)
            self._check_origin(state, net)
            net.module_.load_state_dict(state["module"])
            net.optimizer_.load_state_dict(state["optimizer"])
            now = net.optimizer_.defaults
            free = {name: now[name] for name in ("tol", "check_every") if name in now}
            for group in net.optimizer_.param_groups:
                group.update(free)
            net.history.extend(json.loads(state["history"]))
            net.n_resumed_ = len(net.history)
            net.was_finished_ = state["tol"] == self._tol(net)
            net.best_coef_ = state["best_coef"]

    def _check_origin(self, state: dict[str, Any], net: Any) -> None:
        """Refuse the state of another fit."""
        optimizer = type(net.optimizer_).__name__
        shapes = {name: tuple(value.shape) for name, value in state["module"].items()}
        expected = {name: tuple(value.shape) for name, value in net.module_.state_dict().items()}
        if state["optimizer_class"] != optimizer or shapes != expected:
            raise ValueError(
                f"path={str(self.path)!r} holds the parameters {shapes} of "
                f"{state['optimizer_class']}; this fit has {expected} and {optimizer}. "
                "Use another path, or remove the file."
            )
        known = state.get("origin", {})
        names = {*known, *self.origin_}
        others = sorted(n for n in names if not _is_same(known.get(n), self.origin_.get(n)))
        if others:
            raise ValueError(
                f"path={str(self.path)!r} holds a fit of other data or with other parameters: "
                f"{', '.join(others)} differ. Use another path, or remove the file."
            )

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Write the file when it is time."""
        if len(net.history) % self.every == 0:
            self._write(net)

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Write the file, unless an epoch was interrupted: what it has done would be done twice."""
        if len(net.history) and "seconds" in net.history[-1]:
            self._write(net)

    def _write(self, net: Any) -> None:
        """Write to a temporary file, then put it in the place of the old one."""
        state = {
            "module": net.module_.state_dict(),
            "optimizer": net.optimizer_.state_dict(),
            "optimizer_class": type(net.optimizer_).__name__,
            "history": json.dumps(list(net.history), default=float),
            "best_coef": getattr(net, "best_coef_", None),
            "origin": self.origin_,
            "tol": self._tol(net) if net.is_finished else None,
        }
        path = Path(self.path)
        part = path.with_name(f".{path.name}.part")  # one that a kill has left is written over
        try:
            with part.open("wb") as file:
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    @staticmethod
    def _parameters(net: Any) -> dict[str, Any]:
        """Return what tells one objective and way to it from others.

        Not what may change between two runs, nor what follows from device and data.
        """
        penalty = net.criterion_.penalty
        options = {f"optimizer__{name}": v for name, v in net.optimizer_.defaults.items()}
        given = {
            name: value
            for name, value in {**net.get_params(deep=False), **options}.items()
            if name not in FREE and not name.startswith(("callbacks", "criterion__", "module__"))
        }
        l1 = torch.zeros_like(penalty.l2) if penalty.l1 is None else penalty.l1
        l1 = l1.amax((-2, -1))
        total = penalty.l2.amax((-2, -1)) + l1
        has_valid_set = getattr(net, "valid_set", None) is not None
        return {
            "C or the sum of the weights": total.tolist(),
            "l1_ratio": torch.where(total > 0, l1 / total, 0).tolist(),
            "early_stopping": has_valid_set,
            "fit_intercept": bool(net.module_.bias is not None),
            **{name: described(value) for name, value in given.items()},
        }

    @staticmethod
    def _tol(net: Any) -> float:
        """Tolerance; negative for none."""
        tol = getattr(net, "tol", None)
        tol = net.optimizer_.defaults.get("tol", tol)
        return -1.0 if tol is None else float(tol)


def _is_same(known: Any, new: Any) -> bool:
    """Whether two values are equal; numbers to rounding, for sums depend on the threads."""
    if isinstance(known, list) and isinstance(new, list) and len(known) == len(new):
        return all(math.isclose(*pair, rel_tol=1e-6) for pair in zip(known, new, strict=True))
    return bool(known == new)


def check_callbacks(callbacks: Any, verbose: int = 0, *, resumes: bool = True) -> list[Any]:
    """Return the callbacks in the order in which they are to be called.

    Parameters
    ----------
    callbacks : sequence or None
        Callbacks, or pairs of a name and one.
    verbose : int, default=0
        If positive, a progress bar comes last.
    resumes : bool, default=True
        Whether a checkpoint makes sense.

    Raises
    ------
    ValueError
        If there is something else among them, or a checkpoint that makes no sense.
    """
    checked = list(callbacks or [])
    for callback in checked:
        if not isinstance(_instance(callback), Callback):
            raise ValueError(
                f"callbacks={callbacks!r} has the entry {callback!r}; instances of "
                "skorch.callbacks.Callback, or pairs of a name and one, are accepted."
            )
        if not resumes and _is_checkpoint(callback):
            raise ValueError(
                "callbacks with a Checkpoint: that is for fit, not for partial_fit, which sees a "
                "part. Pickle the estimator between two calls."
            )
    # A checkpoint is read before the others begin: learning rates follow from its history.
    checked.sort(key=lambda callback: not _is_checkpoint(callback))
    return [*checked, Progress()] if verbose else checked


def _is_checkpoint(callback: Any) -> bool:
    return isinstance(_instance(callback), Checkpoint)


def _instance(callback: Any) -> Any:
    """Return the callback of a pair of its name and itself."""
    return callback[1] if isinstance(callback, tuple) and len(callback) == 2 else callback
