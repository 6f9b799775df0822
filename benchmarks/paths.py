"""Paths of twenty penalties down to C = 1, next to glmnet's: seconds, and the objective of each."""

import statistics
import sys
import time
from functools import partial

import numpy as np

from benchmarks.competitors import glmnet
from benchmarks.competitors.not_applicable import NotApplicableError
from benchmarks.judge import objective
from benchmarks.runner import PAUSE
from torchlogreg import logistic_regression_path

N_PENALTIES, ROUNDS, SECONDS = 20, 5, 100.0
"""Penalties of a path; rounds, or fewer if they take longer than this."""


def paths(dataset, data, C=1.0):
    """Alternate; return one record for each competitor."""
    X, y = data.X_train, data.y_train
    n = X.shape[0]
    (first,) = logistic_regression_path(X, y, n_Cs=1).Cs
    Cs = np.geomspace(first, C, N_PENALTIES)

    def ours(**params):
        path = logistic_regression_path(X, y, Cs=Cs, **params)
        return path.coefs, path.intercepts

    fits = {
        "torchlogreg": ours,
        "torchlogreg tol=1e-3": partial(ours, tol=1e-3),
        "glmnet": partial(glmnet.path, X, y, 1 / (Cs * n)),
        "glmnet thresh=1e-9": partial(glmnet.path, X, y, 1 / (Cs * n), thresh=1e-9),
    }
    seconds, found, begin = {name: [] for name in fits}, {}, time.perf_counter()
    for _ in range(ROUNDS):
        for name, fit in list(fits.items()):
            time.sleep(PAUSE)
            start = time.perf_counter()
            try:
                found[name] = fit()
            except NotApplicableError as error:
                print(f"{name} is left out on {dataset}: {error}", file=sys.stderr)
                del fits[name]
                continue
            seconds[name].append(time.perf_counter() - start)
        if time.perf_counter() - begin > SECONDS:
            break
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
