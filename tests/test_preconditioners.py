"""Preconditioners: inverses of what they approximate, on the steps that change probabilities."""

from math import inf

import pytest
import torch
from torch.testing import assert_close

from tests.problems import Problem, over_cases
from torchlogreg.curvature import (
    Blocks,
    Diagonal,
    Kronecker,
    choice,
    sampled_inverse_hessian,
)


def diagonal(objective, point, generator, n_rows):
    return Diagonal(objective, point)


over_forms = pytest.mark.parametrize("form", [Blocks, Kronecker])
over_all_forms = pytest.mark.parametrize("form", [Blocks, Kronecker, diagonal])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def as_matrix(inverse, shape):
    """The linear map as matrices (B, P, P)."""
    B, R, D = shape
    units = torch.eye(R * D, dtype=torch.float64).view(-1, 1, R, D).expand(-1, B, R, D)
    return torch.stack([inverse(unit.contiguous()).flatten(1) for unit in units], dim=-1)


def at(problem, coef=None):
    objective = problem.objective()
    return objective, objective.at(problem.coef() if coef is None else coef)


@over_all_forms
@over_cases
def test_symmetric_and_never_uphill(problem, form):
    objective, point = at(problem)
    matrix = as_matrix(form(objective, point, generator(), 1000), point.coef.shape)
    assert_close(matrix, matrix.mT, rtol=0, atol=1e-12 * matrix.abs().max().item())
    values = torch.linalg.eigvalsh(matrix)
    assert (values > -1e-12 * values[:, -1:]).all()


@over_all_forms
@over_cases
def test_steps_sum_to_zero_over_the_classes(problem, form):
    """Adding the same vector to the coefficients of all classes changes no probability."""
    objective, point = at(problem)
    step = form(objective, point, generator(), 1000)(point.grad)
    assert_close(objective.fix_gauge(step), step, rtol=0, atol=1e-12)


@pytest.mark.parametrize("n_problems", [1, 7])
@pytest.mark.parametrize("sparse", [False, True])
def test_two_classes_have_one_block_the_hessian(n_problems, sparse):
    objective, point = at(Problem(2, n_problems, sparse=sparse))
    step = Blocks(objective, point, generator(), 1000)(point.grad)
    newton = torch.linalg.solve(objective.hessian(point), point.grad.mT).mT
    assert_close(step, newton, rtol=1e-9, atol=1e-12)


@over_cases
def test_blocks_minimise_their_model_under_the_constraint(problem):
    """A direct solution of the saddle-point system of block-diagonal model and gauge."""
    objective, point = at(problem)
    B, R, D = point.coef.shape
    if R == 1:
        return
    step = Blocks(objective, point, generator(), 1000)(point.grad)
    hessian = objective.hessian(point).view(B, R, D, R, D)
    blocks = torch.diag_embed(hessian.diagonal(dim1=1, dim2=3).permute(0, 1, 2, 3), dim1=1, dim2=3)
    sums = torch.eye(D, dtype=torch.float64).repeat(1, R).expand(B, D, R * D)
    zero = torch.zeros(B, D, D, dtype=torch.float64)
    system = torch.cat(
        [
            torch.cat([blocks.reshape(B, R * D, R * D), sums.mT], dim=2),
            torch.cat([sums, zero], dim=2),
        ],
        dim=1,
    )
    right = torch.cat([point.grad.flatten(1), zero[:, 0]], dim=1)
    expected = torch.linalg.solve(system, right.unsqueeze(-1)).squeeze(-1)[:, : R * D]
    assert_close(step.flatten(1), expected, rtol=1e-8, atol=1e-10)


def test_kronecker_is_exact_where_all_classes_are_alike():
    """At zero, on the steps that sum to zero, but for the damping of the outputs."""
    problem = Problem(4, 1)
    objective, point = at(problem, torch.zeros_like(problem.coef()))
    inverse = Kronecker(objective, point, generator(), 1000)
    product = as_matrix(inverse, point.coef.shape) @ objective.hessian(point)
    values = torch.linalg.eigvals(product[0]).real.sort().values
    D = point.coef.shape[-1]
    assert_close(values[:D], torch.zeros(D, dtype=torch.float64), rtol=0, atol=1e-10)
    assert values[-1] / values[D] < 1 + 1e-6


