"""A cheaper stand-in for large data, float32 for float64. The answer is the same."""

import copy

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.datasets import load_digits
from skorch.callbacks import Callback
from torch.testing import assert_close

from tests.problems import Problem
from torchlogreg import TorchLogisticRegression
from torchlogreg.curvature import sampled_inverse_hessian
from torchlogreg.data.training_sets import RowBlocks
from torchlogreg.optim import LBFGS
from torchlogreg.problem.families import Categorical
from torchlogreg.problem.objective import Objective
from torchlogreg.problem.penalties import L2, l2_strength

X_DIGITS, Y_DIGITS = load_digits(return_X_y=True)


@pytest.fixture
def everything_is_large(monkeypatch):
    """Take the paths of large data on small data."""
    monkeypatch.setattr("torchlogreg.problem.objective.LARGE_ENTRIES", 0)
    monkeypatch.setattr("torchlogreg.data.training_sets.SMALL_ENTRIES", 0)


@pytest.fixture
def digits_in_stages(everything_is_large):
    X = X_DIGITS[:, X_DIGITS.std(axis=0) > 1][:, ::2]
    return X, Y_DIGITS


def test_large_float64_is_read_in_float32_first(everything_is_large):
    problem = Problem(3, 7, block_size=7)
    objective = problem.objective()
    single, itself = objective.stages()
    assert itself is objective
    assert single.dtype == torch.float32
    for block, original in zip(single.blocks, objective.blocks, strict=True):
        assert block.X is original.X
    coef = problem.coef()
    point, exact = single.at(coef.to(torch.float32)), objective.at(coef)
    assert point.grad.dtype == torch.float32
    assert_close(point.grad.to(torch.float64), exact.grad, rtol=1e-5, atol=1e-6)
    assert point.value == pytest.approx(exact.value, rel=1e-6)


@pytest.mark.parametrize("problem", [Problem(3, 1), Problem(3, 1, sparse=True)], ids=str)
def test_small_and_sparse_data_have_one_stage(problem, monkeypatch):
    if problem.sparse:
        monkeypatch.setattr("torchlogreg.problem.objective.LARGE_ENTRIES", 0)
    objective = problem.objective()
    assert objective.stages() == (objective,)


def test_the_answer_in_stages_is_that_of_float64(digits_in_stages, monkeypatch):
    X, y = digits_in_stages
    staged = TorchLogisticRegression(1e-2, solver="lbfgs", tol=1e-10).fit(X, y)
    assert staged.optimality_ <= 1e-10
    monkeypatch.setattr("torchlogreg.problem.objective.LARGE_ENTRIES", 10**9)
    plain = TorchLogisticRegression(1e-2, solver="lbfgs", tol=1e-10).fit(X, y)
    assert staged.coef_.dtype == np.float64
    assert_allclose(staged.coef_, plain.coef_, rtol=0, atol=1e-7)


class PrecisionRecorder(Callback):
    def __init__(self):
        self.dtypes = []

    def on_epoch_end(self, net, **kwargs):
        self.dtypes.append(net.optimizer_.point.grad.dtype)


def test_most_iterations_are_made_in_float32(digits_in_stages):
    X, y = digits_in_stages
    recorder = PrecisionRecorder()
    TorchLogisticRegression(solver="lbfgs", callbacks=[recorder]).fit(X, y)
    assert recorder.dtypes[-1] == torch.float64
    assert recorder.dtypes.count(torch.float32) > 0.8 * len(recorder.dtypes)


def test_data_beyond_float32_is_read_in_float64_only(digits_in_stages):
    X, y = digits_in_stages
    model = TorchLogisticRegression(np.inf, solver="lbfgs", max_iter=5)
    with pytest.warns(match="did not converge"):
        model.fit(X * 1e40, y)
    assert model.score(X * 1e40, y) > 0.9
    assert np.abs(model.coef_).max() < 1e-37


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_seed_changes_the_path_and_not_the_answer(digits_in_stages, monkeypatch, dtype):
    monkeypatch.setattr("torchlogreg.curvature.choice.MIN_ROWS", 100)
    monkeypatch.setattr("torchlogreg.curvature.choice.GATHER", 1e6)
    X, y = digits_in_stages
    X = X.astype(dtype)
    tol = 1e-9 if dtype == "float64" else 1e-5
    model = TorchLogisticRegression(1e-2, solver="lbfgs", tol=tol)
    first, again = model.fit(X, y).coef_, model.fit(X, y).coef_
    assert (first == again).all()
    other = model.set_params(random_state=1).fit(X, y).coef_
    assert (first != other).any()
    assert_allclose(other, first, rtol=0, atol=1e-6 if dtype == "float64" else 1e-2)


def test_nothing_global_is_drawn_from(digits_in_stages):
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    TorchLogisticRegression(solver="lbfgs", tol=1e-1).fit(*digits_in_stages)
    drawn = np.random.random(), torch.rand(1).item()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    assert drawn == (np.random.random(), torch.rand(1).item())  # noqa: NPY002


@pytest.mark.parametrize("n_before", [1, 4])
def test_resuming_at_any_stage_is_the_same_as_going_on(digits_in_stages, n_before):
    X, y = digits_in_stages
    rows = RowBlocks(torch.from_numpy(X), torch.from_numpy(y), torch.ones(len(y)), Categorical())
    strength = l2_strength(torch.ones(1).double(), rows.weight_sum.double(), X.shape[1], True)
    objective = Objective(rows.blocks, Categorical(), L2(strength))
    param = torch.nn.Parameter(torch.zeros(1, 10, X.shape[1] + 1, dtype=torch.float64))
    optimizer = LBFGS([param], tol=1e-12, preconditioner=sampled_inverse_hessian)
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
    sample = objective.subsample(torch.Generator().manual_seed(0))
    assert sample.n_rows == 5_000
    total = sum(block.weight.sum(-1) for block in sample.blocks)
    assert_close(total, torch.ones(7, dtype=torch.float64))
    coef = problem.coef()
    assert sample.at(coef).value == pytest.approx(objective.at(coef).value, rel=0.1)
    assert (sample.at(coef).value != objective.at(coef).value).all()


def test_few_rows_are_not_sampled():
    generator = torch.Generator().manual_seed(0)
    assert Problem(3, 1, n_rows=30_000).objective().subsample(generator) is None


def test_a_misleading_subsample_is_dropped():
    """Nearly all weight on few rows: the sample knows next to nothing of them."""
    problem = Problem(3, 1, n_rows=50_000)
    objective = problem.objective()
    (block,) = objective.blocks
    block.weight.fill_(1e-9)
    block.weight[:, :7] = 1 / 7
    objective.penalty.strength.zero_()
    param = torch.nn.Parameter(torch.zeros_like(problem.coef()))
    optimizer = LBFGS([param], preconditioner=sampled_inverse_hessian)
    optimizer.step(objective)
    assert sum(optimizer.point.value) < np.log(3)


def test_a_start_on_few_rows_saves_iterations_on_all(monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60_000, 5))
    y = (X @ rng.normal(size=5) + rng.logistic(size=60_000)) > 0
    model = TorchLogisticRegression(solver="lbfgs", tol=1e-6)
    with_sample = model.fit(X, y).n_iter_[0]
    monkeypatch.setattr("torchlogreg.problem.objective.ROWS_A_COLUMN", 10**9)
    assert with_sample < model.fit(X, y).n_iter_[0]
