"""The Hessian as what each row adds to a diagonal."""

import pytest
import torch
from torch.testing import assert_close

from tests.problems import Problem
from torchlogreg.curvature import working_rows
from torchlogreg.curvature.chosen import add_floor_
from torchlogreg.curvature.working import DenseWorking
from torchlogreg.curvature.working_rows import RowWorking, row_roots
from torchlogreg.data.training_sets import ArrayRows
from torchlogreg.problem.families import family_of
from torchlogreg.problem.objective import Objective

CASES = [
    Problem(2, 1, n_rows=6, n_features=40),
    Problem(4, 1, n_rows=6, n_features=40),
    Problem(4, 1, n_rows=6, n_features=40, sparse=True),
    Problem(3, 1, n_rows=6, n_features=40, block_size=4, far=10.0),
    Problem(3, 1, n_rows=6, n_features=40, fit_intercept=False),
]
over_problems = pytest.mark.parametrize("problem", CASES, ids=str)


def both_forms(problem, floor=0.0):
    """The same matrix in some coefficients, in this form and as a whole."""
    objective = problem.objective()
    point = objective.at(0.3 * problem.coef())
    index = torch.arange(point.coef.numel())[1::2]
    rows = RowWorking.at(objective, point, index, floor=floor)
    whole = objective.hessian(point)
    add_floor_(whole, objective, [floor])
    whole = whole[0][index][:, index]
    ridge = objective.ridge[0].expand_as(point.coef[0]).flatten()[index]
    whole.diagonal().add_(torch.maximum(ridge, working_rows.DAMPING * whole.diagonal()))
    return rows, DenseWorking(whole.unsqueeze(0))


def vector(size):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, size, dtype=torch.float64, generator=generator)


@over_problems
@pytest.mark.parametrize("floor", [0.0, 0.1])
def test_it_does_what_the_whole_matrix_does(problem, floor):
    rows, dense = both_forms(problem, floor)
    size = dense.matrix.shape[1]
    v, face = vector(size), torch.arange(size).unsqueeze(0) % 3 > 0
    assert_close(rows.diagonal, dense.diagonal)
    assert_close(rows.multiply(v), dense.multiply(v))
    assert_close(rows.reflect(v), dense.reflect(v))
    solution = rows.solve_on(face, v)
    assert not solution[~face].any()
    assert_close(rows.multiply(solution)[face], v[face])


@pytest.mark.parametrize("floor", [0.0, 0.03])
@pytest.mark.parametrize("doubt", [0.3, 1e-5, 1e-9])
def test_rows_that_are_sure_keep_their_curvature(doubt, floor):
    logits = torch.tensor([[0.0, 0.3], [-0.5, 0.0], [0.2, 0.1]], dtype=torch.float64)
    others = doubt * torch.softmax(logits, 0)
    proba = torch.cat([others, 1 - others.sum(0, keepdim=True)])
    weight = torch.tensor([2.0, 0.5], dtype=torch.float64)
    rounded = (weight * proba).float().double()
    roots = row_roots(rounded, weight, floor, competes=True)
    assert_close(roots @ roots.mT, row_hessians(others, weight, floor), rtol=1e-6, atol=0)
    # What shifts all outputs alike has no curvature but the floor.
    along = roots.sum(1).square().sum(1)
    assert_close(along, 4 * floor * weight, rtol=1e-12, atol=1e-30)


def row_hessians(others, weight, floor):
    """Those of rows of the last class, from the probabilities of the others: no differences."""
    hessians = []
    for p, w in zip(others.T, weight, strict=True):
        whole = -torch.outer(p, p)
        whole.diagonal().copy_(p * (1 - p))
        last = -p * (1 - p.sum())
        corner = p.sum() * (1 - p.sum())
        top = torch.cat([whole, last[:, None]], dim=1)
        whole = torch.cat([top, torch.cat([last, corner[None]])[None]])
        hessians.append(w * (whole + floor * torch.eye(4)))
    return torch.stack(hessians)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_weights_of_zero_and_columns_of_zeros_make_no_nan(n_classes):
    problem = Problem(n_classes, 1, n_rows=7, n_features=60, fit_intercept=False)
    X = problem.features()
    X[:, 3] = 0
    rows = ArrayRows(
        X,
        torch.arange(7) % n_classes,
        torch.eye(7, dtype=torch.float64)[:1] + 0.5,
        family_of(n_classes),
        fit_intercept=False,
    )
    penalty = rows.penalty(1.0, 1.0)
    objective = Objective(rows.rows, rows.family, penalty)
    point = objective.at(100 * problem.coef())
    found = RowWorking.at(objective, point, torch.arange(point.coef.numel()))
    assert (found.ridge > 0).all()
    v = vector(point.coef.numel())
    solution = found.solve_on(torch.ones_like(v, dtype=torch.bool), v)
    assert solution.isfinite().all()
    assert found.is_estimate


def test_a_weak_ridge_makes_an_estimate(monkeypatch):
    objective = CASES[0].objective()
    point, index = objective.at(0 * CASES[0].coef()), torch.arange(41)
    exact = RowWorking.at(objective, point, index)
    assert not exact.is_estimate
    monkeypatch.setattr(working_rows, "DAMPING", 100.0)
    damped = RowWorking.at(objective, point, index)
    assert damped.is_estimate
    assert (damped.ridge > exact.ridge).all()


@pytest.mark.parametrize(
    ("problem", "name", "value"),
    [
        (Problem(2, 1, n_rows=40, n_features=40), "FEWER", 2),
        (CASES[1], "MOST_COLUMNS", 23),
        (CASES[1], "MOST_ENTRIES", 100),
    ],
    ids=["rows", "columns", "memory"],
)
def test_another_form_serves_better(monkeypatch, problem, name, value):
    monkeypatch.setattr(working_rows, name, value)
    objective = problem.objective()
    point = objective.at(problem.coef())
    assert RowWorking.at(objective, point, torch.arange(point.coef.numel())) is None
