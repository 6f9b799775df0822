"""Rows and columns of the Hessian."""

import pytest
import torch
from torch.testing import assert_close

from tests.problems import Problem
from torchlogreg.curvature.chosen import add_floor_, chosen_hessian

CASES = [
    Problem(2, 1),
    Problem(3, 1),
    Problem(3, 1, fit_intercept=False),
    Problem(3, 1, sparse=True),
    Problem(2, 1, sparse=True, far=100.0),
    Problem(4, 1, block_size=7),
    Problem(3, 1, far=100.0),
]


@pytest.mark.parametrize("problem", CASES, ids=str)
@pytest.mark.parametrize("chunk_entries", [2**20, 40])
@pytest.mark.parametrize("floor", [0.0, 0.1])
def test_chosen_rows_and_columns_are_those_of_the_hessian(problem, chunk_entries, floor):
    objective = problem.objective(chunk_entries=chunk_entries)
    point = objective.at(problem.coef())
    matrices = objective.hessian(point)
    add_floor_(matrices, objective, [floor])
    whole = matrices[0]
    n_coef = len(whole)
    generator = torch.Generator().manual_seed(0)
    for size in (1, n_coef // 2, n_coef):
        index = torch.randperm(n_coef, generator=generator)[:size].sort().values
        found = chosen_hessian(objective, point, index, floor=floor)
        assert_close(found, whole[index][:, index], rtol=1e-9, atol=1e-10)


def test_the_floor_is_that_of_rows_without_any_curvature():
    problem = Problem(3, 1)
    objective = problem.objective()
    matrices = torch.zeros(1, 12, 12, dtype=torch.float64)
    add_floor_(matrices, objective, [0.5])
    X, weight = objective.rows.blocks[0].design(None), objective.rows.weight[0]
    expected = torch.block_diag(*[0.5 * (X * weight) @ X.T] * 3)
    assert_close(matrices[0], expected)
