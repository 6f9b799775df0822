"""Both exact solvers on data of all shapes: where "auto" should change from one to the other."""

import statistics

from benchmarks.competitors import ours
from benchmarks.datasets import DATASETS
from benchmarks.datasets.synthetic import clusters
from benchmarks.runner import timed_fits
from torchlogreg.estimators.solvers import resolve

REAL = ["iris", "wine_raw", "breast_cancer_raw", "digits"]
RANDOM = [(2_000, 30), (100_000, 20), (5_000, 100), (5_000, 289), (100_000, 289)]
"""Rows and columns of random data of two classes, in float64."""

ROUNDS = 5


def solver_choice(C=1.0):
    """Return one record a data set and solver, with the median time of a fit, in turns."""
    cases = {name: DATASETS[name]() for name in REAL}
    cases |= {f"random, {n:,} x {d}": clusters(n, d, 2, dtype="float64") for n, d in RANDOM}
    records = []
    for name, data in cases.items():
        n, d = data.X_train.shape
        n_classes = len(set(data.y_train))
        n_coef = (d + 1) * (n_classes if n_classes > 2 else 1)
        solvers = ["newton-cholesky", "lbfgs"]
        times = {solver: [] for solver in solvers}
        iterations = {}
        for number in range(ROUNDS + 1):
            for solver in solvers:
                fit = timed_fits(ours.fit, data, C, 1 if n * n_coef > 10**6 else 10, solver=solver)
                iterations[solver] = fit[0][2]
                if number > 0:  # the first round warms up
                    times[solver].append(fit[1])
        records += [
            {
                "dataset": name,
                "n": n,
                "n_coef": n_coef,
                "solver": solver,
                "is_auto": resolve("auto", n, n_coef).name == solver,
                "seconds": statistics.median(times[solver]),
                "iterations": iterations[solver],
            }
            for solver in solvers
        ]
    return records
