"""The registry of solvers: name, optimizer, and when "auto" takes it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from torchlogreg.optim import LBFGS, NewtonCG, NewtonCholesky, ProxNewton, SampledCurvature


@dataclass(frozen=True)
class Solver:
    """A way to minimise the objective."""

    name: str
    """What users write for the parameter ``solver``."""

    optimizer: type[torch.optim.Optimizer]
    """The optimizer; one epoch of it is one iteration."""

    max_iter: int
    """Iterations allowed unless the user says otherwise."""

    is_exact: bool = True
    """Whether it reads all rows at once and finds the minimiser; otherwise mini-batches."""

    forms_hessian: bool = False
    """Whether an iteration costs a product of all rows for each pair of coefficients."""

    takes_kinks: bool = False
    """Whether it minimises a penalty on absolute values; an exact solver without knows no zeros."""

    lr: float | None = None
    """Learning rate of a mini-batch solver; None for one that follows from the data."""

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
            options={"preconditioner": SampledCurvature()},
        ),
        Solver("newton-cholesky", NewtonCholesky, max_iter=100, forms_hessian=True),
        Solver("newton-cg", NewtonCG, max_iter=200),
        Solver("prox-newton", ProxNewton, max_iter=500, takes_kinks=True, is_random=True),
        Solver("sgd", torch.optim.SGD, max_iter=200, is_exact=False, takes_kinks=True),
        Solver("adam", torch.optim.Adam, max_iter=200, is_exact=False, takes_kinks=True, lr=0.01),
        Solver(
            "adamw",
            torch.optim.AdamW,
            max_iter=200,
            is_exact=False,
            takes_kinks=True,
            lr=0.01,
            options={"weight_decay": 0.0},  # the penalty comes from C
        ),
    )
}

BATCH_SIZE = 200
"""Rows of a mini-batch unless the user says otherwise."""

QUEUED_ITERATIONS = 4
"""Iterations that are queued up on a GPU without waiting for it. Up to so many less one are made
in vain at the end."""

NEWTON_MAX_COEF = 300
"""Most coefficients P for which "auto" forms a Hessian: its factorisation costs P^3."""

NEWTON_MAX_WORK = 2e7
"""Most multiplications n P^2 for a Hessian with which "auto" takes Newton's method. Up to here
an iteration takes less than a millisecond, and there are fewer of them than with L-BFGS."""


CG_MAX_ENTRIES = 2**20
"""Most entries of dense data for which "auto" takes conjugate gradients, if there are few rows:
their steps make fewer calls than L-BFGS, but read the data more often."""

CG_MAX_ROWS = 4
"""Most rows per column for that: with more, the Hessian of sampled rows is worth its price."""


def resolve(
    name: str | type[torch.optim.Optimizer],
    n_rows: int,
    n_coef: int,
    n_columns: int,
    *,
    is_dense: bool = True,
    l1_ratio: float = 0.0,
) -> Solver:
    """Return the solver of that name.

    Parameters
    ----------
    name : str or type
        A key of :data:`SOLVERS`, "auto", or a class of ``torch.optim``.
    n_rows : int
        Number n of rows.
    n_coef : int
        Number P = R * D of coefficients.
    n_columns : int
        Number D of columns.
    is_dense : bool, default=True
        Whether the features are dense.
    l1_ratio : float, default=0.0
        Part of the penalty that is on absolute values; 0 if there is none. "auto" decides on these
        five.

    Raises
    ------
    ValueError
        If the class is no optimizer, or one that needs a closure; or for an exact solver that
        takes no kinks, if there are some.
    """
    if name == "auto":
        is_small = n_coef <= NEWTON_MAX_COEF and n_rows * n_coef**2 <= NEWTON_MAX_WORK
        is_short = n_rows <= CG_MAX_ROWS * n_columns and n_rows * n_columns <= CG_MAX_ENTRIES
        if l1_ratio > 0:
            name = "prox-newton"
        elif is_small:
            name = "newton-cholesky"
        else:
            name = "newton-cg" if is_short or not is_dense else "lbfgs"
    solver = SOLVERS[name] if isinstance(name, str) else _solver_of(name)
    if l1_ratio > 0 and not solver.takes_kinks:
        able = sorted(known.name for known in SOLVERS.values() if known.takes_kinks)
        raise ValueError(
            f"l1_ratio={l1_ratio!r}: solver={name!r} takes l1_ratio=0 only, for a smooth penalty. "
            f"Use solver='auto' or one of {able}."
        )
    return solver


def takes_batches(name: str | type[torch.optim.Optimizer]) -> bool:
    """Whether the solver of that name reads mini-batches."""
    return not isinstance(name, str) or (name in SOLVERS and not SOLVERS[name].is_exact)


def _solver_of(optimizer: type[torch.optim.Optimizer]) -> Solver:
    """Make a mini-batch solver of an optimizer of torch."""
    is_optimizer = issubclass(optimizer, torch.optim.Optimizer)
    if not is_optimizer or "lr" not in inspect.signature(optimizer).parameters:
        raise ValueError(
            f"solver={optimizer!r} is not an optimizer with a learning rate. Use a class of "
            f"torch.optim, 'auto' or one of {sorted(SOLVERS)}."
        )
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise ValueError(
            f"solver={optimizer.__name__}: its step needs a closure that evaluates the loss "
            "again, which a stream of mini-batches cannot give. Use solver='lbfgs', which is "
            "exact, or an optimizer such as torch.optim.SGD."
        )
    lr = inspect.signature(optimizer).parameters.get("lr")
    known = {solver.optimizer: solver for solver in SOLVERS.values() if not solver.is_exact}
    if optimizer in known:
        return known[optimizer]
    default = None if lr is None or not isinstance(lr.default, float) else lr.default
    return Solver(
        optimizer.__name__,
        optimizer,
        max_iter=200,
        is_exact=False,
        takes_kinks=True,
        lr=default or 0.01,
    )
