"""Sampled Hessians in some coefficients, and moves on top of them."""

import pytest
import torch
from torch.testing import assert_close

from tests.problems import Problem
from torchlogreg.curvature.chosen import bend_gauge_
from torchlogreg.curvature.working_blocks import Moves, WorkingBlocks

CASES = [Problem(2, 1), Problem(3, 1), Problem(3, 1, sparse=True), Problem(4, 1, block_size=7)]
over_problems = pytest.mark.parametrize("problem", CASES, ids=str)


def generator():
    return torch.Generator().manual_seed(0)


def at(problem):
    objective = problem.objective()
    return objective, objective.at(0.3 * problem.coef())


def of_outputs(point):
    _, R, D = point.coef.shape
    return [torch.arange(r * D, (r + 1) * D) for r in range(R)]


def whole(objective, point):
    """Hessian of the loss in all coefficients, bent along the gauge as blocks are."""
    matrix = objective.hessian(point)[0]
    _, R, D = point.coef.shape
    if objective.family.outputs_compete:
        bend_gauge_(matrix, torch.arange(R * D) % D, R)
    return matrix


@over_problems
def test_from_all_rows_one_block_is_the_hessian(problem):
    objective, point = at(problem)
    index = torch.arange(point.coef.numel())[::2]
    blocks = WorkingBlocks.sampled(objective, point, [index], generator(), 10**6)
    expected = objective.hessian(point)[0][index][:, index]
    if objective.family.outputs_compete:
        bend_gauge_(expected, index % point.coef.shape[2], point.coef.shape[1])
    assert_close(blocks.matrices[0], expected, rtol=1e-6, atol=1e-9)


@over_problems
def test_from_all_rows_blocks_of_outputs_are_those_of_the_hessian(problem):
    objective, point = at(problem)
    places = [index[1:] for index in of_outputs(point)]
    blocks = WorkingBlocks.sampled(objective, point, places, generator(), 10**6)
    hessian = objective.hessian(point)[0]
    for index, matrix in zip(places, blocks.matrices, strict=True):
        assert_close(matrix, hessian[index][:, index], rtol=1e-6, atol=1e-9)
    assert_close(blocks.diagonal, hessian.diagonal(), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("is_coupled", [True, False])
def test_a_sample_estimates_the_same(is_coupled):
    objective, point = at(Problem(3, 1, n_rows=5_000))
    places = [torch.arange(point.coef.numel())] if is_coupled else of_outputs(point)
    exact, sampled = (
        WorkingBlocks.sampled(objective, point, places, generator(), n_rows)
        for n_rows in (10**6, 1_000)
    )
    for one, other in zip(exact.matrices, sampled.matrices, strict=True):
        assert_close(other.diagonal(), one.diagonal())
        assert not torch.equal(one, other)
        assert torch.linalg.matrix_norm(one - other) < 0.2 * torch.linalg.matrix_norm(one)


@over_problems
def test_blocks_in_other_coefficients_know_the_diagonal_of_those(problem):
    objective, point = at(problem)
    known, wanted = torch.tensor([0, 2, 3]), torch.tensor([1, 2, 3])
    blocks = WorkingBlocks.sampled(objective, point, [known], generator(), 10**6)
    (matrix,) = blocks.within([wanted])
    assert blocks.n_missing(wanted) == 1
    assert_close(matrix[1:, 1:], blocks.matrices[0][1:, 1:])
    assert (matrix[0, 1:] == 0).all()
    assert matrix[0, 0] == blocks.diagonal[1]
    full = torch.diag(blocks.diagonal)
    full[known.unsqueeze(1), known] = blocks.matrices[0]
    v = torch.randn(2, len(full), dtype=torch.float64, generator=generator())
    assert_close(blocks.multiply(v), v @ full)


@over_problems
@pytest.mark.parametrize("is_coupled", [True, False])
def test_moves_are_what_the_hessian_makes_of_the_steps(problem, is_coupled):
    objective, point = at(problem)
    places = [torch.arange(point.coef.numel())] if is_coupled else of_outputs(point)
    blocks = WorkingBlocks.sampled(objective, point, places, generator(), 10**6)
    hessian, moves = whole(objective, point), Moves.none(point.coef)
    for seed in range(5):
        step = problem.coef(seed)
        moves = moves.add(step, (hessian @ step.flatten()).view_as(step), most=3)
    ridge = objective.ridge[0].expand(point.coef.shape[1:]).flatten()
    model = moves.on(blocks, ridge, places)
    assert model.low_rank.shape[1] == 6
    assert_close(model.multiply(step.flatten(1)), (hessian @ step.flatten()).unsqueeze(0))


def test_a_move_that_shows_no_curvature_is_left_out():
    objective, point = at(Problem(3, 1))
    places = of_outputs(point)
    blocks = WorkingBlocks.sampled(objective, point, places, generator(), 10**6)
    moves = Moves.none(point.coef).add(point.coef, torch.zeros_like(point.coef), most=3)
    ridge = objective.ridge[0].expand(point.coef.shape[1:]).flatten()
    assert moves.on(blocks, ridge, places).low_rank.shape[1] == 0
