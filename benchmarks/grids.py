"""Whole grids of penalties and folds, next to scikit-learn's searches.

Everyone fits in another process, which is stopped if it takes too long: some solvers do not listen
to signals. scikit-learn's models begin at those of the last penalty, and end at once where the
gradient is below ``tol`` there: with weak penalties they may be far from the minimum. Their
objectives are shown next to ours.
"""

import math
import statistics
import sys
import time
import warnings
from functools import cached_property
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from threadpoolctl import threadpool_limits

from benchmarks.datasets import DATASETS
from benchmarks.judge import objective
from benchmarks.memory import peak, resident
from benchmarks.runner import PAUSE, TURN
from benchmarks.stoppable import Stoppable
from torchlogreg import TorchLogisticRegression, TorchLogisticRegressionCV

SHAPES = {
    "iris": (10, 5),
    "breast_cancer": (10, 5),
    "digits_unit": (10, 5),
    "letters": (10, 5),
    "mnist_10k": (10, 3),
    "mnist": (20, 5),
}
"""Penalties from 1e-4 to 1e4, and folds, of each data set."""

ALONE = {"mnist"}
"""Data on which nobody else ends in time: ours is compared with single fits of ours."""

OURS, SINGLE = "torchlogreg", "torchlogreg-single"
SOLVERS = ["newton-cg", "lbfgs", "newton-cholesky"]
SETTINGS = {"1 jobs, 1 threads": (1, 1), "1 jobs, all threads": (1, None), "2 jobs": (2, None)}
"""Jobs and BLAS threads. Each of two jobs has one thread on two cores: that is joblib's rule."""

MOST_ITER = 10_000
ROUNDS, SECONDS = 5, 60.0
"""Rounds, or fewer if they take longer than this."""

PATIENCE, SLOWER = 7.0, 1.6
"""How many times our time a rival may take at its first fit; how many times that of the fastest of
its kind it may take there to come into the rounds."""

MOST_WORK = 2e10
"""Multiplications of an iteration beyond which "newton-cholesky" is left out."""


def grids(dataset):
    """Alternate; return one record for each competitor, ours first."""
    contest = Stoppable(Contest, dataset)
    try:
        return _records(dataset, contest)
    finally:
        contest.stop()


def _records(dataset, contest):
    names = contest("names")
    first, left_out = _first_fits(names, contest)
    times = {name: [] for name in _finalists(first)}
    begin = time.perf_counter()
    for _ in range(ROUNDS):
        for name, seconds in times.items():
            n_fits = math.ceil(TURN / first[name]["seconds"])
            seconds.append(contest("seconds", name, n_fits))
        if time.perf_counter() - begin > SECONDS:
            break
    n_Cs, n_folds = SHAPES[dataset]
    records = []
    for name in names:
        record = {"dataset": dataset, "competitor": name, "n_models": n_Cs * n_folds}
        if name in left_out:
            records.append({**record, **left_out[name]})
        elif name in times:
            records.append({**record, **first[name], "seconds": statistics.median(times[name])})
        else:
            records.append({**record, "left_out": f"takes {first[name]['seconds']:.3g} s"})
    reference = first[OURS]["cells"]
    for record in records:
        cells = record.pop("cells", None)
        if cells is not None:
            excess = cells / reference - 1
            record |= {"least_excess": float(excess.min()), "most_excess": float(excess.max())}
    return records


def _first_fits(names, contest):
    """Let everyone fit once. Return what came of it; and who took too long."""
    first, left_out, stopped = {}, {}, set()
    for name in names:
        kind_and_solver = name.split(",")[0]
        limit = None if OURS not in first else PATIENCE * first[OURS]["seconds"]
        if kind_and_solver in stopped:
            left_out[name] = {"left_out": "its solver was stopped before"}
            continue
        try:
            first[name] = contest("first", name, limit=limit and limit + 1)
            print(f"{name}: {first[name]['seconds']:.3g} s", file=sys.stderr, flush=True)
        except TimeoutError as error:
            left_out[name] = {"left_out": str(error), "at_least": limit}
            stopped.add(kind_and_solver)
            print(f"{name} {error}", file=sys.stderr, flush=True)
    return first, left_out


