"""Sparse models: our time next to that of every peer that minimises the same objective.

Without an intercept liblinear and celer take part, too: they would penalise one, or have none.
"""

import statistics
from functools import partial

import numpy as np

from benchmarks.competitors import celer, glmnet, ours, scikit_learn, skglm
from benchmarks.competitors.peer import Peer
from benchmarks.curves import curves
from benchmarks.datasets import DATASETS
from benchmarks.judge import objective
from benchmarks.runner import Contest, run, timed_fits

TOLERANCES = (1e-4, 1e-6)

PATIENCE = 45.0
"""Seconds of a fit after which no longer one is asked for in a curve."""


def contest(l1_ratio=1.0, *, fit_intercept=True):
    """Who takes part, and what counts."""
    shared = {"l1_ratio": l1_ratio}
    saga = partial(scikit_learn.fit, solver="saga", **shared)
    settings = [
        ("glmnet", partial(glmnet.fit, **shared), {"thresh": (1e-7, 1e-9)}),
        ("skglm", partial(skglm.fit, **shared), {"tol": TOLERANCES}),
        ("sklearn saga", saga, {"tol": TOLERANCES}),
    ]
    if not fit_intercept:
        shared["fit_intercept"] = False
        settings = [
            ("skglm", partial(skglm.fit, **shared), {"tol": TOLERANCES}),
            ("sklearn saga", partial(saga, fit_intercept=False), {"tol": TOLERANCES}),
        ]
        if l1_ratio == 1:
            liblinear = partial(scikit_learn.fit, solver="liblinear", **shared)
            settings += [
                ("sklearn liblinear", liblinear, {"tol": TOLERANCES}),
                ("celer", celer.fit, {"tol": TOLERANCES}),
            ]
    return Contest(
        Peer("torchlogreg", partial(ours.fit, **shared)),
        [
            Peer(f"{name} {key}={value:g}", fit, {key: value}, n_threads)
            for name, fit, sweep in settings
            for key, values in sweep.items()
            for value in values
            for n_threads in (1, None)
        ],
        partial(objective, l1_ratio=l1_ratio),
    )


def sparse_models(dataset, data, C=1.0):
    """Compare on a data set, with an intercept, and for two classes without one.

    Returns the name of each comparison and its records.
    """
    compared = {dataset: run(dataset, data, C, contest())}
    if np.max(data.y_train) == 1:
        name = f"{dataset}, no intercept"
        compared[name] = run(name, data, C, contest(fit_intercept=False))
    return compared


def sparse_curves(dataset, C=1.0, l1_ratio=1.0):
    """Objective against seconds, as :func:`benchmarks.curves.curves` has it.

    Every record also has the time of our own fit with the ridge penalty.
    """
    shared = {"l1_ratio": l1_ratio}
    saga = partial(scikit_learn.fit, solver="saga", tol=1e-12, most_work=np.inf, **shared)
    tolerances = {"tol": [1e-1, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 1e-6]}
    sweeps = {
        "torchlogreg": (partial(ours.fit, **shared), tolerances),
        "glmnet": (partial(glmnet.fit, **shared), {"thresh": [10.0**-k for k in range(4, 10)]}),
        "skglm": (partial(skglm.fit, **shared), tolerances),
        "sklearn saga": (saga, {"max_iter": [10, 30, 100, 300, 1000, 3000]}),
    }
    records = curves(dataset, C, sweeps, partial(objective, **shared), PATIENCE)
    data = DATASETS[dataset]()
    ridge = statistics.median(timed_fits(ours.fit, data, C)[1] for _ in range(3))
    return [{**record, "ridge_seconds": ridge} for record in records]
