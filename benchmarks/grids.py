"""Whole grids of penalties and folds, next to scikit-learn's searches."""

import statistics
import sys
import time
import warnings

import numpy as np
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from threadpoolctl import threadpool_limits

from benchmarks.judge import objective
from benchmarks.runner import PAUSE
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

SOLVERS = ["newton-cholesky", "newton-cg", "lbfgs"]
MOST_ITER = 10_000
ROUNDS, SECONDS, PATIENCE = 5, 60.0, 4.0
"""Rounds, or fewer if they take longer than this; how many times the time of the fastest rival of
its kind another one may take at its first fit to take part in them."""

MOST_WORK = 2e10
"""Multiplications of an iteration beyond which "newton-cholesky" is left out."""


def grids(dataset, data, C=1.0):
    """Alternate; return one record for each competitor, ours first."""
    X, y = data.X_train, data.y_train
    n_Cs, n_folds = SHAPES[dataset]
    Cs = np.logspace(-4, 4, n_Cs)
    folds = list(StratifiedKFold(n_folds).split(X, y))
    ours = TorchLogisticRegressionCV(Cs=Cs, cv=folds)
    contestants = {"torchlogreg": (ours, None), "torchlogreg, one fit": (_single(), None)}
    if dataset not in ALONE:
        contestants |= _rivals(Cs, folds, X, y)
    first = {}
    for name, (model, n_threads) in list(contestants.items()):
        kind = name.split(",")[0].split(" ")[0]
        first[name] = min(_timed(model, n_threads, X, y) for _ in range(2))
        if first[name] > PATIENCE * min(first[n] for n in first if n.startswith(kind)):
            del contestants[name]
    times = {name: [] for name in contestants}
    begin = time.perf_counter()
    for _ in range(ROUNDS):
        for name, (model, n_threads) in contestants.items():
            times[name].append(_timed(model, n_threads, X, y))
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
                "C": getattr(model, "C_", None) or getattr(model, "best_params_", {}).get("C"),
                "most_excess": None if cells is None else float((cells / reference - 1).max()),
                "least_excess": None if cells is None else float((cells / reference - 1).min()),
            }
        )
    return records


def _single():
    return TorchLogisticRegression()


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
                )
                rivals[f"LogisticRegressionCV {setting}"] = path, n_threads
                rivals[f"GridSearchCV {setting}"] = search, n_threads
    return rivals


def _timed(model, n_threads, X, y):
    time.sleep(PAUSE)
    with threadpool_limits(n_threads), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = time.perf_counter()
        model.fit(X, y)
        return time.perf_counter() - start


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
