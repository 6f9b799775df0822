"""The exact solvers on data of all shapes, with one thread and with all: for "auto"."""

import contextlib
import statistics

from scipy import sparse
from threadpoolctl import threadpool_limits

from benchmarks.competitors import ours
from benchmarks.datasets import DATASETS
from benchmarks.datasets.synthetic import clusters
from benchmarks.runner import timed_fits
from torchlogreg.estimators.solvers import resolve

CASES = ["iris", "wine_raw", "breast_cancer_raw", "digits", "digits_scaled", "credit", "letters"]
CASES += ["300x300", "2,000x500", "1,000x300 3 classes", "20,000x300", "500x20,000"]
CASES += ["one-hot 200,000x10,000", "text 20,000x50,000", "text 2,000x20,000 5 classes"]
RANDOM = [(2_000, 30), (100_000, 20), (5_000, 100), (5_000, 289), (100_000, 289)]
"""Rows and columns of random data of two classes, in float64."""

SOLVERS = ["newton-cholesky", "newton-cg", "lbfgs"]

MOST_WORK = 1e10
"""Multiplications n P² of a Hessian that is worth trying."""

ROUNDS = 5


def solver_choice(C=1.0):
    """Return one record a data set, solver and thread count, with the median time, in turns."""
    cases = {name: DATASETS[name]() for name in CASES}
    cases |= {f"random, {n:,} x {d}": clusters(n, d, 2, dtype="float64") for n, d in RANDOM}
    records = []
    for name, data in cases.items():
        n, d = data.X_train.shape
        n_classes = len(set(data.y_train))
        n_coef = (d + 1) * (n_classes if n_classes > 2 else 1)
        is_dense = not sparse.issparse(data.X_train)
        chosen = resolve("auto", n, n_coef, d + 1, is_dense=is_dense).name
        solvers = SOLVERS[n * n_coef**2 > MOST_WORK :]
        settings = [(solver, n_threads) for solver in solvers for n_threads in (1, None)]
        times, iterations = {setting: [] for setting in settings}, {}
        for number in range(ROUNDS + 1):
            for solver, n_threads in settings:
                with threadpool_limits(1) if n_threads == 1 else contextlib.nullcontext():
                    n_fits = 1 if n * n_coef > 10**6 else 10
                    solution, seconds = timed_fits(ours.fit, data, C, n_fits, solver=solver)
                iterations[solver] = solution[2]
                if number > 0:  # the first round warms up
                    times[solver, n_threads].append(seconds)
        records += [
            {
                "dataset": name,
                "n": n,
                "n_coef": n_coef,
                "solver": solver,
                "threads": n_threads or "all",
                "is_auto": solver == chosen,
                "seconds": statistics.median(some),
                "iterations": iterations[solver],
            }
            for (solver, n_threads), some in times.items()
        ]
    return records
