"""Sparse models: our time next to that of every peer that minimises the same objective.

Without an intercept liblinear takes part, too: it would penalise one.
"""

from functools import partial

import numpy as np

from benchmarks.competitors import glmnet, ours, scikit_learn, skglm
from benchmarks.competitors.peer import Peer
from benchmarks.judge import objective
from benchmarks.runner import Contest, run

TOLERANCES = (1e-4, 1e-6)


def contest(l1_ratio=1.0, *, fit_intercept=True):
    """Who takes part, and what counts."""
    shared = {"l1_ratio": l1_ratio}
    fits = [
        *(("glmnet", partial(glmnet.fit, **shared), {"thresh": t}) for t in (1e-7, 1e-9)),
        *(("skglm", partial(skglm.fit, **shared), {"tol": t}) for t in TOLERANCES),
        *(
            ("sklearn saga", partial(scikit_learn.fit, solver="saga", **shared), {"tol": t})
            for t in TOLERANCES
        ),
    ]
    if not fit_intercept:
        shared["fit_intercept"] = False
        fits = [
            (name, partial(scikit_learn.fit, solver=solver, **shared), {"tol": t})
            for name, solver in (("sklearn liblinear", "liblinear"), ("sklearn saga", "saga"))
            for t in TOLERANCES
        ]
        fits += [
            ("skglm", partial(skglm.fit, l1_ratio=l1_ratio, fit_intercept=False), {"tol": t})
            for t in TOLERANCES
        ]
    return Contest(
        Peer("torchlogreg", partial(ours.fit, **shared)),
        [
            Peer(f"{name} {key}={value:g}", fit, params, n_threads)
            for name, fit, params in fits
            for key, value in params.items()
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
