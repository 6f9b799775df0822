"""The registry of solvers: name, optimizer, and when "auto" takes it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from torchlogreg.optim import LBFGS, NewtonCholesky


@dataclass(frozen=True)
class Solver:
    """A way to minimise the objective."""

    name: str
    """What users write for the parameter ``solver``."""

    optimizer: type[torch.optim.Optimizer]
    """The optimizer; one epoch of it is one iteration."""

    max_iter: int
    """Iterations allowed unless the user says otherwise."""


SOLVERS = {
    solver.name: solver
    for solver in (
        Solver("lbfgs", LBFGS, max_iter=1000),
        Solver("newton-cholesky", NewtonCholesky, max_iter=100),
    )
}

NEWTON_MAX_COEF = 300
"""Most coefficients for which "auto" forms a Hessian: there it wins on every data set of the
benchmarks, while its cost grows with their square and cube."""


def resolve(name: str, n_coef: int) -> Solver:
    """Return the solver of that name.

    Parameters
    ----------
    name : str
        A key of :data:`SOLVERS`, or "auto".
    n_coef : int
        Number R * D of coefficients, which is what "auto" decides on.
    """
    if name != "auto":
        return SOLVERS[name]
    return SOLVERS["newton-cholesky" if n_coef <= NEWTON_MAX_COEF else "lbfgs"]
