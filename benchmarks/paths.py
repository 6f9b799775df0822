"""Paths of twenty penalties down to C = 1, next to glmnet's: seconds, and the objective of each."""

import statistics
import time

import numpy as np

from benchmarks.competitors import glmnet
from benchmarks.judge import objective
from torchlogreg import logistic_regression_path

N_PENALTIES, ROUNDS = 20, 5


def paths(dataset, data, C=1.0):
    """Alternate; return one record for each competitor."""
    X, y = data.X_train, data.y_train
    n = X.shape[0]
    (first,) = logistic_regression_path(X, y, n_Cs=1).Cs
    Cs = np.geomspace(first, C, N_PENALTIES)

    def ours():
        path = logistic_regression_path(X, y, Cs=Cs)
        return path.coefs, path.intercepts

    def theirs(thresh):
        return lambda: glmnet.path(X, y, 1 / (Cs * n), thresh=thresh)

    fits = {"torchlogreg": ours, "glmnet": theirs(1e-7), "glmnet thresh=1e-9": theirs(1e-9)}
    seconds, found = {name: [] for name in fits}, {}
    for _ in range(ROUNDS):
        for name, fit in fits.items():
            start = time.perf_counter()
            found[name] = fit()
            seconds[name].append(time.perf_counter() - start)
    values = {
        name: np.array(
            [objective(*pair, X, y, c, l1_ratio=1.0) for *pair, c in zip(*models, Cs, strict=True)]
        )
        for name, models in found.items()
    }
    return [
        {
            "dataset": dataset,
            "competitor": name,
            "seconds": statistics.median(seconds[name]),
            "most_excess": float((values[name] / values["torchlogreg"] - 1).max()),
            "least_excess": float((values[name] / values["torchlogreg"] - 1).min()),
            "n_nonzero": int((found[name][0][-1] != 0).sum()),
        }
        for name in fits
    ]
