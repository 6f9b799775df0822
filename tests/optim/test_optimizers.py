"""What every full-batch optimizer promises."""

import copy
import itertools
import pickle
from dataclasses import replace

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.testing import assert_close

from tests.problems import Problem, over_cases, seven_problems
from torchlogreg.data.training_sets import ArrayRows
from torchlogreg.nets.base import PenalizedLoss
from torchlogreg.optim import LBFGS, NewtonCG, NewtonCholesky, ProxNewton, SampledCurvature, Stages
from torchlogreg.problem.families import family_of
from torchlogreg.problem.penalties import Penalty, make_penalty
from torchlogreg.problem.rows import Rows


def preconditioned(params, **kwargs):
    return LBFGS(params, preconditioner=SampledCurvature(), **kwargs)


def queued(params, **kwargs):
    return preconditioned(params, **{"check_every": 4, **kwargs})


over_optimizers = pytest.mark.parametrize(
    "optimizer_class", [LBFGS, preconditioned, queued, NewtonCholesky, ProxNewton]
)


def minimise(problem, optimizer_class, *, tol=1e-10, max_steps=1000, coef=None):
    """Run an optimizer on a problem; return it and its parameter."""
    param = torch.nn.Parameter(torch.zeros_like(problem.coef()) if coef is None else coef.clone())
    optimizer = optimizer_class([param], tol=tol)
    objective = problem.objective()
    for _ in range(max_steps):
        optimizer.step(objective)
        if optimizer.is_finished:
            break
    return optimizer, param.detach()


@over_optimizers
@over_cases
def test_gradient_vanishes_at_the_solution(problem, optimizer_class):
    optimizer, coef = minimise(problem, optimizer_class)
    assert optimizer.is_converged
    objective = problem.objective()
    norms = objective.optimality(objective.at(objective.inner(coef)))
    assert norms.max() <= 1e-10
    assert [s.optimality for s in optimizer.standings] == pytest.approx(norms.tolist(), abs=1e-13)


@over_optimizers
@over_cases
def test_problems_at_once_are_the_problems_one_by_one(problem, optimizer_class):
    _, coef = minimise(problem, optimizer_class)
    for b in range(problem.n_problems):
        single = problem.objective().take([b])
        param = torch.nn.Parameter(torch.zeros_like(coef[b : b + 1]))
        optimizer = optimizer_class([param], tol=1e-10)
        while not optimizer.is_finished:
            optimizer.step(single)
        assert_close(param.detach()[0], coef[b], rtol=0, atol=1e-8)


@over_optimizers
@over_cases
def test_the_objective_never_rises(problem, optimizer_class):
    param = torch.nn.Parameter(problem.coef())
    optimizer = optimizer_class([param], tol=1e-8)
    objective = problem.objective()
    before = objective.at(objective.inner(problem.coef())).value
    for _ in range(50):
        optimizer.step(objective)
        after = objective.at(objective.inner(param.detach())).value
        assert all(new <= old + 1e-14 for new, old in zip(after, before, strict=True))
        before = after


@over_optimizers
def test_start_does_not_matter(optimizer_class):
    problem = Problem(3, 1)
    _, coef = minimise(problem, optimizer_class)
    _, other = minimise(problem, optimizer_class, coef=100 * problem.coef())
    assert_close(other, coef, rtol=0, atol=1e-7)


@over_optimizers
def test_solution_is_kept_when_started_there(optimizer_class):
    problem = Problem(3, 1)
    _, coef = minimise(problem, optimizer_class, tol=1e-10)
    optimizer, again = minimise(problem, optimizer_class, tol=1e-8, coef=coef, max_steps=1)
    assert optimizer.is_converged
    assert_close(again, coef, rtol=0, atol=1e-14)


