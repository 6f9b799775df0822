"""All models of a grid: penalties times problems that share the rows of X."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from torch import Tensor

from torchlogreg.data.training_data import TrainingData
from torchlogreg.estimators.fit_tasks import FitTask
from torchlogreg.estimators.solvers import Solver
from torchlogreg.estimators.training_net import make_algorithm
from torchlogreg.estimators.training_rows import all_rows, max_iter_of, null_coef, work
from torchlogreg.optim import KeptCurvature, QuasiNewton, Solution, Sweep
from torchlogreg.optim.algorithm import Algorithm
from torchlogreg.problem.objective import Objective
from torchlogreg.problem.products import full_precision
from torchlogreg.problem.threads import threads_for

CALLS = 5e6
"""Multiplications up to which problems are put together, for their iterations to share calls. More
of them would begin too far from their minimisers."""

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


@dataclass(frozen=True, eq=False)
class PlannedSweep:
    """Problems whose penalties are gone through together, all with the same ratio."""

    model: Any
    """A :class:`TorchLogisticRegression` with their parameters."""

    solver: Solver
    """What its ``solver`` stands for."""

    algorithm: Algorithm[Any]
    """Finds the minimisers."""

    weight: Tensor
    """Row weights (B, n)."""

    n_at_once: int
    """Penalties that are a batch."""


@dataclass(frozen=True, eq=False)
class GridPlan:
    """What is solved together, of all cells of a grid."""

    data: TrainingData
    """The rows."""

    Cs: np.ndarray
    """Strengths (M,), in any order."""

    sweeps: list[list[PlannedSweep]]
    """For each of the ratios."""

    @classmethod
    def of(
        cls,
        estimator: Any,
        data: TrainingData,
        weight: Tensor,
        Cs: np.ndarray,
        l1_ratios: np.ndarray,
        most_bytes: float,
    ) -> GridPlan:
        """Divide a grid into batches.

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
        """
        sweeps = []
        for l1_ratio in l1_ratios:
            model = clone(estimator).set_params(l1_ratio=float(l1_ratio))
            solver = model._resolve(len(data.classes), *data.shape, is_dense=data.is_dense)
            n_together = max(int(most_bytes / problem_bytes(model, data, solver)), 1)
            sweeps.append(
                [
                    _planned(model, data, some, len(Cs), solver, n_together)
                    for some in weight.split(n_together)
                ]
            )
        return cls(data, Cs, sweeps)

    @property
    def n_batches(self) -> int:
        """Number of minimisations."""
        every = [sweep for row in self.sweeps for sweep in row]
        return sum(math.ceil(len(self.Cs) / sweep.n_at_once) for sweep in every)

    def solve(
        self, advance: Callable[[int], object] = lambda n_cells: None, task: FitTask | None = None
    ) -> Grid:
        """Minimise the objectives of all cells.

        Parameters
        ----------
        advance : callable, optional
            Told how many more cells are done.
        task : FitTask, optional
            Has the batches as tasks, and these their iterations.
        """
        order = np.argsort(self.Cs, kind="stable")
        ratios = []
        for sweeps in self.sweeps:
            parts = [self._swept(sweep, self.Cs[order], advance, task) for sweep in sweeps]
            ratios.append([Solution.joined(row) for row in zip(*parts, strict=True)])
        back = np.argsort(order)
        cells = [[row[place] for place in back] for row in ratios]

        def table(name: str) -> np.ndarray:
            return np.array([[getattr(cell, name) for cell in row] for row in cells])

        coef = torch.stack([torch.stack([cell.coef for cell in row]) for row in cells])
        last = self.sweeps[-1][0].solver.name
        return Grid(coef, table("value"), table("optimality"), table("n_iter"), last)

    def _swept(
        self,
        sweep: PlannedSweep,
        Cs: np.ndarray,
        advance: Callable[[int], object],
        task: FitTask | None,
    ) -> list[Solution]:
        """Solutions of some problems for each of the rising Cs."""
        data, model, n_problems = self.data, sweep.model, len(sweep.weight)
        device, limit = data.X.device, max_iter_of(model, sweep.solver)
        total = work(model, data, sweep.solver) * n_problems * sweep.n_at_once

        def subtask() -> FitTask | None:
            return None if task is None else task.batch(limit + 1)

        threads, solutions = threads_for(total, device, data.n_busy_threads), []
        with torch.inference_mode(), threads, full_precision(device):
            rows = all_rows(model, replace(data, sample_weight=sweep.weight), is_centred=True)
            start = null_coef(rows, rows.family.n_outputs(len(data.classes)))
            if model.max_iter == 0:  # as a fit by itself
                start = torch.zeros_like(start)
            penalties = [rows.penalty(C, model.l1_ratio) for C in Cs]
            objective = Objective(rows.rows, rows.family, penalties[0])
            for solution in Sweep(sweep.algorithm, limit, sweep.n_at_once)(
                objective, penalties, Cs.tolist(), start, subtask
            ):
                solutions.append(solution)
                advance(n_problems)
        return solutions


def _planned(
    model: Any, data: TrainingData, weight: Tensor, n_Cs: int, solver: Solver, n_together: int
) -> PlannedSweep:
    """Decide how many penalties of some problems are a batch."""
    n_problems, algorithm = len(weight), make_algorithm(model, solver)
    n_at_once = max(int(CALLS / (n_problems * work(model, data, solver))), 1)
    n_at_once = min(n_at_once, max(n_together // n_problems, 1), n_Cs)
    if isinstance(algorithm, QuasiNewton) and algorithm.preconditioner is not None:
        alike = KeptCurvature(earliest=EARLIEST, logit=LOGIT)
        algorithm, n_at_once = replace(algorithm, preconditioner=alike), 1
    return PlannedSweep(model, solver, algorithm, weight, n_at_once)


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
