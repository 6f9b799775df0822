"""Fits on a local cluster next to dask-ml's and Spark's.

All minimise the mean loss plus ||W||² / (2 C n) with a free intercept, but for dask-ml's "newton",
which has no penalty. Two processes of Dask with one thread each hold half of the rows; Spark, which
is one process on one machine, has two threads. Who is not installed is left out.
"""

import statistics
import sys
import time
from functools import partial

import dask.array as da
import numpy as np
from distributed import Client, LocalCluster

from benchmarks.competitors import dask_ml, spark
from benchmarks.competitors.not_applicable import NotApplicableError
from benchmarks.datasets import synthetic
from benchmarks.judge import objective
from benchmarks.runner import PAUSE
from torchlogreg import TorchLogisticRegression
from torchlogreg.distributed import dask

CASES = [(400_000, 50, 2), (100_000, 20, 5)]
"""Rows, columns and classes of the data: dense, in float64, with correlated columns."""

WORKERS = 2
"""Processes of Dask, or threads of Spark."""

TURNS, PATIENCE = 3, 20.0
"""Turns of each, after a fit that warms up; who needs more seconds for that takes no turns."""


def clusters(C=1.0):
    """Return one record a data set and competitor, with the median time over the turns."""
    local = {"n_workers": WORKERS, "threads_per_worker": 1, "dashboard_address": ":0"}
    with LocalCluster(**local) as cluster, Client(cluster) as client:
        return [record for case in CASES for record in _compared(*case, C, client)]


def _compared(n, d, n_classes, C, client):
    """Let all fit in turns, and judge them."""
    data = synthetic.clusters(n, d, n_classes, dtype="float64")
    X, y = data.X_train, data.y_train
    shared = {"n": n, "d": d, "n_classes": n_classes}
    records, times = {}, {}
    with spark.cached(X, y, WORKERS) as frame:
        fits = _fits(*(_scattered(array, client) for array in (X, y)), n_classes, client, frame)
        for number in range(TURNS + 1):
            for name, fit in list(fits.items()):
                time.sleep(PAUSE)
                start = time.perf_counter()
                try:
                    coef, intercept, n_iter = fit(C=C)
                except NotApplicableError as error:
                    records[name] = {"competitor": name, **shared, "left_out": str(error)}
                    del fits[name]
                    continue
                seconds = time.perf_counter() - start
                print(f"{name}: {seconds:.2f} s", file=sys.stderr, flush=True)
                times[name] = [*times.get(name, []), seconds] if number > 1 else [seconds]
                value = float(objective(coef, intercept, X, y, C))
                records[name] = {"competitor": name, **shared, "iterations": n_iter}
                records[name] |= {"objective": value}
                if number == 0 and seconds > PATIENCE:
                    del fits[name]
    lowest = min(records[name]["objective"] for name in times)
    for name, some in times.items():
        records[name] |= {
            "seconds": statistics.median(some),
            "all_seconds": [float(f"{seconds:.3g}") for seconds in some],
            "times_ours": statistics.median(some) / statistics.median(times["torchlogreg"]),
            "excess": records[name]["objective"] / lowest - 1,
        }
    return list(records.values())


def _fits(X, y, n_classes, client, frame):
    """Return who takes part: at default tolerances, and at some that are as loose as ours."""
    of_dask_ml = partial(dask_ml.fit, X, y, n_classes=n_classes)
    return {
        "torchlogreg": partial(_fit_ours, X, y, client=client),
        "dask-ml lbfgs": partial(of_dask_ml, solver="lbfgs"),
        "dask-ml lbfgs tol=1e-4 n": partial(of_dask_ml, solver="lbfgs", tol=1e-4 * len(X)),
        "dask-ml newton": partial(of_dask_ml, solver="newton"),
        "dask-ml admm": partial(of_dask_ml, solver="admm"),
        "Spark": partial(spark.fit, frame, len(X)),
        "Spark tol=1e-4": partial(spark.fit, frame, len(X), tol=1e-4),
    }


def _fit_ours(X, y, C, client):
    model = dask.fit(TorchLogisticRegression(C), X, y, client=client)
    return model.coef_, model.intercept_, int(model.n_iter_[0])


def _scattered(array, client):
    """Put equal parts of the rows onto the workers."""
    parts, workers = np.array_split(array, WORKERS), sorted(client.nthreads())
    held = [
        client.scatter(part, workers=[worker], hash=False)
        for part, worker in zip(parts, workers, strict=True)
    ]
    pairs = zip(held, parts, strict=True)
    return da.concatenate([da.from_delayed(one, part.shape, part.dtype) for one, part in pairs])