@over_optimizers
@pytest.mark.parametrize("n_before", [3, 5])
@pytest.mark.parametrize("through", ["pickle", "state_dict", "deepcopy"])
def test_resuming_is_the_same_as_going_on(optimizer_class, through, n_before):
    problem = Problem(3, 7)
    objective = problem.objective()
    param = torch.nn.Parameter(torch.zeros_like(problem.coef()))
    optimizer = optimizer_class([param], tol=1e-12)
    for _ in range(n_before):
        optimizer.step(objective)
    if through == "state_dict":
        param_2 = torch.nn.Parameter(param.detach().clone())
        optimizer_2 = optimizer_class([param_2], tol=1e-12)
        optimizer_2.load_state_dict(optimizer.state_dict())
    else:
        optimizer.release()
        twin = (
            pickle.loads(pickle.dumps(optimizer))
            if through == "pickle"
            else copy.deepcopy(optimizer)
        )
        optimizer_2, param_2 = twin, twin.param_groups[0]["params"][0]
    for _ in range(3):
        optimizer.step(objective)
        optimizer_2.step(objective)
    assert_close(param_2.detach(), param.detach(), rtol=0, atol=1e-10)


@over_optimizers
def test_a_parameter_changed_from_outside_is_noticed(optimizer_class):
    problem = Problem(2, 1)
    objective = problem.objective()
    param = torch.nn.Parameter(torch.zeros_like(problem.coef()))
    optimizer = optimizer_class([param])
    optimizer.step(objective)
    with torch.no_grad():
        param.fill_(1.0)
    value = optimizer.step(objective)
    assert value.item() <= sum(objective.at(torch.ones_like(param)).value)
    assert sum(objective.at(param.detach()).value) == pytest.approx(value.item())


@over_optimizers
def test_a_stall_ends_with_its_objective(optimizer_class):
    problem = Problem(3, 1)
    optimizer, coef = minimise(problem, optimizer_class, tol=0.0)
    other = Problem(3, 1, block_size=7)
    param = optimizer.param_groups[0]["params"][0]
    with torch.no_grad():
        param.zero_()
    optimizer.step(other.objective())
    assert not optimizer.is_finished
    for _ in range(200):
        optimizer.step(other.objective())
    assert_close(param.detach(), coef, rtol=0, atol=1e-8)


@over_optimizers
def test_unreachable_tolerance_ends_in_a_stall_not_in_a_loop(optimizer_class):
    problem = Problem(3, 1)
    optimizer, coef = minimise(problem, optimizer_class, tol=0.0)
    assert optimizer.is_finished
    assert not optimizer.is_converged
    assert problem.objective().at(coef).grad.abs().amax() < 1e-13


def far_columns_in_float32():
    X = torch.randn(200, 3, generator=torch.Generator().manual_seed(0)) + 1000
    codes = torch.arange(200) % 3
    rows = ArrayRows(X, codes, torch.ones(200, dtype=torch.float64), family_of(3), is_centred=True)
    objective = PenalizedLoss(rows.family, rows.penalty(1.0)).objective(rows.rows)
    return objective, torch.nn.Parameter(torch.zeros(1, 3, 4))


@over_optimizers
def test_iterations_that_run_out_are_certified_exactly(optimizer_class):
    """At the parameter, rounded to float32: what the iteration has summed there is not enough."""
    objective, param = far_columns_in_float32()
    optimizer = optimizer_class([param], tol=1e-12)
    for _ in range(3):
        optimizer.step(objective)
    optimizer.certify(objective)
    exact = objective.optimality(objective.recheck(param.detach()))
    assert [s.optimality for s in optimizer.standings] == exact.tolist()


@pytest.mark.parametrize("check_every", [2, 3, 4])
@pytest.mark.parametrize("max_steps", range(3, 12))
@pytest.mark.parametrize("optimizer_class", [preconditioned, NewtonCholesky])
def test_no_stale_certificate_is_left_in_the_queue(optimizer_class, max_steps, check_every):
    """A check says to go on, and the iterations run out before the next look."""
    objective, param = far_columns_in_float32()
    optimizer = optimizer_class([param], tol=1e-4, check_every=check_every)
    for _ in range(max_steps):
        optimizer.step(objective)
    optimizer.certify(objective)
    exact = objective.optimality(objective.recheck(param.detach()))
    assert [s.optimality for s in optimizer.standings] == exact.tolist()


