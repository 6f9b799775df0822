"""Competitors, one a file: ``fit(X, y, C, **params)`` gives coef, intercept, iterations.

:data:`PEERS` are the settings that our time is compared with: every solver that minimises our
objective, at its default tolerance and at tighter ones, with one thread and with all. Those of
:data:`SWEEPS` are run with one value after the other, for the curves of objective against time.
"""

from functools import partial

from benchmarks.competitors import intelex, ours, scikit_learn, torch_lbfgs
from benchmarks.competitors.peer import Peer

TOLERANCES = (1e-4, 2e-5, 1e-6)
"""The default tolerance of all competitors, and tighter ones."""

SOLVERS = ("newton-cholesky", "newton-cg", "lbfgs", "sag", "saga")
"""scikit-learn's solvers of our objective. liblinear's penalises the intercept."""

PEERS = [
    Peer(f"{name} tol={tol:g}", fit, {"tol": tol}, n_threads)
    for name, fit in [
        *((f"sklearn {solver}", partial(scikit_learn.fit, solver=solver)) for solver in SOLVERS),
        ("intelex lbfgs", intelex.fit),
        ("torch.optim.LBFGS", torch_lbfgs.fit),
    ]
    for tol in TOLERANCES
    for n_threads in (1, None)
]
"""In the order in which they are tried: who is often fast comes first, and sets a limit."""

COMPETITORS = {"torchlogreg": ours.fit, "sklearn": scikit_learn.fit}
"""With all defaults: for what is not a matter of time, such as memory."""

ITERATIONS = {"max_iter": [3, 6, 10, 15, 25, 40, 65, 100, 160, 250, 400]}

SWEEPS = {
    "torchlogreg": (ours.fit, {"tol": [1e-1, 1e-2, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6, 1e-6]}),
    "sklearn lbfgs": (partial(scikit_learn.fit, tol=1e-12), ITERATIONS),
    "sklearn newton-cg": (
        partial(scikit_learn.fit, solver="newton-cg", tol=1e-12),
        {"max_iter": [1, 2, 3, 4, 5, 6, 8, 10, 12, 15]},
    ),
    "intelex": (partial(intelex.fit, tol=1e-12), ITERATIONS),
    "torch.optim.LBFGS": (partial(torch_lbfgs.fit, tol=0.0, tolerance_change=0.0), ITERATIONS),
}
"""What is varied for the curves; nothing but the number of iterations ends the others."""
