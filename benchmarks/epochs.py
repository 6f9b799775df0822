"""What an epoch of the mini-batch solvers costs next to loops written by hand."""

import contextlib
import io
import statistics
import time

import numpy as np
import torch
from skorch.callbacks import Callback, EpochScoring
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.datasets import DATASETS
from torchlogreg import TorchLogisticRegression

ROUNDS = 5


def sliced(X, y, lr, batch_size, epochs):
    """Slice tensors, in the order of the rows."""
    pairs = list(zip(X.split(batch_size), y.split(batch_size), strict=True))
    return _loop(X, y, lr, epochs, lambda: pairs)


def shuffled(X, y, lr, batch_size, epochs):
    """Index tensors, in random order."""

    def batches():
        for index in torch.randperm(len(X)).split(batch_size):
            yield X[index], y[index]

    return _loop(X, y, lr, epochs, batches)


def loader(X, y, lr, batch_size, epochs):
    """Read a ``TensorDataset`` through a ``DataLoader``, as the tutorials do."""
    data = DataLoader(TensorDataset(X, y), batch_size=batch_size, shuffle=True)
    return _loop(X, y, lr, epochs, lambda: data)


def _loop(X, y, lr, epochs, batches):
    """Train a linear layer by hand."""
    model = torch.nn.Linear(X.shape[1], int(y.max()) + 1, dtype=X.dtype)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    loss_function = torch.nn.CrossEntropyLoss()
    for _ in range(epochs):
        for X_batch, y_batch in batches():
            optimizer.zero_grad()
            loss = loss_function(model(X_batch), y_batch)
            loss.backward()
            optimizer.step()
    return model


def ours(**params):
    """Fit arrays."""

    def fit(X, y, lr, batch_size, epochs):
        model = TorchLogisticRegression(
            C=np.inf,
            solver="sgd",
            lr=lr,
            batch_size=batch_size,
            max_iter=epochs,
            tol=None,
            **params,
        )
        return model.fit(X.numpy(), y.numpy())

    return fit


def _quietly(fit):
    """Show the progress to nobody."""

    def quiet(*args):
        with contextlib.redirect_stderr(io.StringIO()):
            return fit(*args)

    return quiet


ACCURACY = EpochScoring("accuracy", lower_is_better=False, on_train=True)
LOOPS = {
    "by hand, slices": sliced,
    "by hand, shuffled": shuffled,
    "by hand, DataLoader": loader,
    "fit": ours(),
    "fit, a callback": ours(callbacks=[Callback()]),
    "fit, EpochScoring": ours(callbacks=[ACCURACY]),
    "fit, verbose=1": _quietly(ours(verbose=1)),
}
CASES = {
    "mnist": {"lr": 0.1, "batch_size": 100, "epochs": 1},
    "iris": {"lr": 0.01, "batch_size": None, "epochs": 10_000},
}


def epochs(dataset):
    """Let the loops take turns; return one record a loop, with the median time of an epoch."""
    data = DATASETS[dataset]()
    X, y = torch.from_numpy(data.X_train), torch.from_numpy(data.y_train).long()
    case = CASES[dataset]
    case = {**case, "batch_size": case["batch_size"] or len(X)}
    times = {name: [] for name in LOOPS}
    for number in range(ROUNDS + 1):
        for name, loop in LOOPS.items():
            start = time.perf_counter()
            loop(X, y, case["lr"], case["batch_size"], case["epochs"])
            if number > 0:  # the first round warms up
                times[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(some) / case["epochs"] for name, some in times.items()}
    return [
        {
            "dataset": dataset,
            "loop": name,
            **case,
            "seconds": seconds,
            "times_by_hand": seconds / medians["by hand, slices"],
        }
        for name, seconds in medians.items()
    ]
