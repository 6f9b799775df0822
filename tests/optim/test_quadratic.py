"""The minimiser of a quadratic model with kinks."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from torchlogreg.curvature.working import SHIFT, SINGLE_COEF, BlockWorking, DenseWorking
from torchlogreg.optim.quadratic import FORCING, KinkedQuadratic, Splitting


def model(n_coef, n_problems=1, *, rank=None, scales=0.0, seed=0, free=1):
    """Random; of a rank, with columns of different scales, and ``free`` entries without kink."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    factor = normal(n_problems, n_coef, rank or 2 * n_coef) / n_coef**0.5
    factor *= (10 ** (scales * normal(n_problems, n_coef, 1))).clamp(1e-4, 1e4)
    matrix = factor @ factor.mT
    start = normal(n_problems, n_coef) * (torch.rand(n_problems, n_coef, generator=generator) < 0.5)
    kink = 0.5 * matrix.diagonal(dim1=-2, dim2=-1).sqrt()
    kink[:, :free] = 0
    target = normal(n_problems, n_coef)
    hessian = DenseWorking(matrix)
    return KinkedQuadratic(hessian, -hessian.multiply(target), start, kink)


def violation(problem, step):
    """Largest distance from the condition of a minimum, written anew."""
    end, gradient = problem.start + step, problem.gradient + problem.hessian.multiply(step)
    at_zero = (gradient.abs() - problem.kink).clamp_min(0)
    return torch.where(end == 0, at_zero, (gradient + problem.kink * end.sign()).abs()).amax(-1)


over_sizes = pytest.mark.parametrize("n_coef", [1, 7, 40, SINGLE_COEF + 50])


@over_sizes
@pytest.mark.parametrize("scales", [0.0, 1.0])
def test_the_step_leaves_a_part_of_the_violation(n_coef, scales):
    problem = model(n_coef, scales=scales)
    step, lowest = problem.minimise()
    before = violation(problem, torch.zeros_like(step))
    assert violation(problem, step) <= FORCING * before * (1 + 1e-6)
    product = problem.hessian.multiply(step)
    assert_close(problem.value(step, product), lowest)
    assert lowest < 0


@over_sizes
def test_many_steps_end_at_the_minimiser_with_zeros(n_coef):
    problem = model(n_coef)
    for _ in range(6):
        step, _ = problem.minimise()
        gradient = problem.gradient + problem.hessian.multiply(step)
        problem = problem.evolved(start=problem.start + step, gradient=gradient)
    assert violation(problem, torch.zeros_like(step)) < 1e-8
    assert n_coef < 40 or (problem.start == 0).any()


def test_a_singular_matrix_is_no_obstacle():
    problem = model(30, rank=10)
    before = violation(problem, torch.zeros_like(problem.start))
    step, lowest = problem.minimise()
    assert step.isfinite().all()
    assert violation(problem, step) <= FORCING * before * (1 + 1e-6)
    assert lowest < 0


def test_problems_are_minimised_as_if_each_were_alone():
    problems = model(20, n_problems=4, scales=0.5)
    step, lowest = problems.minimise()
    for b in range(4):
        alone, value = problems.take([b]).minimise()
        assert lowest[b] <= value + 1e-3 * value.abs()
        goal = FORCING * violation(problems.take([b]), torch.zeros_like(alone))
        assert violation(problems.take([b]), step[b : b + 1]) <= goal * (1 + 1e-6)


def test_a_problem_that_is_solved_does_not_use_up_the_steps_of_the_others():
    both = model(40, n_problems=2, scales=1.0)
    fields = {"gradient": both.gradient.clone(), "start": both.start.clone()}
    fields["gradient"][0], fields["start"][0] = 0.5 * both.kink[0], 0
    step, _ = both.evolved(**fields).minimise()
    assert (step[0] == 0).all()
    goal = FORCING * violation(both, torch.zeros_like(step))[1]
    assert violation(both, step)[1] <= goal * (1 + 1e-6)


def test_a_trial_that_is_not_a_number_is_no_lower_one():
    problem = model(7)
    step, product = torch.zeros_like(problem.start), torch.zeros_like(problem.start)
    lowest = torch.zeros(1, dtype=torch.float64)
    kept = problem._lower(torch.full_like(step, torch.nan), step, product, lowest)
    assert torch.equal(kept[0], step)
    assert kept[2] == 0


def test_a_model_at_its_minimiser_stays():
    problem = model(12)
    problem = problem.evolved(gradient=0.5 * problem.kink, start=torch.zeros_like(problem.start))
    step, lowest = problem.minimise()
    assert torch.equal(step, torch.zeros_like(step))
    assert lowest == 0


