"""The run: competitors take turns, so that a drift of the machine meets all of them."""

import math
import platform
import statistics
import sys
import time
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from benchmarks.competitors import COMPETITORS, REFERENCE
from benchmarks.competitors.not_applicable import NotApplicableError
from benchmarks.datasets import DATASETS
from benchmarks.judge import accuracy, objective

MIN_ROUNDS, MAX_ROUNDS, SECONDS = 3, 30, 20.0
"""Rounds on a data set: as many as fit into the time, within these limits."""

TURN = 0.2
"""Seconds that a competitor's turn lasts at least: short fits are repeated and averaged, so
that none of them is charged for the caches and the thread pool that the last one left behind."""


def run(dataset, competitors, C=1.0):
    """Let the competitors take turns on a data set.

    The first fits warm up and are not counted. Returns one record a competitor, with the mean
    time of a fit in every turn and the objective above the lowest one.
    """
    data = DATASETS[dataset]()
    solutions, n_fits = {}, {}
    for name in competitors:
        try:
            solutions[name], elapsed = timed_fits(COMPETITORS[name], data, C)
        except NotApplicableError as error:
            print(f"{name} is left out on {dataset}: {error}", file=sys.stderr)
            continue
        if elapsed < TURN:
            _, elapsed = timed_fits(COMPETITORS[name], data, C)
        n_fits[name] = math.ceil(TURN / elapsed)
    if not solutions:
        return []
    times = {name: [] for name in solutions}
    start = time.perf_counter()
    while _wants_more(min(map(len, times.values())), time.perf_counter() - start):
        for name in times:
            _, elapsed = timed_fits(COMPETITORS[name], data, C, n_fits[name])
            times[name].append(elapsed)
    values = {
        name: objective(coef, intercept, data.X_train, data.y_train, C)
        for name, (coef, intercept, _) in solutions.items()
    }
    best = min(values.values())
    medians = {name: statistics.median(some) for name, some in times.items()}
    return [
        {
            "dataset": dataset,
            "competitor": name,
            "seconds": medians[name],
            "times_reference": medians[REFERENCE] / medians[name] if REFERENCE in medians else None,
            "objective": values[name],
            "suboptimality": values[name] - best,
            "iterations": solutions[name][2],
            "test_accuracy": float(accuracy(*solutions[name][:2], data.X_test, data.y_test)),
            "all_seconds": times[name],
        }
        for name in times
    ]


def timed_fits(fit, data, C, n_fits=1, **params):
    """Fit so many times; return the last solution and the mean time in seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # who stops short is seen in the objective
        start = time.perf_counter()
        for _ in range(n_fits):
            solution = fit(data.X_train, data.y_train, C, **params)
        return solution, (time.perf_counter() - start) / n_fits


def environment():
    """Versions and hardware, for the record."""
    packages = ("torchlogreg", "torch", "scikit-learn", "scikit-learn-intelex", "skorch", "numpy")
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in packages},
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _version(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _wants_more(rounds, elapsed):
    return rounds < MIN_ROUNDS or (rounds < MAX_ROUNDS and elapsed < SECONDS)


def _processor():
    """Name of the processor; Python's own answer is often empty on Linux."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
