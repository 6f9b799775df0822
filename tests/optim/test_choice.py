"""Which curvature L-BFGS is built on, from how many rows, and when."""

from math import inf

import pytest
import torch
from torch.testing import assert_close

from tests.problems import Problem
from torchlogreg.curvature import Dense, Diagonal, Kronecker
from torchlogreg.curvature.blocks import InverseBlocks
from torchlogreg.optim import KeptCurvature, SampledCurvature


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
        ({"n_rows": 400, "n_features": 5}, 2, InverseBlocks),
        ({"n_rows": 400, "n_features": 5}, 1, Kronecker),
        ({"n_rows": 400, "n_features": 5}, 0, Diagonal),
        ({"n_rows": 40, "n_features": 60}, 2, InverseBlocks),
    ],
)
def test_the_form_follows_the_quality(shape, quality, expected):
    objective, point = at(Problem(3, 1, **shape))
    chosen = SampledCurvature()(objective, point, generator(), quality=quality)
    assert type(chosen) is expected


def test_problems_that_are_alike_share_the_last_ones():
    objective, point = at(Problem(3, 4, n_rows=400, n_features=5))
    last, at_last = objective.take([3]), point.take([3])
    for quality in range(3):
        shared = SampledCurvature(is_shared=True)(objective, point, generator(), quality=quality)
        alone = SampledCurvature()(last, at_last, generator(), quality=quality)
        assert_close(shared.solve(point.grad)[3:], alone.solve(at_last.grad))
        singles = [shared.solve(point.grad[b : b + 1]) for b in range(4)]
        assert_close(shared.solve(point.grad), torch.cat(singles))
    whole = SampledCurvature(is_shared=True)(objective, point, generator(), quality=3)
    assert isinstance(whole, Dense)
    assert_close(
        whole.multiply(at_last.grad).flatten(),
        (last.hessian(at_last)[0] @ at_last.grad.flatten() + (last.ridge * at_last.grad).flatten()),
    )
    singles = torch.cat([whole.solve(point.grad[b : b + 1]) for b in range(4)])
    # Along the gauge of the intercept the Hessian is singular; no direction goes there.
    fixed = objective.fix_gauge(whole.solve(point.grad))
    assert_close(fixed, objective.fix_gauge(singles))


def test_what_is_kept_follows_the_curvature_of_the_rows():
    objective, point = at(Problem(3, 2, n_rows=400, n_features=5))
    kept = KeptCurvature()
    first = kept(objective, point, generator(), quality=2)
    before = kept.kept["matrices"].clone()
    assert kept.cost(objective, point, 2) < SampledCurvature().cost(objective, point, 2)
    farther = objective.at(3 * point.coef)
    again = kept(objective, farther, generator(), quality=2)
    last, at_last = objective.take([1]), farther.take([1])
    ratio = last.mean_curvature(last.curvature(at_last)) / kept.kept["mean"][..., 0]
    v = at_last.grad
    expected = torch.einsum("brij,brj->bri", before, v) * ratio + last.ridge * v
    assert_close(again.multiply(v), expected)
    assert_close(kept.kept["matrices"], before)
    assert_close(first.multiply(v), torch.einsum("brij,brj->bri", before, v) + last.ridge * v)


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