@pytest.mark.parametrize("optimizer_class", [LBFGS, preconditioned, queued, NewtonCholesky])
def test_resuming_goes_on_after_problems_have_left(optimizer_class):
    objective, start = seven_problems(3)
    param = torch.nn.Parameter(start.clone())
    optimizer = optimizer_class([param], tol=1e-8)
    while len(optimizer.run.problems if optimizer.run else "1234567") == 7:
        optimizer.step(objective)
    param_2 = torch.nn.Parameter(param.detach().clone())
    optimizer_2 = optimizer_class([param_2], tol=1e-8)
    optimizer_2.load_state_dict(optimizer.state_dict())
    assert not optimizer_2.is_finished
    for both in (optimizer, optimizer_2):
        while not both.is_finished:
            both.step(objective)
        assert both.is_converged
    assert_close(param_2.detach(), param.detach(), rtol=0, atol=1e-6)


class Waits(TorchFunctionMode):
    """Counts what makes the host wait for numbers from the device."""

    count = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        names = {"item", "tolist", "numpy", "cpu", "nonzero", "__bool__", "__float__", "__int__"}
        self.count += getattr(function, "__name__", "") in names
        return function(*args, **(kwargs or {}))


def test_problems_that_had_left_go_on_after_a_break():
    """With a smaller tol: the first one is solved long before the second."""
    problem = Problem(2, 2, n_rows=300)
    C = torch.tensor([1e-4, 1e5], dtype=torch.float64)
    penalty = make_penalty(C, torch.full_like(C, 300), 3, fit_intercept=True)
    objective = replace(problem.objective(), penalty=penalty)
    optimizer = NewtonCG([torch.nn.Parameter(torch.zeros_like(problem.coef()))], tol=1e-4)
    while optimizer.run is None or len(optimizer.run.problems) == 2:
        optimizer.step(objective)
    param = torch.nn.Parameter(optimizer.param_groups[0]["params"][0].detach().clone())
    resumed = NewtonCG([param], tol=1e-4)
    resumed.load_state_dict(optimizer.state_dict())
    resumed.param_groups[0]["tol"] = 1e-10
    n_steps = 0
    while not resumed.is_finished and n_steps < 40:
        resumed.step(objective)
        n_steps += 1
    assert resumed.is_converged
    assert n_steps < 20


def test_queued_iterations_do_not_wait_for_the_device():
    problem = Problem(3, 1, n_rows=100, n_features=30)
    objective = problem.objective()
    param = torch.nn.Parameter(torch.zeros_like(problem.coef()))
    optimizer = queued([param], tol=1e-14)
    waits, n_traced = [], []
    while not optimizer.is_finished and len(waits) < 24:
        with Waits() as mode:
            optimizer.step(objective)
        waits.append(mode.count)
        n_traced.append(len(optimizer.run.looks))
    assert len(waits) >= 16
    checks = [step for step, count in enumerate(n_traced) if count]
    builds = set(SampledCurvature.earliest)
    assert all(waits[step] == 0 for step in range(len(waits)) if step not in {*checks, *builds})
    assert sum(n_traced[1:]) in range(len(waits) - 4, len(waits) + 2)
    assert len(checks) <= len(waits) / 4 + 2


def test_a_queued_step_that_fails_is_undone_and_tried_smaller():
    problem = Problem(3, 1)
    objective = problem.objective()
    param = torch.nn.Parameter(problem.coef())
    optimizer = LBFGS([param], lr=1e6, check_every=100)
    optimizer.step(objective)
    fixed = objective.fix_gauge(problem.coef())
    assert_close(param.detach(), fixed)
    for _ in range(20):
        optimizer.step(objective)
    assert objective.at(param.detach()).value < objective.at(fixed).value


def test_newton_converges_quadratically():
    problem = Problem(3, 1)
    param = torch.nn.Parameter(torch.zeros_like(problem.coef()))
    optimizer = NewtonCholesky([param], tol=1e-12)
    objective = problem.objective()
    norms = []
    while not optimizer.is_finished:
        optimizer.step(objective)
        norms.append(optimizer.standings[0].optimality)
    assert len(norms) <= 8
    rounding = 1e-16
    pairs = itertools.pairwise(norms)
    assert all(new < max(old**1.5, rounding) for old, new in pairs if old < 1e-2)