@over_forms
def test_a_sample_is_as_good_as_all_rows_up_to_a_factor(form):
    problem = Problem(3, 1, n_rows=20_000, n_features=10)
    objective, point = at(problem)
    whole = as_matrix(form(objective, point, generator(), 10**6), point.coef.shape)
    sample = as_matrix(form(objective, point, generator(), 200), point.coef.shape)
    values = torch.linalg.eigvals(torch.linalg.pinv(whole) @ sample).real.abs()
    values = values[values > 1e-6]
    assert 0.3 < values.min() < values.max() < 3
    assert not torch.equal(whole, sample)


@over_forms
def test_sparse_rows_are_sampled_as_dense_ones_are(form):
    steps = []
    for sparse in (False, True):
        objective, point = at(Problem(3, 1, n_rows=5_000, sparse=sparse))
        steps.append(form(objective, point, generator(), 100)(point.grad))
    assert_close(*steps, rtol=1e-9, atol=1e-12)


def test_saturated_rows_tell_nothing_of_the_outputs():
    """Every probability is 0 or 1: a step in proportion to the gradient is all there is."""
    objective, point = at(Problem(3, 1), 1e6 * Problem(3, 1).coef())
    kronecker = Kronecker(objective, point, generator(), 1000)
    assert torch.equal(kronecker.outputs[0], torch.eye(3, dtype=torch.float64))


def test_columns_that_are_the_same_are_inverted():
    """Without a penalty the matrix is singular: more and more is added to its diagonal."""
    problem = Problem(2, 1, n_rows=200, n_features=4)
    objective = problem.objective()
    (block,) = objective.blocks
    block.X[:, 1:4] = block.X[:, :1] * 1e3
    objective.penalty.strength.zero_()
    point = objective.at(torch.zeros_like(problem.coef()))
    step = Blocks(objective, point, generator(), 1000)(point.grad)
    assert step.isfinite().all()
    assert (step * point.grad).sum() > 0


