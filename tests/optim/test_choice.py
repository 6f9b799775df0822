"""Which curvature L-BFGS is built on, from how many rows, and when."""

from math import inf

import pytest
import torch

from tests.problems import Problem
from torchlogreg.curvature import Blocks, Diagonal, Kronecker
from torchlogreg.optim import SampledCurvature


def generator():
    return torch.Generator().manual_seed(0)


def at(problem):
    objective = problem.objective()
    return objective, objective.at(problem.coef())


def test_the_sample_grows_with_the_quality():
    ladder = SampledCurvature(min_rows=10, gather=1e6)
    objective, point = at(Problem(3, 1, n_rows=20_000, n_features=9))
    sizes = [ladder.n_rows(objective, point, quality) for quality in (2, 3, 4, 20)]
    assert sizes == [80, 160, 320, 20_000]


@pytest.mark.parametrize(
    ("shape", "quality", "expected"),
    [
        ({"n_rows": 400, "n_features": 5}, 2, Blocks),
        ({"n_rows": 400, "n_features": 5}, 1, Kronecker),
        ({"n_rows": 400, "n_features": 5}, 0, Diagonal),
        ({"n_rows": 40, "n_features": 60}, 2, Blocks),
    ],
)
def test_the_form_follows_the_quality(shape, quality, expected):
    objective, point = at(Problem(3, 1, **shape))
    chosen = SampledCurvature()(objective, point, generator(), quality=quality)
    assert type(chosen) is expected


def test_too_many_outputs_for_blocks_share_one_matrix():
    ladder = SampledCurvature(max_entries=100)
    objective, point = at(Problem(10, 1, n_rows=40, n_features=9))
    chosen = ladder(objective, point, generator(), quality=2)
    assert isinstance(chosen, Kronecker)


def test_a_sample_has_as_many_rows_as_an_iteration_pays_for():
    few, many = Problem(2, 1, n_rows=3_000), Problem(2, 1, n_rows=300_000)
    for problem, is_whole in ((few, True), (many, False)):
        objective, point = at(problem)
        n_rows = SampledCurvature().n_rows(objective, point, 1)
        assert (n_rows == problem.n_rows) == is_whole
        assert n_rows >= 3_000


def costs(problem, **thresholds):
    ladder = SampledCurvature(**thresholds)
    return [ladder.cost(*at(problem), quality) for quality in range(4)]


def test_better_is_dearer_and_the_diagonal_is_free():
    diagonal, *others = costs(Problem(3, 1, n_rows=2_000, n_features=500))
    assert diagonal == 0
    assert others == sorted(others)
    assert others[0] > 1


def test_matrices_that_do_not_fit_are_never_due():
    problem = Problem(3, 1, n_rows=40, n_features=20)
    assert costs(problem, max_entries=100, min_columns=0) == [0, inf, inf, inf]


def test_fewer_rows_than_columns_go_without():
    """The minimiser is in the space that the rows span; so are the steps of plain L-BFGS."""
    assert costs(Problem(3, 1, n_rows=40, n_features=300)) == [inf] * 4