def test_newton_takes_singular_hessians():
    """Duplicated and constant columns without a penalty: many minimisers, one objective."""
    problem = Problem(3, 1)
    objective = problem.objective()
    block = objective.rows.blocks[0]
    X = torch.cat([block.X, block.X], dim=1)
    rows = Rows((type(block)(X, block.targets, block.weight),))
    penalty = Penalty(torch.zeros(1, 1, X.shape[1], dtype=torch.float64))
    flat = replace(objective, rows=rows, penalty=penalty)
    param = torch.nn.Parameter(torch.zeros(1, 3, X.shape[1], dtype=torch.float64))
    optimizer = NewtonCholesky([param], tol=1e-10)
    for _ in range(30):
        optimizer.step(flat)
    assert optimizer.is_converged
    assert param.abs().amax() < 100


@over_optimizers
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lr": 0.0}, "lr=0.0 must be positive"),
        ({"tol": -1.0}, "tol=-1.0 must not be negative"),
        ({"check_every": 0}, "check_every=0 must be at least 1"),
    ],
)
def test_arguments_out_of_range_are_named(optimizer_class, arguments, message):
    with pytest.raises(ValueError, match=message):
        optimizer_class([torch.nn.Parameter(torch.zeros(1, 1, 2))], **arguments)


@over_optimizers
def test_an_option_that_is_not_there_is_named_with_those_that_are(optimizer_class):
    with pytest.raises(TypeError, match=r"has no option speed=1\. It takes check_every, tol, lr"):
        optimizer_class([torch.nn.Parameter(torch.zeros(1, 1, 2))], speed=1)


@over_optimizers
def test_one_parameter_only(optimizer_class):
    params = [torch.nn.Parameter(torch.zeros(1, 1, 2)) for _ in range(2)]
    with pytest.raises(ValueError, match="one parameter tensor, got 2"):
        optimizer_class(params)


def test_history_size_is_positive():
    with pytest.raises(ValueError, match="history_size=0"):
        LBFGS([torch.nn.Parameter(torch.zeros(1, 1, 2))], history_size=0)


def test_a_queue_goes_through_a_stage_in_float32():
    problem = Problem(3, 1, n_rows=200)
    param = torch.nn.Parameter(torch.zeros_like(problem.coef()))
    optimizer = queued([param], tol=1e-8, stages=Stages(large_work=0))
    objective = problem.objective()
    for _ in range(100):
        optimizer.step(objective)
        optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))  # a break
        if optimizer.is_finished:
            break
    for _ in range(100):
        optimizer.step(objective)
        if optimizer.is_finished:
            break
    assert optimizer.is_converged


@over_optimizers
def test_the_state_is_a_copy_that_torch_can_work_with(optimizer_class):
    """Nobody writes to it later, and it is not the parameter itself."""
    problem = Problem(3, 1, n_rows=200)
    param = torch.nn.Parameter(0.1 * problem.coef())
    optimizer = optimizer_class([param], tol=1e-12)
    objective = problem.objective()
    start = param.detach().clone()
    for _ in range(3):
        optimizer.step(objective)
    before = copy.deepcopy(optimizer.state[param])
    if "anchor" in before:
        assert_close(before["anchor"], objective.fix_gauge(start))
    for _ in range(3):
        optimizer.iterate(objective)
    for name, value in before.items():
        now = optimizer.state[param][name]
        assert torch.equal(now, value) if isinstance(value, torch.Tensor) else now == value
        assert not isinstance(value, torch.Tensor) or not now.is_inference()


def test_a_start_far_away_is_checked():
    """Linear predictors that were large once have rounding errors of that size."""
    problem = Problem(3, 1, n_rows=200)
    far = 1e8 * problem.coef()
    optimizer, coef = minimise(problem, NewtonCholesky, coef=far, max_steps=60)
    objective = problem.objective()
    norm = objective.optimality(objective.recheck(coef)).max().item()
    assert optimizer.standings[0].optimality == pytest.approx(norm, rel=1e-3, abs=1e-15)
