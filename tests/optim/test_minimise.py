"""The one loop: quadratics beyond logistic regression, and many problems at once."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from tests.optim.quadratics import QUADRATICS, ExactDiagonal, quadratic
from tests.problems import seven_problems
from torchlogreg.optim import (
    Newton,
    ProximalNewton,
    QuasiNewton,
    SampledCurvature,
    Stages,
    TruncatedNewton,
    minimise,
)

SOLVERS = {
    "newton": Newton(stages=None),
    "newton-cg": TruncatedNewton(stages=None),
    "lbfgs": QuasiNewton(stages=None, subsample=None),
    "preconditioned": QuasiNewton(stages=None, subsample=None, preconditioner=ExactDiagonal()),
}

over_solvers = pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS.keys())
over_quadratics = pytest.mark.parametrize("name", QUADRATICS)


@over_solvers
@over_quadratics
@pytest.mark.parametrize("is_queued", [False, True])
def test_quadratics_are_minimised(solver, name, is_queued):
    objective = QUADRATICS[name]
    objective = objective.unattended() if is_queued else objective
    algorithm = replace(solver, tol=1e-6)
    solution = minimise(objective, torch.zeros_like(objective.linear), algorithm, 5000)
    assert list(solution.status) == ["converged"] * len(objective.linear)
    assert solution.optimality.max() <= 1e-6
    found = objective.at(solution.coef)
    assert_close(
        torch.as_tensor(found.value, dtype=torch.float64), objective.minimum(), rtol=1e-10, atol=0
    )
    assert_close(
        torch.from_numpy(solution.optimality), found.grad.abs().amax((-2, -1)), rtol=1e-6, atol=0
    )


@over_quadratics
def test_newton_takes_one_step_on_a_quadratic(name):
    """And one more, which the rule asks for where rounding has left more than it allows."""
    objective = QUADRATICS[name]
    solution = minimise(objective, torch.zeros_like(objective.linear), SOLVERS["newton"], 500)
    assert solution.n_iter.max() <= 2


def test_the_scale_of_the_coordinates_is_no_matter_to_newton_and_the_diagonal():
    objective = QUADRATICS["badly scaled"]
    start = torch.zeros_like(objective.linear)
    n_iter = {
        name: minimise(objective, start, replace(solver, tol=1e-6), 2000).n_iter[0]
        for name, solver in SOLVERS.items()
    }
    assert n_iter["newton"] <= 2
    assert n_iter["preconditioned"] <= 30
    assert n_iter["lbfgs"] > 10 * n_iter["preconditioned"]


@over_solvers
def test_a_flat_direction_is_not_walked_along(solver):
    objective = QUADRATICS["one flat direction"]
    solution = minimise(objective, torch.zeros_like(objective.linear), solver, 500)
    assert solution.coef.norm() < 2 * objective.solution.norm()


@over_solvers
def test_iterations_that_run_out_are_told(solver):
    hard = QUADRATICS["long"]
    solution = minimise(hard, torch.zeros_like(hard.linear), replace(solver, tol=1e-12), 1)
    assert list(solution.status) == ["unfinished"]
    assert solution.n_iter.tolist() == [1]
    assert solution.optimality[0] == hard.at(solution.coef).grad.abs().max()


@over_solvers
def test_what_cannot_be_reached_is_told(solver):
    objective = quadratic([np.logspace(0, 6, 12)])
    start = torch.zeros_like(objective.linear)
    solution = minimise(objective, start, replace(solver, tol=0.0), 2000)
    assert list(solution.status) == ["stalled"]
    assert solution.n_iter[0] < 2000


class Evaluations:
    """Counts for how many problems an objective is evaluated."""

    def __init__(self, objective):
        self.objective, self.n_problems = objective, []

    def __getattr__(self, name):
        return getattr(self.objective, name)

    def at(self, coef):
        return self.objective.at(coef)

    def along(self, point, direction):
        self.n_problems.append(len(direction))
        return self.objective.along(point, direction)

    def take(self, problems):
        part = Evaluations(self.objective.take(problems))
        part.n_problems = self.n_problems
        return part


LOGISTIC_SOLVERS = {
    "newton": Newton(),
    "newton-cg": TruncatedNewton(),
    "prox-newton": ProximalNewton(),
    "prox-newton in stages": ProximalNewton(stages=Stages(large_work=0)),
    "lbfgs": QuasiNewton(),
    "preconditioned": QuasiNewton(preconditioner=SampledCurvature()),
    "newton in stages": Newton(stages=Stages(large_work=0)),
    "preconditioned in stages": QuasiNewton(
        preconditioner=SampledCurvature(), stages=Stages(large_work=0)
    ),
}


@pytest.mark.parametrize("name", LOGISTIC_SOLVERS)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_each_of_seven_problems_stops_at_its_own_iteration(name, n_classes):
    objective, start = seven_problems(n_classes)
    algorithm = replace(LOGISTIC_SOLVERS[name], tol=2e-10)
    together = minimise(objective, start, algorithm, 1000)
    assert list(together.status) == ["converged"] * 7
    assert len(set(together.n_iter.tolist())) >= 3
    for b in range(7):
        alone = minimise(objective.take([b]), start[[b]], algorithm, 1000)
        assert_close(together.coef[b], alone.coef[0], rtol=0, atol=1e-8)
        if name in ("newton", "newton-cg"):
            assert together.n_iter[b] == alone.n_iter[0]
        elif name == "preconditioned":  # rounding changes the path
            assert together.n_iter[b] == pytest.approx(alone.n_iter[0], rel=0.25, abs=1)


@pytest.mark.parametrize("name", ["newton", "newton-cg", "lbfgs", "preconditioned"])
def test_problems_that_are_done_leave_the_batch(name):
    objective, start = seven_problems(3)
    counted = Evaluations(objective)
    solution = minimise(counted, start, replace(LOGISTIC_SOLVERS[name], tol=1e-6), 1000)
    sizes = counted.n_problems
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == 7
    assert sum(sizes) == solution.n_iter.sum()


def test_problems_wait_for_each_other_on_a_stand_in_only():
    """They leave it together, and iterations are counted for those that move."""
    objective, start = seven_problems(3)
    algorithm = replace(LOGISTIC_SOLVERS["newton in stages"], tol=1e-6)
    solution = minimise(objective, start, algorithm, 1000)
    assert len(set(solution.n_iter.tolist())) >= 3


@dataclass(frozen=True)
class Impatient(Newton):
    """Gives up at once."""

    @property
    def stopping(self):
        return replace(super().stopping, patience=1)


def test_the_rule_is_the_algorithms():
    objective, start = seven_problems(3)
    solution = minimise(objective, start, Impatient(tol=0.0), 1000)
    patient = minimise(objective, start, Newton(tol=0.0), 1000)
    assert (solution.n_iter < patient.n_iter).all()
