"""Rows and columns of the Hessian."""

import pytest
import torch
from torch.testing import assert_close

from tests.problems import Problem
from torchlogreg.curvature.chosen import chosen_hessian

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
def test_chosen_rows_and_columns_are_those_of_the_hessian(problem, chunk_entries):
    objective = problem.objective(chunk_entries=chunk_entries)
    point = objective.at(problem.coef())
    whole = objective.hessian(point)[0]
    n_coef = len(whole)
    generator = torch.Generator().manual_seed(0)
    for size in (1, n_coef // 2, n_coef):
        index = torch.randperm(n_coef, generator=generator)[:size].sort().values
        found = chosen_hessian(objective, point, index)
        assert_close(found, whole[index][:, index], rtol=1e-9, atol=1e-10)
