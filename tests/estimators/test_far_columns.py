"""Columns far from zero or of any scale: the same iterations, and a certificate that holds."""

import warnings

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from tests.judge import judge
from torchlogreg import TorchLogisticRegression
from torchlogreg.optim import SampledCurvature

over_solvers = pytest.mark.parametrize("solver", ["newton-cholesky", "newton-cg", "lbfgs"])
over_classes = pytest.mark.parametrize("n_classes", [2, 3])


def data(n, d, n_classes, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    scores = 2 * X @ rng.normal(size=(d, n_classes)) / np.sqrt(d)
    return X, (scores + rng.gumbel(size=scores.shape)).argmax(axis=1)


@pytest.fixture(params=[2_000, 30_000], ids=["small", "in stages"])
def near(request):
    """Few rows, which are copied, and so many that float64 data is read in float32 first."""
    return data(request.param, 40, 3)


@over_solvers
@pytest.mark.parametrize("distance", [10, 1e3, 1e5])
def test_columns_far_from_zero_take_the_iterations_of_centred_ones(near, solver, distance):
    X, y = near
    centred = TorchLogisticRegression(solver=solver, tol=1e-5).fit(X, y)
    shifted = X + distance
    model = TorchLogisticRegression(solver=solver, tol=1e-5).fit(shifted, y)
    assert model.n_iter_[0] <= centred.n_iter_[0] + 5
    found, expected = judge(model, shifted, y), judge(centred, X, y)
    assert found.objective == pytest.approx(expected.objective, rel=1e-8)
    assert found.optimality <= 1e-5 + found.rounding
    assert model.optimality_ == pytest.approx(found.optimality, rel=1e-3, abs=found.rounding)


def test_columns_whose_squares_overflow_float32_still_move():
    """A stand-in in float32 makes nothing of them; the objective itself does."""
    X, y = data(2_000, 300, 6)
    X[:, :50] *= 1e20
    with pytest.warns(ConvergenceWarning):
        model = TorchLogisticRegression(solver="newton-cg", max_iter=30).fit(X, y)
    assert np.abs(model.coef_[:, :50]).max() > 0


@over_solvers
def test_sparse_columns_far_from_zero_are_centred_too(solver):
    X, y = data(2_000, 10, 3)
    shifted = X.copy()
    shifted[:, :3] += 1e4
    shifted[:, 5:] *= np.random.default_rng(0).random((2_000, 5)) < 0.1
    dense = TorchLogisticRegression(solver=solver).fit(shifted, y)
    model = TorchLogisticRegression(solver=solver).fit(sparse.csr_array(shifted), y)
    assert abs(model.n_iter_[0] - dense.n_iter_[0]) <= 5
    found, expected = (judge(fitted, shifted, y) for fitted in (model, dense))
    assert found.objective == pytest.approx(expected.objective, rel=1e-8)
    assert model.n_iter_[0] <= 20


@over_solvers
@over_classes
@pytest.mark.parametrize("distance", [0, 10, 1e3, 1e5])
def test_the_certificate_of_float32_is_true_or_names_float64(solver, n_classes, distance):
    X, y = data(3_000, 20, n_classes)
    X = (X + distance).astype(np.float32)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = TorchLogisticRegression(solver=solver).fit(X, y)
    found = judge(model, X, y)
    assert model.optimality_ == pytest.approx(found.optimality, rel=1e-3, abs=1e-9)
    if found.optimality > 1e-4:
        (warning,) = caught
        assert warning.category is ConvergenceWarning
        assert "float64" in str(warning.message)
    else:
        assert not caught
    assert model.n_iter_[0] <= 30


@over_solvers
def test_without_an_intercept_a_stage_in_float32_is_left_out_where_it_would_not_help(solver):
    X, y = data(30_000, 40, 3)
    X += 1e3
    model = TorchLogisticRegression(solver=solver, fit_intercept=False).fit(X, y)
    assert judge(model, X, y).optimality <= 1e-4
    assert model.n_iter_[0] <= {"newton-cholesky": 10, "newton-cg": 20, "lbfgs": 100}[solver]


def test_a_stage_that_lacks_digits_is_left_early():
    """Two columns that float32 all but confuses, and labels that depend on their difference."""
    X, _ = data(30_000, 40, 2)
    rng = np.random.default_rng(1)
    difference = rng.normal(size=len(X))
    X[:, 1] = X[:, 0] + 1e-5 * difference
    y = (2 * difference + X[:, 2] + rng.logistic(size=len(X)) > 0).astype(int)
    model = TorchLogisticRegression(1e8, solver="newton-cholesky")
    staged = model.fit(X, y).n_iter_[0]
    model.set_params(net_params={"optimizer__stages": None})
    assert staged <= model.fit(X, y).n_iter_[0] + 6


SCALED = [(D, n_classes) for D in (100, 440, 480, 1000) for n_classes in (2, 3)] + [(3000, 2)]


@pytest.mark.parametrize(("D", "n_classes"), SCALED)
def test_columns_of_any_scale_converge_in_sixty_iterations(D, n_classes):
    X, y = data(5_000, D, n_classes)
    X *= 10 ** np.random.default_rng(1).uniform(-3, 3, D)
    model = TorchLogisticRegression(solver="lbfgs").fit(X.astype(np.float32), y)
    assert model.n_iter_[0] <= 60
    assert model.optimality_ <= 1e-4


def test_sparse_columns_of_any_scale_reach_scikit_learns_objective():
    X = sparse.random_array((3_000, 2_000), density=0.01, rng=0, format="csr")
    y = (X @ np.random.default_rng(0).normal(size=2_000) > 0).astype(int)
    X = sparse.csr_array(X * 10 ** np.random.default_rng(1).uniform(-2, 2, 2_000))
    model = TorchLogisticRegression(solver="lbfgs").fit(X, y)
    assert model.optimality_ <= 1e-4
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs = LogisticRegression(max_iter=1000).fit(X, y)
    assert judge(model, X, y).objective <= judge(theirs, X, y).objective + 1e-8


class Recorded(SampledCurvature):
    """Notes which qualities are built."""

    def __init__(self):
        super().__init__()
        object.__setattr__(self, "built", [])

    def __call__(self, *arguments, quality):
        self.built.append(quality)
        return super().__call__(*arguments, quality=quality)


def test_easy_data_does_not_pay_for_a_dear_curvature():
    X, y = data(2_000, 500, 2)
    ladder = Recorded()
    model = TorchLogisticRegression(
        C=1e-3, solver="lbfgs", tol=1e-2, net_params={"optimizer__preconditioner": ladder}
    )
    model.fit(X, y)
    assert model.optimality_ <= 1e-2
    assert max(ladder.built) < 2


def test_huge_weights_do_not_overflow():
    X, y = data(100, 3, 3)
    plain = TorchLogisticRegression(1.0).fit(X, y)
    huge = TorchLogisticRegression(1e-308).fit(X, y, sample_weight=np.full(100, 1e308))
    assert_allclose(huge.coef_, plain.coef_, rtol=1e-9)
    both = TorchLogisticRegression(1e-308, class_weight="balanced")
    both.fit(X, y, sample_weight=np.full(100, 1e307))
    even = TorchLogisticRegression(0.1, class_weight="balanced").fit(X, y)
    assert_allclose(both.coef_, even.coef_, rtol=1e-9)


def test_weights_whose_product_or_stream_overflows_are_named():
    X, y = data(100, 3, 3)
    huge = np.full(100, 1e308)
    with pytest.raises(ValueError, match=r"sample_weight times class_weight=.* overflows"):
        TorchLogisticRegression(class_weight={0: 10.0, 1: 1.0, 2: 1.0}).fit(X, y, huge)
    with pytest.raises(ValueError, match="sum of the weights seen so far"):
        TorchLogisticRegression(solver="sgd").partial_fit(X, y, [0, 1, 2], huge)


def test_newton_names_itself_and_the_memory_that_it_lacks():
    X = torch.zeros(4, 60_000)
    X[:, 0] = torch.arange(4)
    with pytest.raises(
        MemoryError, match=r"solver='newton-cholesky' needs .* GB .* solver='lbfgs'"
    ):
        TorchLogisticRegression(solver="newton-cholesky").fit(X, torch.tensor([0, 1, 0, 1]))