@pytest.mark.parametrize("seed", range(5))
def test_a_descent_goes_down_whatever_the_face(seed):
    problem = model(25, scales=1.0, seed=seed)
    step = torch.zeros_like(problem.start)
    value = torch.zeros(1, dtype=torch.float64)
    for _ in range(5):
        product = problem.hessian.multiply(step)
        step = problem._descend(step, problem.gradient + product)
        now = problem.value(step, problem.hessian.multiply(step))
        assert now <= value
        value = now
    assert value < 0


def test_the_exact_length_is_the_lowest_point_of_the_line():
    problem = model(15)
    end, sign = problem.start, problem.start.sign() * (problem.kink > 0)
    direction = -problem.gradient * (problem.start != 0)
    length, _ = problem._exact_length(end, direction, sign, problem.gradient)
    lengths = torch.linspace(0, 1, 1001, dtype=torch.float64)
    values = torch.stack(
        [problem.value(t * direction, problem.hessian.multiply(t * direction)) for t in lengths]
    )
    moved = length * direction
    found = problem.value(moved, problem.hessian.multiply(moved))
    assert found <= values.min() + 1e-12


def test_the_splitting_method_converges():
    problem = model(25)
    step = torch.zeros_like(problem.start)
    splitting, norms = Splitting(problem, step, problem.gradient), [violation(problem, step)]
    for _ in range(12):
        norms.append(violation(problem, splitting.run()))
    assert norms[-1] < 1e-6 * norms[0]


def block_hessian(low_rank=True, scale=1.0):
    """Two blocks and a diagonal less a product of rank two, and the same as one matrix."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    blocks = []
    for size in (5, 8):
        factor = normal(size, 2 * size + 3)
        blocks.append(DenseWorking((factor @ factor.mT).unsqueeze(0)))
    rest = normal(2).exp()
    whole = scale * torch.block_diag(*(block.matrix[0] for block in blocks), torch.diag(rest))
    U = normal(len(whole), 2 if low_rank else 0)
    least = torch.linalg.eigvalsh(whole)[0]
    M = torch.eye(U.shape[1], dtype=torch.float64) * 2 * (U.square().sum() / least + 1)
    dense = DenseWorking((whole - U @ torch.linalg.solve(M, U.T)).unsqueeze(0))
    return BlockWorking(blocks, rest, U, M, scale), dense


@pytest.mark.parametrize("low_rank", [True, False])
@pytest.mark.parametrize("scale", [1.0, 1.5])
def test_blocks_and_a_product_of_low_rank_are_one_matrix(low_rank, scale):
    hessian, dense = block_hessian(low_rank, scale)
    generator = torch.Generator().manual_seed(1)
    right = torch.randn(1, 15, dtype=torch.float64, generator=generator)
    assert_close(hessian.multiply(right), dense.multiply(right))
    for share in (0.0, 0.5, 1.0):
        face = torch.rand(1, 15, generator=generator) < share
        assert_close(hessian.solve_on(face, right), dense.solve_on(face, right))


@pytest.mark.parametrize("low_rank", [True, False])
@pytest.mark.parametrize("scale", [1.0, 1.5])
def test_the_reflected_resolvent_is_that_of_the_matrix(low_rank, scale):
    hessian, dense = block_hessian(low_rank, scale)
    v = torch.arange(15, dtype=torch.float64).unsqueeze(0) - 7
    unit = 1 / hessian.root[0]
    scaled = dense.matrix[0] * unit * unit.unsqueeze(-1)
    shifted = scaled + SHIFT * torch.eye(15, dtype=torch.float64)
    expected = 2 * SHIFT * torch.linalg.solve(shifted, v[0]) - v[0]
    assert_close(hessian.reflect(v)[0], expected)
    if not low_rank:
        assert_close(dense.reflect(v)[0], expected)


def test_entries_without_curvature_do_not_move_on_a_face():
    hessian, _ = block_hessian()
    hessian = replace(hessian, rest=torch.zeros_like(hessian.rest))
    face = torch.ones(1, 15, dtype=torch.bool)
    solution = hessian.solve_on(face, torch.ones(1, 15, dtype=torch.float64))
    assert solution.isfinite().all()
    assert hessian.reflect(torch.ones_like(solution)).isfinite().all()


def test_a_model_of_blocks_has_the_minimiser_of_the_matrix():
    hessian, dense = block_hessian()
    problem = model(15)
    found = problem.evolved(hessian=hessian).minimise()
    expected = problem.evolved(hessian=dense).minimise()
    assert_close(found, expected)
