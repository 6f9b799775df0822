"""Approximate Hessians: what they multiply and solve, and how close they are to the Hessian."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from tests.problems import Problem, full_hessian, over_cases
from torchlogreg.curvature import Blocks, Dense, Diagonal, Kronecker
from torchlogreg.problem.penalties import Penalty


def sampled(form):
    """A form with the penalty, built at a point."""

    def build(objective, point, generator, n_rows):
        return form.sampled(objective, point, generator, n_rows).shifted(objective.ridge)

    return build


blocks, kronecker = sampled(Blocks), sampled(Kronecker)


def diagonal(objective, point, generator, n_rows):
    return Diagonal.at(objective, point).shifted(objective.ridge)


def dense(objective, point, generator, n_rows):
    return Dense(objective.hessian(point)).shifted(objective.ridge)


over_forms = pytest.mark.parametrize("form", [blocks, kronecker], ids=["blocks", "kronecker"])
over_all_forms = pytest.mark.parametrize(
    "form",
    [blocks, kronecker, diagonal, dense],
    ids=["blocks", "kronecker", "diagonal", "dense"],
)


over_gauged_forms = pytest.mark.parametrize(
    "form", [blocks, kronecker, diagonal], ids=["blocks", "kronecker", "diagonal"]
)


def without_penalty(objective):
    penalty = objective.penalty
    return replace(objective, penalty=Penalty(torch.zeros_like(penalty.l2)))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def as_matrix(linear_map, shape):
    """A linear map as matrices (B, P, P)."""
    B, R, D = shape
    units = torch.eye(R * D, dtype=torch.float64).view(-1, 1, R, D).expand(-1, B, R, D)
    return torch.stack([linear_map(unit.contiguous()).flatten(1) for unit in units], dim=-1)


def at(problem, coef=None):
    objective = problem.objective()
    return objective, objective.at(problem.coef() if coef is None else coef)


@over_all_forms
@over_cases
def test_symmetric_and_never_uphill(problem, form):
    objective, point = at(problem)
    matrix = as_matrix(form(objective, point, generator(), 1000).solve, point.coef.shape)
    assert_close(matrix, matrix.mT, rtol=0, atol=1e-12 * matrix.abs().max().item())
    values = torch.linalg.eigvalsh(matrix)
    assert (values > -1e-12 * values[:, -1:]).all()


@over_gauged_forms
@over_cases
def test_steps_sum_to_zero_over_the_classes(problem, form):
    """Adding the same vector to the coefficients of all classes changes no probability."""
    objective, point = at(problem)
    step = form(objective, point, generator(), 1000).solve(point.grad)
    assert_close(objective.fix_gauge(step), step, rtol=0, atol=1e-12)


@pytest.mark.parametrize("n_problems", [1, 7])
@pytest.mark.parametrize("sparse", [False, True])
def test_two_classes_have_one_block_the_hessian(n_problems, sparse):
    objective, point = at(Problem(2, n_problems, sparse=sparse))
    step = blocks(objective, point, generator(), 1000).solve(point.grad)
    newton = torch.linalg.solve(full_hessian(objective, point), point.grad.mT).mT
    assert_close(step, newton, rtol=1e-9, atol=1e-12)


@over_cases
def test_blocks_minimise_their_model_under_the_constraint(problem):
    """A direct solution of the saddle-point system of block-diagonal model and gauge."""
    objective, point = at(problem)
    B, R, D = point.coef.shape
    if R == 1:
        return
    step = blocks(objective, point, generator(), 1000).solve(point.grad)
    hessian = full_hessian(objective, point).view(B, R, D, R, D)
    own = torch.diag_embed(hessian.diagonal(dim1=1, dim2=3).permute(0, 1, 2, 3), dim1=1, dim2=3)
    sums = torch.eye(D, dtype=torch.float64).repeat(1, R).expand(B, D, R * D)
    zero = torch.zeros(B, D, D, dtype=torch.float64)
    system = torch.cat(
        [
            torch.cat([own.reshape(B, R * D, R * D), sums.mT], dim=2),
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
    inverse = kronecker(objective, point, generator(), 1000)
    product = as_matrix(inverse.solve, point.coef.shape) @ full_hessian(objective, point)
    values = torch.linalg.eigvals(product[0]).real.sort().values
    D = point.coef.shape[-1]
    assert_close(values[:D], torch.zeros(D, dtype=torch.float64), rtol=0, atol=1e-10)
    assert values[-1] / values[D] < 1 + 1e-6


@over_forms
def test_a_sample_is_as_good_as_all_rows_up_to_a_factor(form):
    problem = Problem(3, 1, n_rows=20_000, n_features=10)
    objective, point = at(problem)
    whole = as_matrix(form(objective, point, generator(), 10**6).solve, point.coef.shape)
    sample = as_matrix(form(objective, point, generator(), 200).solve, point.coef.shape)
    values = torch.linalg.eigvals(torch.linalg.pinv(whole) @ sample).real.abs()
    values = values[values > 1e-6]
    assert 0.3 < values.min() < values.max() < 3
    assert not torch.equal(whole, sample)


@over_forms
def test_sparse_rows_are_sampled_as_dense_ones_are(form):
    steps = []
    for sparse in (False, True):
        objective, point = at(Problem(3, 1, n_rows=5_000, sparse=sparse))
        steps.append(form(objective, point, generator(), 100).solve(point.grad))
    assert_close(*steps, rtol=1e-9, atol=1e-12)


def test_saturated_rows_tell_nothing_of_the_outputs():
    """Every probability is 0 or 1: a step in proportion to the gradient is all there is."""
    objective, point = at(Problem(3, 1), 1e6 * Problem(3, 1).coef())
    outputs = replace(kronecker(objective, point, generator(), 1000), outputs=torch.zeros(1, 3, 3))
    assert torch.equal(outputs.inverse_outputs[0], torch.eye(3))


def test_columns_that_are_the_same_are_inverted():
    """Without a penalty the matrix is singular: more and more is added to its diagonal."""
    problem = Problem(2, 1, n_rows=200, n_features=4)
    objective = without_penalty(problem.objective())
    (block,) = objective.rows
    block.X[:, 1:4] = block.X[:, :1] * 1e3
    objective = without_penalty(objective)
    point = objective.at(torch.zeros_like(problem.coef()))
    step = blocks(objective, point, generator(), 1000).solve(point.grad)
    assert step.isfinite().all()
    assert (step * point.grad).sum() > 0


def test_the_sample_follows_the_seed():
    problem = Problem(3, 1, n_rows=5_000)
    objective, point = at(problem)
    first, again, other = (
        blocks(objective, point, generator(seed), 100).inverse.matrices for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_rare_features_have_their_exact_curvature():
    """A column that is all but zero is missed by the sample; its diagonal is not."""
    problem = Problem(2, 1, n_rows=20_000)
    objective = problem.objective()
    (block,) = objective.rows
    block.X[:, 0] = 0
    block.X[8, 0] = 100.0
    assert block.weight[0, 8] > 0
    point = objective.at(torch.zeros_like(problem.coef()))
    step = blocks(objective, point, generator(), 100).solve(point.grad)
    newton = torch.linalg.solve(full_hessian(objective, point), point.grad.mT).mT
    assert step[0, 0, 0] / newton[0, 0, 0] == pytest.approx(1, rel=0.2)


def test_rows_with_rare_features_are_in_the_sample():
    """One row in 2,000 has three of them at once: alone, each would explain what all three do."""
    problem = Problem(2, 1, n_rows=20_000)
    objective = problem.objective()
    (block,) = objective.rows
    block.X[:, :3] = 0
    block.X[1::2000, :3] = 1.0 + 0.1 * torch.eye(10, 3, dtype=torch.float64)
    penalty = Penalty(torch.full_like(objective.penalty.l2, 1e-12))
    objective = replace(objective, penalty=penalty)
    point = objective.at(torch.zeros_like(problem.coef()))
    step = blocks(objective, point, generator(), 200).solve(point.grad)
    newton = torch.linalg.solve(full_hessian(objective, point), point.grad.mT).mT
    assert_close(step[..., :3], newton[..., :3], rtol=0.1, atol=0)


def test_columns_of_zeros_and_any_scale_are_inverted():
    problem = Problem(3, 1, n_rows=200, n_features=4)
    objective = problem.objective()
    (block,) = objective.rows
    block.X[:, 0] = 0
    block.X[:, 1] *= 1e6
    block.X[:, 2] *= 1e-6
    objective = without_penalty(objective)
    point = objective.at(torch.zeros_like(problem.coef()))
    step = blocks(objective, point, generator(), 1000).solve(point.grad)
    assert step.isfinite().all()
    hessian = full_hessian(objective, point)
    change = point.grad - (hessian @ step.flatten(1).unsqueeze(-1)).view_as(step)
    assert (change.abs() <= 0.6 * point.grad.abs() + 1e-12).all()


@over_cases
def test_the_diagonal_is_that_of_the_hessian(problem):
    objective, point = at(problem)
    hessian = full_hessian(objective, point).diagonal(dim1=-2, dim2=-1).view_as(point.coef)
    inverse = diagonal(objective, point, None, None).inverse
    assert_close(inverse, 1 / hessian, rtol=1e-12, atol=0)


def test_columns_of_zeros_do_not_move():
    problem = Problem(3, 1)
    objective = problem.objective()
    (block,) = objective.rows
    block.X[:, 0] = 0
    objective = without_penalty(objective)
    point = objective.at(torch.zeros_like(problem.coef()))
    step = Diagonal.at(objective, point).solve(torch.ones_like(point.coef))
    assert step.isfinite().all()
    assert (step[..., 0] == 0).all()


@over_all_forms
@over_cases
def test_a_step_is_undone_by_the_matrix(problem, form):
    """But for what all outputs have in common, and the damping of rare classes."""
    if form is kronecker and problem.n_classes > 2:
        return
    objective, point = at(problem)
    curvature = form(objective, point, generator(), 1000)
    rest = curvature.multiply(curvature.solve(point.grad)) - point.grad
    assert_close(objective.fix_gauge(rest), torch.zeros_like(rest), rtol=0, atol=1e-9)


@over_all_forms
@over_cases
def test_a_shift_is_added_to_every_output(problem, form):
    objective, point = at(problem)
    curvature = form(objective, point, generator(), 1000)
    shift = torch.rand(problem.n_problems, 1, point.coef.shape[-1], dtype=torch.float64)
    v = problem.coef(seed=2)
    expected = curvature.multiply(v) + shift * v
    assert_close(curvature.shifted(shift).multiply(v), expected)


@over_all_forms
def test_some_of_the_problems_have_their_own_matrices(form):
    objective, point = at(Problem(3, 7))
    curvature = form(objective, point, generator(), 1000)
    some = curvature.take([4, 1])
    for method in ("multiply", "solve"):
        whole = getattr(curvature, method)(point.grad)
        assert_close(getattr(some, method)(point.grad[[4, 1]]), whole[[4, 1]])


def test_one_matrix_serves_problems_that_share_it():
    objective, point = at(Problem(3, 7))
    one = Blocks.sampled(*at(Problem(3, 1)), generator(), 1000)
    shared = one.shifted(objective.ridge)
    v = point.grad
    for b in range(7):
        alone = one.shifted(objective.ridge[b : b + 1])
        assert_close(shared.solve(v)[b], alone.solve(v[b : b + 1])[0])
        assert_close(shared.take([b]).multiply(v[b : b + 1]), alone.multiply(v[b : b + 1]))


@over_cases
def test_inverted_blocks_solve_as_the_blocks_do(problem):
    objective, point = at(problem)
    known = blocks(objective, point, generator(), 1000)
    step, product = known.solve(point.grad), known.multiply(point.grad)
    shifted = known.shifted(2 * objective.ridge).solve(point.grad)
    inverted = blocks(objective, point, generator(), 1000).into_inverse()
    assert_close(inverted.solve(point.grad), step)
    assert_close(inverted.multiply(point.grad), product, rtol=1e-6, atol=1e-9)
    assert_close(
        inverted.shifted(2 * objective.ridge).solve(point.grad), shifted, rtol=1e-6, atol=1e-9
    )


def test_blocks_are_inverted_in_their_own_memory():
    objective, point = at(Problem(3, 1))
    known = blocks(objective, point, generator(), 1000)
    assert known.into_inverse().matrices.data_ptr() == known.matrices.data_ptr()


def test_blocks_that_problems_share_are_inverted_for_each_ridge():
    one = Blocks.sampled(*at(Problem(3, 1)), generator(), 1000)
    ridges = one.matrices.new_tensor([0.1, 1.0])[:, None, None].expand(
        -1, 1, one.matrices.shape[-1]
    )
    inverse = one.shifted(ridges).into_inverse().matrices
    for b, ridge in enumerate(ridges):
        assert_close(inverse[b : b + 1], one.shifted(ridge[None]).inverse.matrices)
