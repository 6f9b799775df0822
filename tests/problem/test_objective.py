"""Value, gradient, Hessian-vector product and Hessian against autograd, in float64."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from tests.problems import Problem, full_hessian, over_cases
from torchlogreg.curvature import Dense
from torchlogreg.nets.base import PenalizedLoss
from torchlogreg.problem.intercepts import INTERCEPT_STEPS, polished
from torchlogreg.problem.rows import Rows

TIGHT = {"rtol": 1e-9, "atol": 1e-9}


@over_cases
def test_value_and_gradient_match_autograd(problem):
    coef = problem.coef().requires_grad_()
    loss = problem.loss(coef)
    (gradient,) = torch.autograd.grad(loss.sum(), coef)
    objective = problem.objective()
    point = objective.at(objective.inner(coef.detach()))
    assert_close(torch.tensor(point.value, dtype=torch.float64), loss.detach(), **TIGHT)
    assert_close(objective.outer_gradient(point.grad), gradient, **TIGHT)
    assert_close(objective.optimality(point), gradient.abs().amax((-2, -1)), **TIGHT)


@over_cases
def test_the_hessian_as_an_operator_matches_autograd(problem):
    coef, v = problem.coef(), problem.coef(seed=2)
    objective = problem.objective()
    _, expected = torch.autograd.functional.hvp(
        lambda c: problem.loss(objective.outer(c)).sum(), coef, v
    )
    hessian = Dense(objective.hessian(objective.at(coef))).shifted(objective.ridge)
    assert_close(hessian.multiply(v), expected, **TIGHT)


@over_cases
def test_hessian_matches_autograd(problem):
    coef = problem.coef()
    objective = problem.objective()
    hessian = full_hessian(objective, objective.at(coef))
    B, P = coef.shape[0], coef[0].numel()
    full = torch.autograd.functional.hessian(lambda c: problem.loss(objective.outer(c)).sum(), coef)
    full = full.reshape(B, P, B, P)
    expected = torch.stack([full[b, :, b] for b in range(B)])
    assert_close(hessian, expected, **TIGHT)


@over_cases
def test_hessian_does_not_depend_on_the_size_of_the_chunks(problem):
    whole, chunked = problem.objective(), problem.objective(chunk_entries=500)
    coef = problem.coef()
    assert_close(chunked.hessian(chunked.at(coef)), whole.hessian(whole.at(coef)), **TIGHT)


@over_cases
def test_line_is_the_objective_along_a_direction(problem):
    coef, direction = problem.coef(), problem.coef(seed=2)
    steps = torch.linspace(0.1, 2.0, problem.n_problems, dtype=torch.float64)
    step = tuple(steps.tolist())
    objective = problem.objective()
    line = objective.along(objective.at(coef), direction)
    point = line.point(line.at(step))
    expected = objective.at(coef + steps[:, None, None] * direction)
    assert_close(point.coef, expected.coef, **TIGHT)
    assert_close(point.value, expected.value, **TIGHT)
    assert_close(point.grad, expected.grad, **TIGHT)
    slopes = (expected.grad * direction).sum((-2, -1))
    assert_close(line.at(step).slope, tuple(slopes.tolist()), **TIGHT)
    assert_close(line.slope, line.at((0.0,) * len(step)).slope, **TIGHT)


@over_cases
def test_unattended_numbers_are_the_same_and_stay_tensors(problem):
    coef, direction = problem.coef(), problem.coef(seed=2)
    steps = torch.linspace(0.1, 2.0, problem.n_problems, dtype=torch.float64)
    objective = problem.objective()
    line = objective.along(objective.at(coef), direction)
    expected = line.at(tuple(steps.tolist()))
    queued = objective.unattended()
    queued_line = queued.along(queued.at(coef), direction)
    trial = queued_line.at(steps)
    for tensor, numbers in (
        (queued_line.slope, line.slope),
        (trial.value, expected.value),
        (trial.slope, expected.slope),
        (queued_line.point(trial).value, line.point(expected).value),
    ):
        assert_close(tensor, torch.tensor(numbers, dtype=torch.float64), **TIGHT)


@over_cases
def test_a_recheck_in_float32_has_the_gradient_of_float64(problem):
    """Of the coefficients rounded to float32: true to that, not to the sums of float32."""
    exact = problem.objective()
    single = replace(
        exact, rows=exact.rows.to(torch.float32), penalty=exact.penalty.to(torch.float32)
    )
    coef = problem.coef().to(torch.float32)
    checked = single.recheck(coef)
    expected = exact.at(exact.inner(coef.to(torch.float64)))
    assert checked.grad.dtype == torch.float32
    scale = expected.grad.abs().max().item()
    assert_close(checked.grad.to(torch.float64), expected.grad, rtol=0, atol=1e-7 * scale)
    for eta, right in zip(checked.eta, expected.eta, strict=True):
        assert_close(eta.to(torch.float64), right, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("n_problems", [1, 7])
def test_polished_intercepts_have_no_gradient(n_classes, n_problems):
    problem = Problem(n_classes, n_problems, far=10)
    objective = problem.objective()
    start = objective.at(objective.fix_gauge(0.01 * problem.coef()))
    end = polished(objective, start)
    assert_close(end[..., :-1], start.coef[..., :-1], **TIGHT)
    assert start.grad[..., -1].abs().max() > 1e-3
    assert objective.at(end).grad[..., -1].abs().max() < 1e-12


def test_polishing_ends_where_all_problems_are_done(monkeypatch):
    problem = Problem(3, 2, far=10)
    objective = problem.objective()
    done = objective.at(polished(objective, objective.at(0.01 * problem.coef())))
    half = objective.at(torch.stack([done.coef[0], 0.01 * problem.coef()[1]]))
    n_sums, plain = [], Rows.sum

    def counting(rows, *args, **kwargs):
        n_sums[-1] += 1
        return plain(rows, *args, **kwargs)

    monkeypatch.setattr(Rows, "sum", counting)
    for start in (done, half):
        n_sums.append(0)
        end = polished(objective, start)
        assert_close(objective.at(end).grad[..., -1], torch.zeros(2, 3).to(end), atol=1e-15, rtol=0)
    assert n_sums[0] <= 2 < n_sums[1] <= INTERCEPT_STEPS + 1


@over_cases
def test_a_point_is_selected_problem_by_problem(problem):
    objective = problem.objective().unattended()
    one, two = objective.at(problem.coef()), objective.at(problem.coef(seed=2))
    mask = torch.arange(problem.n_problems) % 2 == 0
    selected = one.where(mask, two)
    expected = objective.at(torch.where(mask[:, None, None], one.coef, two.coef))
    for name in ("coef", "value", "penalty", "grad", "eta"):
        assert_close(getattr(selected, name), getattr(expected, name), **TIGHT)


@over_cases
def test_gauge_changes_no_gradient_of_the_loss(problem):
    objective = problem.objective()
    coef = problem.coef()
    fixed = objective.fix_gauge(coef)
    for block in objective.rows:
        proba = objective.family.proba(block.predictor(coef).mT)
        assert_close(objective.family.proba(block.predictor(fixed).mT), proba)
    assert_close(objective.fix_gauge(fixed), fixed)


def test_rows_of_weight_zero_do_not_count():
    problem = Problem(n_classes=3, n_problems=1)
    rows = problem.rows()
    weight = rows.rows.blocks[0].weight
    assert (weight == 0).any()
    kept = weight[0] > 0
    X = rows.rows.blocks[0].X
    fewer = Problem(n_classes=3, n_problems=1).objective()
    block = fewer.rows.blocks[0]
    less = Rows((type(block)(X[kept], block.targets[kept], weight[:, kept]),))
    smaller = replace(fewer, rows=less)
    coef = problem.coef()
    assert_close(smaller.at(coef).grad, problem.objective().at(coef).grad)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_separation_is_seen_only_if_every_row_is_on_the_right_side(n_classes):
    problem = Problem(n_classes, 1, n_features=n_classes)
    rows = problem.rows()
    block = rows.rows.blocks[0]
    codes = torch.arange(problem.n_rows) % n_classes
    X = torch.eye(n_classes, dtype=torch.float64)[codes]
    X = torch.cat([X, torch.ones_like(X[:, :1])], dim=1)
    objective = problem.objective()
    coef = torch.zeros_like(problem.coef())
    if n_classes == 2:
        coef[0, 0, :2] = torch.tensor([-1.0, 1.0])
    else:
        coef[0, :, :n_classes] = 5 * torch.eye(n_classes)
    rows = Rows((type(block)(X, block.targets, block.weight),))
    separable = replace(objective, rows=rows)
    assert separable.is_separated(separable.at(coef))
    assert not separable.is_separated(separable.at(-coef))
    assert not objective.is_separated(objective.at(coef))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_criterion_is_the_mean_loss_of_torch(n_classes):
    problem = Problem(n_classes, 1)
    objective = problem.objective()
    criterion = PenalizedLoss(objective.family, objective.penalty)
    eta = torch.randn(20, problem.coef().shape[1], dtype=torch.float64)
    codes = torch.arange(20) % n_classes
    expected = (
        torch.nn.functional.cross_entropy(eta, codes)
        if n_classes > 2
        else torch.nn.functional.binary_cross_entropy_with_logits(eta[:, 0], codes.double())
    )
    assert_close(criterion(eta, codes), expected)
