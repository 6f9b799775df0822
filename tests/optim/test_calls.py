"""What an iteration costs in calls: small fits are calls, not arithmetic."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.preprocessing import scale
from torch.utils._python_dispatch import TorchDispatchMode

from tests.optim.quadratics import ExactDiagonal
from tests.problems import Problem
from torchlogreg import TorchLogisticRegression
from torchlogreg.curvature import Diagonal, Pairs
from torchlogreg.optim import Newton, QuasiNewton, SampledCurvature, TruncatedNewton
from torchlogreg.optim.minimise import Run, minimise
from torchlogreg.problem.objective import Objective


class Calls(TorchDispatchMode):
    """Counts the operations that reach torch."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += 1
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("algorithm", "n_classes", "most"),
    [
        (Newton(), 2, 45),
        (Newton(), 3, 50),
        (QuasiNewton(), 3, 100),
        (QuasiNewton(preconditioner=SampledCurvature(), subsample=None), 3, 100),
    ],
    ids=["newton, two classes", "newton", "lbfgs", "preconditioned"],
)
def test_an_iteration_makes_few_calls(algorithm, n_classes, most):
    """The median over a few: a line search may make a second trial, of a dozen calls."""
    problem = Problem(n_classes, 1, n_rows=200)
    run = Run(problem.objective(), torch.zeros_like(problem.coef()), replace(algorithm, tol=1e-12))
    counts = []
    with torch.inference_mode():
        for _ in range(7):
            with Calls() as mode:
                run.step(algorithm)
            counts.append(mode.count)
    assert sorted(counts)[3] <= most


def test_the_initial_matrix_is_applied_once_per_iteration(monkeypatch):
    problem = Problem(3, 1, n_rows=200)
    algorithm = QuasiNewton(tol=1e-12, preconditioner=ExactOfObjective(), subsample=None)
    run = Run(problem.objective(), torch.zeros_like(problem.coef()), algorithm)
    run.step(algorithm)  # in which it is built
    n_solved = counted(monkeypatch, Diagonal, "solve")
    for n_iter in range(1, 6):
        run.step(algorithm)
        assert len(n_solved) == n_iter


def counted(monkeypatch, owner, name):
    """Count the calls of a method; return the list that grows with each."""
    calls, method = [], getattr(owner, name)

    def wrapper(*args, **kwargs):
        calls.append(1)
        return method(*args, **kwargs)

    monkeypatch.setattr(owner, name, wrapper)
    return calls


def test_close_to_the_minimum_a_hessian_serves_twice(monkeypatch):
    """Nearly separable classes: the gradient is small before f - f* is."""
    hessians = counted(monkeypatch, Objective, "hessian")
    X, y = load_wine(return_X_y=True)
    model = TorchLogisticRegression(solver="newton-cholesky").fit(scale(X), y)
    assert model.optimality_ <= 1e-4
    assert len(hessians) == model.n_iter_[0] - 1


def test_conjugate_gradients_compute_the_diagonal_once(monkeypatch):
    n_built = counted(monkeypatch, Diagonal, "at")
    problem = Problem(3, 1, n_rows=200)
    start = torch.zeros_like(problem.coef())
    solution = minimise(problem.objective(), start, TruncatedNewton(tol=1e-8), 50)
    assert solution.n_iter[0] > 3
    assert len(n_built) == 1


@pytest.mark.parametrize(
    ("options", "most"),
    [
        ({"solver": "newton-cholesky"}, 6),
        ({"solver": "newton-cg"}, 7),
        ({"l1_ratio": 1.0, "C": 1e4, "tol": 1e-6}, 80),
        ({"l1_ratio": 1.0, "C": 1e6, "tol": 1e-6}, 110),
    ],
    ids=["newton", "newton-cg", "lasso", "weak lasso"],
)
def test_steps_on_nearly_separable_data_are_neither_short_nor_long(options, most):
    """With the first trial 8, 8, 53 and 148 iterations, with a lasso's third of the slope 500."""
    X, y = load_breast_cancer(return_X_y=True)
    model = TorchLogisticRegression(max_iter=1000, **options).fit(scale(X), y)
    assert model.n_iter_[0] <= most


@pytest.mark.parametrize("algorithm", [Newton(), QuasiNewton()], ids=["newton", "lbfgs"])
def test_a_result_is_evaluated_again_only_after_large_predictors(monkeypatch, algorithm):
    """It is as exact without: the gradient is that of an evaluation at what is returned."""
    problem = Problem(3, 2, n_rows=200)
    objective = problem.objective()
    start = minimise(objective, torch.zeros_like(problem.coef()), algorithm, 100).coef
    evaluated = counted(monkeypatch, Objective, "recheck")
    for factor, is_evaluated in ((1.1, False), (1e6, True)):
        evaluated.clear()
        solution = minimise(objective, factor * start, algorithm, 500)
        assert (len(evaluated) > 0) == is_evaluated
        exact = objective.optimality(objective.recheck(solution.coef))
        torch.testing.assert_close(torch.from_numpy(solution.optimality), exact, rtol=0, atol=1e-9)


def test_large_terms_that_cancel_leave_no_rounding_unnoticed():
    """Two equal columns with coefficients of 1e11 and -1e11: the linear predictors are small."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3))
    y = X @ [1, -1, 0.5] + rng.logistic(size=300) > 0
    X = np.column_stack([X, X[:, 2]])
    model = TorchLogisticRegression(
        solver="newton-cholesky", tol=1e-8, warm_start=True, fit_intercept=False
    ).fit(X, y)
    model.coef_ += np.array([[0, 0, 1e11, -1e11]])
    model.fit(X, y)
    proba = 1 / (1 + np.exp(-(X @ model.coef_[0])))
    gradient = X.T @ (proba - y) / 300 + model.coef_[0] / 300
    assert abs(gradient).max() == pytest.approx(model.optimality_, abs=1e-10)


class ExactOfObjective(ExactDiagonal):
    """The diagonal of a logistic objective, and nothing better."""

    def __call__(self, objective, point, generator, *, quality):
        return Diagonal.at(objective, point)


def test_pairs_are_written_where_the_oldest_were():
    generator = torch.Generator().manual_seed(0)
    pairs = Pairs.none(torch.zeros(1, 2, 3, dtype=torch.float64))
    for n in range(9):
        step = torch.randn(1, 2, 3, dtype=torch.float64, generator=generator)
        added = pairs.add(step, 2 * step, 2 * step, 4)
        if n > 0:
            assert added.slots.data_ptr() == pairs.slots.data_ptr()
            assert added.changes.data_ptr() == pairs.changes.data_ptr()
        pairs = added
    assert len(pairs) == 4