def _finalists(first):
    """Names of those who may be the fastest of their kind."""
    fastest = {}
    for name, result in first.items():
        kind = name.split(" ")[0]
        fastest[kind] = min(fastest.get(kind, math.inf), result["seconds"])
    return [
        name for name, r in first.items() if r["seconds"] <= SLOWER * fastest[name.split(" ")[0]]
    ]


class Contest:
    """All competitors on a data set: what happens in the other process."""

    def __init__(self, dataset):
        data = DATASETS[dataset]()
        self.X, self.y = data.X_train, data.y_train
        n_Cs, n_folds = SHAPES[dataset]
        self.Cs = np.logspace(-4, 4, n_Cs)
        self.folds = list(StratifiedKFold(n_folds).split(self.X, self.y))
        self.is_alone = dataset in ALONE
        Parallel(n_jobs=2)(delayed(_load_worker)() for _ in range(8))
        TorchLogisticRegressionCV(Cs=2, cv=2).fit(*_small_data())

    def __call__(self, task, *args):
        """Do one of the tasks."""
        return getattr(self, task)(*args)

    @cached_property
    def models(self):
        """Model and BLAS threads of every competitor."""
        return {
            OURS: (TorchLogisticRegressionCV(Cs=self.Cs, cv=self.folds), None),
            SINGLE: (TorchLogisticRegression(), None),
            **({} if self.is_alone else self._rivals()),
        }

    def names(self):
        """Names of the competitors, ours first."""
        return list(self.models)

    def seconds(self, name, n_fits=1):
        """Seconds of a fit."""
        model, n_threads = self.models[name]
        time.sleep(PAUSE)
        with threadpool_limits(n_threads), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            start = time.perf_counter()
            for _ in range(n_fits):
                model.fit(self.X, self.y)
            return (time.perf_counter() - start) / n_fits

    def first(self, name):
        """Seconds of the first fit, its peak memory, the choice of C and all objectives."""
        before = resident()
        Path("/proc/self/clear_refs").write_text("5")
        seconds = self.seconds(name)
        memory = peak() - before
        if seconds < TURN:  # what is loaded at the first time counts there
            seconds = self.seconds(name)
        model = self.models[name][0]
        choice = getattr(model, "C_", None) or getattr(model, "best_params_", {}).get("C")
        return {"seconds": seconds, "C": choice, "memory": memory, "cells": self._cells(model)}

    def _rivals(self):
        """scikit-learn's searches with every solver, one job and two, one BLAS thread and all."""
        n_classes = len(np.unique(self.y))
        n_coef = (n_classes if n_classes > 2 else 1) * (self.X.shape[1] + 1)
        rivals = {}
        for solver in SOLVERS:
            if solver == "newton-cholesky" and self.X.shape[0] * n_coef**2 > MOST_WORK:
                continue
            params = {"solver": solver, "max_iter": MOST_ITER}
            common = {"cv": self.folds, "scoring": "neg_log_loss"}
            for setting, (n_jobs, n_threads) in SETTINGS.items():
                path = LogisticRegressionCV(
                    Cs=self.Cs,
                    l1_ratios=(0.0,),
                    use_legacy_attributes=False,
                    n_jobs=n_jobs,
                    **common,
                    **params,
                )
                search = GridSearchCV(
                    LogisticRegression(**params), {"C": self.Cs}, n_jobs=n_jobs, **common
                )
                rivals[f"LogisticRegressionCV {solver}, {setting}"] = path, n_threads
                rivals[f"GridSearchCV {solver}, {setting}"] = search, n_threads
        return rivals

    def _cells(self, model):
        """Objectives of all folds and penalties; None of a model that does not keep them."""
        if not hasattr(model, "coefs_paths_"):
            return None
        return np.array(
            [
                [
                    objective(coef[:, :-1], coef[:, -1], self.X[train], self.y[train], C)
                    for coef, C in zip(paths[0], model.Cs_, strict=True)
                ]
                for paths, (train, _) in zip(model.coefs_paths_, self.folds, strict=True)
            ]
        )


def _small_data():
    return np.random.default_rng(0).normal(size=(60, 3)), np.arange(60) % 3


def _load_worker():
    """Let a process of joblib load what its first fit needs: that is nobody's time."""
    LogisticRegression().fit(*_small_data())
    time.sleep(0.3)