def test_the_sample_follows_the_seed():
    problem = Problem(3, 1, n_rows=5_000)
    objective, point = at(problem)
    first, again, other = (
        Blocks(objective, point, generator(seed), 100).inverse for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_rare_features_have_their_exact_curvature():
    """A column that is all but zero is missed by the sample; its diagonal is not."""
    problem = Problem(2, 1, n_rows=20_000)
    objective = problem.objective()
    (block,) = objective.blocks
    block.X[:, 0] = 0
    block.X[8, 0] = 100.0
    assert block.weight[0, 8] > 0
    point = objective.at(torch.zeros_like(problem.coef()))
    step = Blocks(objective, point, generator(), 100)(point.grad)
    newton = torch.linalg.solve(objective.hessian(point), point.grad.mT).mT
    assert step[0, 0, 0] / newton[0, 0, 0] == pytest.approx(1, rel=0.2)


def test_rows_with_rare_features_are_in_the_sample():
    """One row in 2,000 has three of them at once: alone, each would explain what all three do."""
    problem = Problem(2, 1, n_rows=20_000)
    objective = problem.objective()
    (block,) = objective.blocks
    block.X[:, :3] = 0
    block.X[1::2000, :3] = 1.0 + 0.1 * torch.eye(10, 3, dtype=torch.float64)
    objective.penalty.strength.fill_(1e-12)
    point = objective.at(torch.zeros_like(problem.coef()))
    step = Blocks(objective, point, generator(), 200)(point.grad)
    newton = torch.linalg.solve(objective.hessian(point), point.grad.mT).mT
    assert_close(step[..., :3], newton[..., :3], rtol=0.1, atol=0)


def test_the_sample_grows_with_the_quality(monkeypatch):
    monkeypatch.setattr(choice, "MIN_ROWS", 10)
    monkeypatch.setattr(choice, "GATHER", 1e6)
    objective, point = at(Problem(3, 1, n_rows=20_000, n_features=9))
    sizes = []

    def blocks(objective, point, generator, n_rows):
        sizes.append(n_rows)

    monkeypatch.setattr(choice, "Blocks", blocks)
    for quality in (2, 3, 4, 20):
        sampled_inverse_hessian(objective, point, generator(), quality=quality)
    assert sizes == [80, 160, 320, 20_000]


def test_columns_of_zeros_and_any_scale_are_inverted():
    problem = Problem(3, 1, n_rows=200, n_features=4)
    objective = problem.objective()
    (block,) = objective.blocks
    block.X[:, 0] = 0
    block.X[:, 1] *= 1e6
    block.X[:, 2] *= 1e-6
    objective.penalty.strength.zero_()
    point = objective.at(torch.zeros_like(problem.coef()))
    step = Blocks(objective, point, generator(), 1000)(point.grad)
    assert step.isfinite().all()
    change = objective.hvp(point, -step) + point.grad
    assert (change.abs() <= 0.6 * point.grad.abs() + 1e-12).all()


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
    chosen = sampled_inverse_hessian(objective, point, generator(), quality=quality)
    assert type(chosen) is expected


def test_too_many_outputs_for_blocks_share_one_matrix(monkeypatch):
    monkeypatch.setattr(choice, "MAX_ENTRIES", 100)
    objective, point = at(Problem(10, 1, n_rows=40, n_features=9))
    chosen = sampled_inverse_hessian(objective, point, generator(), quality=2)
    assert isinstance(chosen, Kronecker)


def test_a_sample_has_as_many_rows_as_an_iteration_pays_for():
    few, many = Problem(2, 1, n_rows=3_000), Problem(2, 1, n_rows=300_000)
    for problem, is_whole in ((few, True), (many, False)):
        objective, point = at(problem)
        n_rows = sampled_inverse_hessian._n_rows(objective, point, 1)
        assert (n_rows == problem.n_rows) == is_whole
        assert n_rows >= 3_000


def costs(problem):
    objective, point = at(problem)
    return [sampled_inverse_hessian.cost(objective, point, quality) for quality in range(4)]


def test_better_is_dearer_and_the_diagonal_is_free():
    diagonal, *others = costs(Problem(3, 1, n_rows=2_000, n_features=500))
    assert diagonal == 0
    assert others == sorted(others)
    assert others[0] > 1


def test_matrices_that_do_not_fit_are_never_due(monkeypatch):
    monkeypatch.setattr(choice, "MAX_ENTRIES", 100)
    monkeypatch.setattr(choice, "MIN_COLUMNS", 0)
    assert costs(Problem(3, 1, n_rows=40, n_features=20)) == [0, inf, inf, inf]


def test_fewer_rows_than_columns_go_without():
    """The minimiser is in the space that the rows span; so are the steps of plain L-BFGS."""
    assert costs(Problem(3, 1, n_rows=40, n_features=300)) == [inf] * 4


@over_cases
def test_the_diagonal_is_that_of_the_hessian(problem):
    objective, point = at(problem)
    hessian = objective.hessian(point).diagonal(dim1=-2, dim2=-1).view_as(point.coef)
    inverse = Diagonal(objective, point).inverse
    assert_close(inverse, 1 / hessian, rtol=1e-12, atol=0)


def test_columns_of_zeros_do_not_move():
    problem = Problem(3, 1)
    objective = problem.objective()
    (block,) = objective.blocks
    block.X[:, 0] = 0
    objective.penalty.strength.zero_()
    point = objective.at(torch.zeros_like(problem.coef()))
    step = Diagonal(objective, point)(torch.ones_like(point.coef))
    assert step.isfinite().all()
    assert (step[..., 0] == 0).all()
