"""All models of a grid: penalties times problems that share the rows of X."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from torch import Tensor

from torchlogreg.data.training_data import TrainingData
from torchlogreg.estimators.solvers import Solver
from torchlogreg.estimators.training_net import make_algorithm
from torchlogreg.estimators.training_rows import all_rows, max_iter_of, null_coef, work
from torchlogreg.optim import KeptCurvature, QuasiNewton, Solution, Sweep
from torchlogreg.problem.objective import Objective
from torchlogreg.problem.products import full_precision
from torchlogreg.problem.threads import threads_for

CALLS = 4e7
"""Multiplications in the time of the calls of an iteration: smaller problems are put together."""

EARLIEST = (0, 0, 0, 0, 160, 640)
"""Iterations before which preconditioners of some quality are not built: where a penalty begins the
coefficients are settled."""

LOGIT = 300.0
"""Multiplications in the time that an iteration spends on a logit of a row."""

MEGABYTE = 2**20
"""Bytes of a unit of ``working_memory``."""

VECTORS_PER_ROW, VECTORS = 10, 32
"""Tensors of the size of the linear predictors, and of that of the coefficients, that a problem
needs at most."""


@dataclass(frozen=True, eq=False)
class Grid:
    """The models of a grid of Q ratios, M strengths and B problems."""

    coef: Tensor
    """The user's coefficients (Q, M, B, R, D)."""

    value: np.ndarray
    """Objectives (Q, M, B)."""

    optimality: np.ndarray
    """Gradient norms (Q, M, B)."""

    n_iter: np.ndarray
    """Iterations (Q, M, B)."""

    solver: str
    """Name of the solver of the last ratio."""


def solve_grid(
    estimator: Any,
    data: TrainingData,
    weight: Tensor,
    Cs: np.ndarray,
    l1_ratios: np.ndarray,
    *,
    most_bytes: float,
    advance: Callable[[int], None],
) -> Grid:
    """Minimise the objectives of all cells.

    Parameters
    ----------
    estimator : TorchLogisticRegression
        Has all other parameters.
    data : TrainingData
        The rows.
    weight : Tensor of shape (B, n)
        Row weights of every problem.
    Cs, l1_ratios : ndarray of shape (M,) and (Q,)
        The penalties, in any order.
    most_bytes : float
        Memory for what problems need beyond X. One of them is solved in any case.
    advance : callable
        Told how many more cells are done.
    """
    order = np.argsort(Cs, kind="stable")
    ratios = []
    for l1_ratio in l1_ratios:
        model = clone(estimator).set_params(l1_ratio=float(l1_ratio))
        solver = model._resolve(len(data.classes), *data.shape, is_dense=data.is_dense)
        n_together = max(int(most_bytes / problem_bytes(model, data, solver)), 1)
        parts = [
            _swept(model, data, some, Cs[order], solver, n_together, advance)
            for some in weight.split(n_together)
        ]
        ratios.append([Solution.joined(row) for row in zip(*parts, strict=True)])
    back = np.argsort(order)
    cells = [[row[place] for place in back] for row in ratios]

    def table(name: str) -> np.ndarray:
        return np.array([[getattr(cell, name) for cell in row] for row in cells])

    coef = torch.stack([torch.stack([cell.coef for cell in row]) for row in cells])
    return Grid(coef, table("value"), table("optimality"), table("n_iter"), solver.name)


def _swept(
    estimator: Any,
    data: TrainingData,
    weight: Tensor,
    Cs: np.ndarray,
    solver: Solver,
    n_together: int,
    advance: Callable[[int], None],
) -> list[Solution]:
    """Solutions of some problems for each of the rising Cs."""
    n_problems = len(weight)
    algorithm, limit = make_algorithm(estimator, solver), max_iter_of(estimator, solver)
    n_at_once = max(int(CALLS / (n_problems * work(estimator, data, solver))), 1)
    n_at_once = min(n_at_once, max(n_together // n_problems, 1), len(Cs))
    if isinstance(algorithm, QuasiNewton) and algorithm.preconditioner is not None:
        alike = KeptCurvature(earliest=EARLIEST, logit=LOGIT)
        algorithm, n_at_once = replace(algorithm, preconditioner=alike), 1
    total = work(estimator, data, solver) * n_problems * n_at_once
    device, solutions = data.X.device, []
    threads = threads_for(total, device, data.n_busy_threads)
    with torch.inference_mode(), threads, full_precision(device):
        rows = all_rows(estimator, replace(data, sample_weight=weight), is_centred=True)
        start = null_coef(rows, rows.family.n_outputs(len(data.classes)))
        if estimator.max_iter == 0:  # as a fit by itself
            start = torch.zeros_like(start)
        penalties = [rows.penalty(C, estimator.l1_ratio) for C in Cs]
        objective = Objective(rows.rows, rows.family, penalties[0])
        for solution in Sweep(algorithm, limit, n_at_once)(
            objective, penalties, Cs.tolist(), start
        ):
            solutions.append(solution)
            advance(n_problems)
    return solutions


def problem_bytes(estimator: Any, data: TrainingData, solver: Solver) -> float:
    """Return about how much memory a problem needs beyond X."""
    n_rows, n_features = data.mean_rows, data.shape[1]
    n_outputs = len(data.classes) if len(data.classes) > 2 else 1
    n_columns = n_features + int(estimator.fit_intercept)
    n_coef = n_outputs * n_columns
    entries = VECTORS_PER_ROW * n_outputs * n_rows + VECTORS * n_coef
    if solver.forms_hessian:
        entries += 3 * n_coef**2
    elif "preconditioner" in solver.options:
        preconditioner = solver.options["preconditioner"]
        entries += min(2 * n_outputs * n_columns**2, 2 * preconditioner.max_entries)
    wide = 8 if data.X.dtype == torch.float64 else 4
    return float(wide * entries)


def checked_numbers(name: str, values: Any) -> np.ndarray:
    """Return the numbers of a parameter, at least one.

    Raises
    ------
    ValueError
        If they are no numbers, or not in a list.
    """
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}={values!r} must be numbers.") from error
    if array.ndim != 1 or not len(array) or np.isnan(array).any():
        raise ValueError(f"{name}={values!r} must be a list of numbers, one or more.")
    return array
