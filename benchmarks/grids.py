"""Whole grids of penalties and folds, next to scikit-learn's searches.

scikit-learn's models begin at those of the last penalty, and end at once where the gradient is
below ``tol`` there: with weak penalties they may be far from the minimum. Their objectives are
shown next to ours.
"""

import math
import statistics
import sys
import time
import warnings

import numpy as np
from joblib import Parallel, delayed
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from threadpoolctl import threadpool_limits

from benchmarks.competitors.not_applicable import NotApplicableError
from benchmarks.competitors.peer import time_limit
from benchmarks.judge import objective
from benchmarks.runner import PAUSE, TURN
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

SOLVERS = ["newton-cg", "lbfgs", "newton-cholesky"]
MOST_ITER = 10_000
ROUNDS, SECONDS = 5, 60.0
"""Rounds, or fewer if they take longer than this."""

PATIENCE, SLOWER = 6.0, 1.6
"""How many times our time a rival may take; how much slower than the fastest of its kind it may be
at its first fit: it cannot win."""

MOST_WORK = 2e10
"""Multiplications of an iteration beyond which "newton-cholesky" is left out."""


def grids(dataset, data, C=1.0):
    """Alternate; return one record for each competitor, ours first."""
    X, y = data.X_train, data.y_train
    n_Cs, n_folds = SHAPES[dataset]
    Cs = np.logspace(-4, 4, n_Cs)
    folds = list(StratifiedKFold(n_folds).split(X, y))
    ours = TorchLogisticRegressionCV(Cs=Cs, cv=folds)
    contestants = {
        "torchlogreg": (ours, None),
        "torchlogreg-single": (TorchLogisticRegression(), None),
    }
    if dataset not in ALONE:
        contestants |= _rivals(Cs, folds, X, y)
    Parallel(n_jobs=2)(delayed(_load_workers)() for _ in range(8))
    first, left_out = _first_fits(contestants, X, y)
    for name, reason in left_out.items():
        print(f"{name} is left out on {dataset}: {reason}", file=sys.stderr)
        del contestants[name]
    times = {name: [] for name in contestants}
    begin = time.perf_counter()
    for _ in range(ROUNDS):
        for name, (model, n_threads) in contestants.items():
            n_fits = math.ceil(TURN / first[name])
            times[name].append(_timed(model, n_threads, X, y, n_fits))
        if time.perf_counter() - begin > SECONDS:
            break
    reference = _cells(ours, folds, X, y)
    records = []
    for name, (model, _) in contestants.items():
        cells = _cells(model, folds, X, y)
        records.append(
            {
                "dataset": dataset,
                "competitor": name,
                "n_models": n_Cs * n_folds,
                "seconds": statistics.median(times[name]),
                "C": getattr(model, "C_", None) or getattr(model, "best_params_", {}).get("C", 1.0),
                "most_excess": None if cells is None else float((cells / reference - 1).max()),
                "least_excess": None if cells is None else float((cells / reference - 1).min()),
            }
        )
    return records


def _load_workers():
    """Let a process of joblib load what its first fit needs: that is nobody's time."""
    X = np.random.default_rng(0).normal(size=(60, 3))
    LogisticRegression().fit(X, np.arange(60) % 3)
    time.sleep(0.3)


def _first_fits(contestants, X, y):
    """Let everyone fit once. Return the seconds; and who cannot win, and why."""
    first, limits, left_out, stopped = {}, {}, {}, set()
    for name, (model, n_threads) in contestants.items():
        kind, solver = name.split(", ")[0].rsplit(" ", 1) if " " in name else (name, "")
        if (kind, solver) in stopped:
            left_out[name] = "its solver was stopped before"
            continue
        ours = limits.get("torchlogreg", float("inf"))
        limit = min(PATIENCE * ours, SLOWER * limits.get(kind, float("inf"))) + PAUSE
        try:
            with time_limit(min(limit, 3600)):
                first[name] = _timed(model, n_threads, X, y)
        except NotApplicableError as error:
            left_out[name] = str(error)
            if limit > 0.99 * PATIENCE * ours:
                stopped.add((kind, solver))
            continue
        limits[kind] = min(limits.get(kind, float("inf")), first[name])
    return first, left_out


def _rivals(Cs, folds, X, y):
    """scikit-learn's searches with every solver, one job and two, one BLAS thread and all."""
    n_outputs = len(np.unique(y)) if len(np.unique(y)) > 2 else 1
    n_coef = n_outputs * (X.shape[1] + 1)
    rivals = {}
    for solver in SOLVERS:
        if solver == "newton-cholesky" and X.shape[0] * n_coef**2 > MOST_WORK:
            print(f"{solver} is left out: it takes minutes", file=sys.stderr)
            continue
        params = {"solver": solver, "max_iter": MOST_ITER}
        for n_jobs in (1, 2):
            for n_threads in (1, None):
                setting = f"{solver}, {n_jobs} jobs, {n_threads or 'all'} threads"
                path = LogisticRegressionCV(
                    Cs=Cs,
                    cv=folds,
                    scoring="neg_log_loss",
                    l1_ratios=(0.0,),
                    use_legacy_attributes=False,
                    n_jobs=n_jobs,
                    **params,
                )
                search = GridSearchCV(
                    LogisticRegression(**params),
                    {"C": Cs},
                    cv=folds,
                    scoring="neg_log_loss",
                    n_jobs=n_jobs,
                    error_score="raise",  # who is stopped must not go on with the next model
                )
                rivals[f"LogisticRegressionCV {setting}"] = path, n_threads
                rivals[f"GridSearchCV {setting}"] = search, n_threads
    return rivals


def _timed(model, n_threads, X, y, n_fits=1):
    time.sleep(PAUSE)
    with threadpool_limits(n_threads), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = time.perf_counter()
        for _ in range(n_fits):
            model.fit(X, y)
        return (time.perf_counter() - start) / n_fits


def _cells(model, folds, X, y):
    """Objectives of all folds and penalties; None of a model that does not keep them."""
    if not hasattr(model, "coefs_paths_"):
        return None
    return np.array(
        [
            [
                objective(coef[:, :-1], coef[:, -1], X[train], y[train], C)
                for coef, C in zip(paths[0], model.Cs_, strict=True)
            ]
            for paths, (train, _) in zip(model.coefs_paths_, folds, strict=True)
        ]
    )
