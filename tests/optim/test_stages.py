"""A cheaper stand-in for large data, float32 for float64. The answer is the same."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.datasets import load_digits
from skorch.callbacks import Callback
from torch.testing import assert_close

from tests.problems import Problem
from torchlogreg import TorchLogisticRegression
from torchlogreg.data.training_sets import ArrayRows
from torchlogreg.nets.base import PenalizedLoss
from torchlogreg.optim import LBFGS, NewtonCholesky, SampledCurvature, Stages, Subsample
from torchlogreg.problem.families import Categorical
from torchlogreg.problem.penalties import Penalty
from torchlogreg.problem.rows import Rows

X_DIGITS, Y_DIGITS = load_digits(return_X_y=True)


ALWAYS, NEVER = Stages(large_work=0), None


def lbfgs(C=1.0, stages=ALWAYS, **arguments):
    return TorchLogisticRegression(
        C, solver="lbfgs", net_params={"optimizer__stages": stages}, **arguments
    )


@pytest.fixture
def digits():
    return X_DIGITS[:, X_DIGITS.std(axis=0) > 1][:, ::2], Y_DIGITS


@pytest.mark.parametrize("n_features", [3, 100], ids=["tall", "wide"])
def test_large_float64_is_read_in_float32_first(n_features):
    """Wide blocks are converted a piece at a time, tall ones are copied."""
    problem = Problem(3, 7, block_size=7, n_features=n_features)
    objective = problem.objective(small_entries=0)
    single, itself = ALWAYS.of(objective, 3)
    assert itself is objective
    assert single.dtype == torch.float32
    for block, original in zip(single.rows, objective.rows, strict=True):
        if n_features < 7:
            assert block.X.dtype == torch.float32
            assert_close(block.design(None), original.design(None).to(torch.float32))
        else:
            assert block.X is original.X
    coef = problem.coef()
    point, exact = single.at(coef.to(torch.float32)), objective.at(coef)
    assert point.grad.dtype == torch.float32
    assert_close(point.grad.to(torch.float64), exact.grad, rtol=1e-5, atol=1e-6)
    assert point.value == pytest.approx(exact.value, rel=1e-6)


def test_small_and_sparse_data_have_one_stage():
    small, sparse = Problem(3, 1).objective(), Problem(3, 1, sparse=True).objective()
    assert Stages().of(small, 3) == [small]
    assert len(Stages().of(small, 2**21)) == 2
    assert ALWAYS.of(sparse, 3) == [sparse]


def test_the_answer_in_stages_is_that_of_float64(digits):
    X, y = digits
    staged = lbfgs(1e-2, tol=1e-10).fit(X, y)
    assert staged.optimality_ <= 1e-10
    plain = lbfgs(1e-2, NEVER, tol=1e-10).fit(X, y)
    assert staged.coef_.dtype == np.float64
    assert_allclose(staged.coef_, plain.coef_, rtol=0, atol=1e-7)


class PrecisionRecorder(Callback):
    def __init__(self):
        self.dtypes = []

    def on_epoch_end(self, net, **kwargs):
        self.dtypes.append(net.optimizer_.run.state.point.grad.dtype)


def test_most_iterations_are_made_in_float32(digits):
    X, y = digits
    recorder = PrecisionRecorder()
    lbfgs(callbacks=[recorder]).fit(X, y)
    assert recorder.dtypes[-1] == torch.float64
    assert recorder.dtypes.count(torch.float32) > 0.8 * len(recorder.dtypes)


def test_data_beyond_float32_is_read_in_float64_only(digits):
    X, y = digits
    model = lbfgs(np.inf, max_iter=5)
    with pytest.warns(match="lbfgs failed to converge after 5 iterations"):
        model.fit(X * 1e40, y)
    assert model.score(X * 1e40, y) > 0.9
    assert np.abs(model.coef_).max() < 1e-37


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_seed_changes_the_path_and_not_the_answer(digits, dtype):
    X, y = digits
    X = X.astype(dtype)
    tol = 1e-9 if dtype == "float64" else 1e-5
    model = lbfgs(1e-2, tol=tol)
    model.net_params |= {"optimizer__preconditioner": SampledCurvature(min_rows=100, gather=1e6)}
    first, again = model.fit(X, y).coef_, model.fit(X, y).coef_
    assert (first == again).all()
    other = model.set_params(random_state=1).fit(X, y).coef_
    assert (first != other).any()
    assert_allclose(other, first, rtol=0, atol=1e-6 if dtype == "float64" else 1e-2)


def test_nothing_global_is_drawn_from(digits):
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    lbfgs(tol=1e-1).fit(*digits)
    drawn = np.random.random(), torch.rand(1).item()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    assert drawn == (np.random.random(), torch.rand(1).item())  # noqa: NPY002


@pytest.mark.parametrize("n_before", [1, 4])
def test_resuming_at_any_stage_is_the_same_as_going_on(digits, n_before):
    X, y = digits
    rows = ArrayRows(torch.from_numpy(X), torch.from_numpy(y), torch.ones(len(y)), Categorical())
    objective = PenalizedLoss(rows.family, rows.penalty(1.0)).objective(rows.rows)
    param = torch.nn.Parameter(torch.zeros(1, 10, X.shape[1] + 1, dtype=torch.float64))
    optimizer = LBFGS([param], tol=1e-12, preconditioner=SampledCurvature(), stages=ALWAYS)
    for _ in range(n_before):
        optimizer.step(objective)
    twin = copy.deepcopy(optimizer)
    twin.step(objective)
    optimizer.step(objective)
    other = twin.param_groups[0]["params"][0]
    assert_close(other, param, rtol=0, atol=1e-3)  # in float32


@pytest.mark.parametrize("block_size", [None, 700])
@pytest.mark.parametrize("sparse", [False, True])
def test_a_subsample_is_an_objective_of_a_tenth_of_the_rows(sparse, block_size):
    problem = Problem(3, 7, n_rows=50_000, sparse=sparse, block_size=block_size)
    objective = problem.objective()
    sample = Subsample().of(objective, torch.Generator().manual_seed(0))
    assert sample.rows.n_rows == 5_000
    total = sum(block.weight.sum(-1) for block in sample.rows)
    assert_close(total, torch.ones(7, dtype=torch.float64))
    coef = problem.coef()
    assert sample.at(coef).value == pytest.approx(objective.at(coef).value, rel=0.1)
    assert not {*sample.at(coef).value} & {*objective.at(coef).value}


def test_few_rows_are_not_sampled():
    generator = torch.Generator().manual_seed(0)
    assert Subsample().of(Problem(3, 1, n_rows=30_000).objective(), generator) is None


def test_a_misleading_subsample_is_dropped():
    """Nearly all weight on few rows: the sample knows next to nothing of them."""
    problem = Problem(3, 1, n_rows=50_000)
    objective = problem.objective()
    (block,) = objective.rows
    block.weight.fill_(1e-9)
    block.weight[:, :7] = 1 / 7
    objective = replace(objective, penalty=Penalty(torch.zeros_like(objective.penalty.l2)))
    param = torch.nn.Parameter(torch.zeros_like(problem.coef()))
    optimizer = LBFGS([param], preconditioner=SampledCurvature())
    optimizer.step(objective)
    assert sum(optimizer.run.state.point.value) < np.log(3)


def test_a_start_on_few_rows_saves_iterations_on_all():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60_000, 5))
    y = (X @ rng.normal(size=5) + rng.logistic(size=60_000)) > 0
    model = TorchLogisticRegression(solver="lbfgs", tol=1e-6)
    with_sample = model.fit(X, y).n_iter_[0]
    model.set_params(net_params={"optimizer__subsample": None})
    assert with_sample < model.fit(X, y).n_iter_[0]


@pytest.mark.parametrize("optimizer_class", [LBFGS, NewtonCholesky])
@pytest.mark.parametrize("n_problems", [1, 7])
def test_a_stage_that_has_led_astray_is_undone(optimizer_class, n_problems):
    """A first stage of the opposite features: its minimiser is the worst of starts."""

    class Mirrored(Stages):
        def of(self, objective, n_outputs):
            rows = objective.rows.to(torch.float32)
            blocks = tuple(replace(block, X=-block.X) for block in rows)
            penalty = objective.penalty.to(torch.float32)
            return [replace(objective, rows=Rows(blocks), penalty=penalty), objective]

    objective = Problem(3, n_problems, n_rows=200).objective()
    param = torch.nn.Parameter(torch.zeros(n_problems, 3, 4, dtype=torch.float64))
    optimizer = optimizer_class([param], tol=1e-8, stages=Mirrored())
    while not optimizer.is_finished:
        optimizer.step(objective)
        if optimizer.run.state.point.grad.dtype == torch.float64:
            assert max(optimizer.run.state.point.value) <= np.log(3) + 1e-12
    assert optimizer.is_converged
