"""Sampled Hessians in some coefficients, and moves on top of them."""

import pytest
import torch
from torch.testing import assert_close

from tests.problems import Problem
from torchlogreg.curvature import working_blocks
from torchlogreg.curvature.chosen import add_floor_
from torchlogreg.curvature.working_blocks import Moves, WorkingBlocks

CASES = [Problem(2, 1), Problem(3, 1), Problem(3, 1, sparse=True), Problem(4, 1, block_size=7)]
over_problems = pytest.mark.parametrize("problem", CASES, ids=str)


@pytest.fixture(autouse=True)
def a_block_for_every_output(monkeypatch):
    monkeypatch.setattr(working_blocks, "SMALL_BLOCK", 0)


def generator():
    return torch.Generator().manual_seed(0)


def at(problem):
    objective = problem.objective()
    return objective, objective.at(0.3 * problem.coef())


def of_outputs(point):
    _, R, D = point.coef.shape
    return [torch.arange(r * D, (r + 1) * D) for r in range(R)]


def sampled(objective, point, places, n_rows=10**6, largest=10**6, floor=0.0):
    return WorkingBlocks.sampled(
        objective, point, places, generator(), n_rows, largest=largest, floor=floor
    )


def hessian(objective, point, floor=0.0):
    """Hessian, penalty included, with a floor under the curvature of the rows."""
    matrix = objective.hessian(point)
    add_floor_(matrix, objective, [floor])
    matrix[0].diagonal().add_(objective.ridge[0].expand(point.coef.shape[1:]).flatten())
    return matrix[0]


@over_problems
@pytest.mark.parametrize("floor", [0.0, 0.1])
def test_from_all_rows_blocks_are_those_of_the_hessian(problem, floor):
    objective, point = at(problem)
    places = [index[1:] for index in of_outputs(point)]
    blocks = sampled(objective, point, places, floor=floor)
    whole = hessian(objective, point, floor)
    for index, block in zip(places, blocks.matrices, strict=True):
        assert_close(block.matrix[0], whole[index][:, index], rtol=1e-6, atol=1e-9)
    assert_close(blocks.diagonal, whole.diagonal(), rtol=1e-6, atol=1e-9)


def test_small_blocks_of_neighbours_become_one(monkeypatch):
    objective, point = at(Problem(5, 1))
    places = of_outputs(point)
    single = sampled(objective, point, places)
    monkeypatch.setattr(working_blocks, "SMALL_BLOCK", 2 * len(places[0]))
    joined = sampled(objective, point, places)
    assert [len(index) for index in joined.places] == [8, 8, 4]
    assert_close(torch.cat(joined.places), torch.cat(single.places))
    v = torch.randn(2, point.coef.numel(), dtype=torch.float64, generator=generator())
    assert_close(joined.multiply(v), single.multiply(v))
    assert joined.least_scale == single.least_scale == working_blocks.OVERESTIMATE


def test_a_sample_estimates_the_same():
    objective, point = at(Problem(3, 1, n_rows=5_000))
    both = (sampled(objective, point, of_outputs(point), n_rows) for n_rows in (10**6, 1_000))
    for one, other in zip(*(blocks.matrices for blocks in both), strict=True):
        assert_close(other.diagonal, one.diagonal)
        error = torch.linalg.matrix_norm(one.matrix - other.matrix)
        assert 0 < error < 0.2 * torch.linalg.matrix_norm(one.matrix)


@over_problems
def test_coefficients_outside_the_blocks_are_known_by_their_diagonal(problem):
    objective, point = at(problem)
    places = of_outputs(point)
    known = torch.tensor([0, 2, 3])
    blocks = sampled(objective, point, [known, *(index[:0] for index in places[1:])])
    assert blocks.others(torch.tensor([1, 2, 3])).tolist() == [1]
    assert blocks.n_new(torch.tensor([1, 2, 3])) == 1
    full = torch.diag(blocks.diagonal)
    full[known.unsqueeze(1), known] = blocks.matrices[0].matrix[0]
    v = torch.randn(2, len(full), dtype=torch.float64, generator=generator())
    assert_close(blocks.multiply(v), v @ full)


@over_problems
def test_a_block_that_would_be_too_large_keeps_the_largest_diagonal(problem):
    objective, point = at(problem)
    places = of_outputs(point)
    blocks = sampled(objective, point, places, largest=3)
    whole = hessian(objective, point)
    for index, kept in zip(places, blocks.places, strict=True):
        assert len(kept) == 3
        dropped = index[~torch.isin(index, kept)]
        assert whole.diagonal()[kept].min() >= whole.diagonal()[dropped].max() * (1 - 1e-6)
    index = torch.cat(places)
    assert blocks.n_new(index) == 0
    assert len(blocks.others(index)) == len(index) - 3 * len(places)


@over_problems
def test_moves_are_what_the_hessian_makes_of_the_steps(problem):
    objective, point = at(problem)
    places = of_outputs(point)
    blocks = sampled(objective, point, [index[:-1] for index in places])
    matrix, moves = hessian(objective, point), Moves.none(point.coef)
    for seed in range(5):
        step = problem.coef(seed)
        moves = moves.add(step, (matrix @ step.flatten()).view_as(step), most=3)
    others = blocks.others(torch.cat(places))
    model = moves.on(blocks, others)
    assert model.low_rank.shape[1] == 6
    order = torch.cat([*blocks.places, others])
    assert_close(model.multiply(step.flatten(1)[:, order])[0], (matrix @ step.flatten())[order])


def test_a_move_that_shows_no_curvature_is_left_out():
    objective, point = at(Problem(3, 1))
    blocks = sampled(objective, point, of_outputs(point))
    moves = Moves.none(point.coef).add(point.coef, torch.zeros_like(point.coef), most=3)
    assert moves.on(blocks, torch.arange(0)).low_rank.shape[1] == 0
