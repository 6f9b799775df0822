"""Competitors, one a file: ``fit(X, y, C, **params)`` gives coef, intercept, iterations.

An entry of :data:`COMPETITORS` is a fit with its parameters. Those of :data:`SWEEPS` are run with
one value after the other, for the curves of objective against time.
"""

from functools import partial

from benchmarks.competitors import intelex, ours, scikit_learn, torch_lbfgs

COMPETITORS = {
    "torchlogreg": ours.fit,
    "sklearn": scikit_learn.fit,
    "sklearn max_iter=1000": partial(scikit_learn.fit, max_iter=1000),
    "sklearn max_iter=10000": partial(scikit_learn.fit, max_iter=10_000),
    "sklearn tol=1e-5": partial(scikit_learn.fit, tol=1e-5, max_iter=10_000),
    "sklearn tol=1e-6": partial(scikit_learn.fit, tol=1e-6, max_iter=10_000),
    "intelex max_iter=1000": partial(intelex.fit, max_iter=1000),
    "intelex tol=1e-5": partial(intelex.fit, tol=1e-5, max_iter=10_000),
    "torch.optim.LBFGS": torch_lbfgs.fit,
    "torch.optim.LBFGS tol=1e-5": partial(
        torch_lbfgs.fit, tol=1e-5, tolerance_change=0.0, max_iter=10_000
    ),
}

STANDARD = [
    "torchlogreg",
    "sklearn",
    "sklearn max_iter=1000",
    "sklearn tol=1e-5",
    "intelex max_iter=1000",
    "intelex tol=1e-5",
    "torch.optim.LBFGS",
    "torch.optim.LBFGS tol=1e-5",
]
"""The competitors of a run unless others are named: with the tolerances of all, and tighter."""

REFERENCE = "sklearn"
"""The competitor that ratios refer to."""

ITERATIONS = {"max_iter": [3, 6, 10, 15, 25, 40, 65, 100, 160, 250, 400]}

SWEEPS = {
    "torchlogreg": (ours.fit, {"tol": [1e-1, 1e-2, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6, 1e-6]}),
    "sklearn": (partial(scikit_learn.fit, tol=1e-12), ITERATIONS),
    "intelex": (partial(intelex.fit, tol=1e-12), ITERATIONS),
    "torch.optim.LBFGS": (partial(torch_lbfgs.fit, tol=0.0, tolerance_change=0.0), ITERATIONS),
}
"""What is varied for the curves; nothing but the number of iterations ends the others."""
