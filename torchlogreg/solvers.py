"""The registry of solvers: name, optimizer, and when "auto" takes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from torchlogreg.optim import LBFGS, NewtonCholesky
from torchlogreg.preconditioners import sampled_inverse_hessian


@dataclass(frozen=True)
class Solver:
    """A way to minimise the objective."""

    name: str
    """What users write for the parameter ``solver``."""

    optimizer: type[torch.optim.Optimizer]
    """The optimizer; one epoch of it is one iteration."""

    max_iter: int
    """Iterations allowed unless the user says otherwise."""

    is_random: bool = False
    """Whether the optimizer takes a seed."""

    can_queue: bool = False
    """Whether the optimizer makes several iterations between two looks at the numbers."""

    options: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the optimizer."""


SOLVERS = {
    solver.name: solver
    for solver in (
        Solver(
            "lbfgs",
            LBFGS,
            max_iter=1000,
            is_random=True,
            can_queue=True,
            options={"preconditioner": sampled_inverse_hessian},
        ),
        Solver("newton-cholesky", NewtonCholesky, max_iter=100),
    )
}

QUEUED_ITERATIONS = 4
"""Iterations that are queued up on a GPU without waiting for it. Up to so many less one are made
in vain at the end."""

NEWTON_MAX_COEF = 300
"""Most coefficients P for which "auto" forms a Hessian: its factorisation costs P^3."""

NEWTON_MAX_WORK = 2e7
"""Most multiplications n P^2 for a Hessian with which "auto" takes Newton's method. Up to here
an iteration takes less than a millisecond, and there are fewer of them than with L-BFGS."""


def resolve(name: str, n_rows: int, n_coef: int) -> Solver:
    """Return the solver of that name.

    Parameters
    ----------
    name : str
        A key of :data:`SOLVERS`, or "auto".
    n_rows : int
        Number n of rows.
    n_coef : int
        Number P = R * D of coefficients. "auto" decides on n and P.
    """
    if name != "auto":
        return SOLVERS[name]
    is_small = n_coef <= NEWTON_MAX_COEF and n_rows * n_coef**2 <= NEWTON_MAX_WORK
    return SOLVERS["newton-cholesky" if is_small else "lbfgs"]
