"""The run: competitors take turns, so that a drift of the machine meets all of them."""

import math
import platform
import statistics
import time
import warnings
from importlib.metadata import version
from pathlib import Path

import torch

from benchmarks.competitors import COMPETITORS, REFERENCE
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
    times = {name: [] for name in competitors}
    solutions, n_fits = {}, {}
    for name in competitors:
        solutions[name], elapsed = _timed_fits(name, data, C, 1)
        _, elapsed = _timed_fits(name, data, C, 1) if elapsed < TURN else (None, elapsed)
        n_fits[name] = math.ceil(TURN / elapsed)
    start = time.perf_counter()
    while _wants_more(len(times[competitors[0]]), time.perf_counter() - start):
        for name in competitors:
            _, elapsed = _timed_fits(name, data, C, n_fits[name])
            times[name].append(elapsed)
    values = {
        name: objective(coef, intercept, data.X_train, data.y_train, C)
        for name, (coef, intercept, _) in solutions.items()
    }
    best = min(values.values())
    medians = {name: statistics.median(times[name]) for name in competitors}
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
        for name in competitors
    ]


def environment():
    """Versions and hardware, for the record."""
    packages = ("torchlogreg", "torch", "scikit-learn", "skorch", "numpy", "scipy")
    return {
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _timed_fits(name, data, C, n_fits):
    """Fit so many times; return the last solution and the mean time in seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # who stops short is seen in the objective
        start = time.perf_counter()
        for _ in range(n_fits):
            solution = COMPETITORS[name](data.X_train, data.y_train, C)
        return solution, (time.perf_counter() - start) / n_fits


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
