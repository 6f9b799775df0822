"""The registry and the choice of "auto"."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse
from sklearn.datasets import load_digits

from torchlogreg import TorchLogisticRegression
from torchlogreg.estimators.solvers import (
    CG_MAX_ENTRIES,
    CG_MAX_ROWS,
    NEWTON_MAX_COEF,
    NEWTON_MAX_WORK,
    QUEUED_ITERATIONS,
    SOLVERS,
    resolve,
)


def test_names_are_their_keys():
    assert all(name == solver.name for name, solver in SOLVERS.items())
    assert all(resolve(name, 10**9, 10**9, 10**9).name == name for name in SOLVERS)


@pytest.mark.parametrize(
    ("n_rows", "n_features", "n_classes", "expected"),
    [
        (30, NEWTON_MAX_COEF - 1, 2, "newton-cholesky"),
        (30, NEWTON_MAX_COEF, 2, "newton-cg"),
        (CG_MAX_ROWS * (NEWTON_MAX_COEF + 1), NEWTON_MAX_COEF, 2, "newton-cg"),
        (CG_MAX_ROWS * (NEWTON_MAX_COEF + 1) + 1, NEWTON_MAX_COEF, 2, "lbfgs"),
        (100, CG_MAX_ENTRIES // 100, 2, "lbfgs"),
        (30, NEWTON_MAX_COEF // 3 - 1, 3, "newton-cholesky"),
        (30, NEWTON_MAX_COEF // 3, 3, "newton-cg"),
        (int(NEWTON_MAX_WORK) // 100, 9, 2, "newton-cholesky"),
        (int(NEWTON_MAX_WORK) // 100 + 1, 9, 2, "lbfgs"),
    ],
)
def test_auto_goes_by_the_cost_of_a_hessian(n_rows, n_features, n_classes, expected):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(n_rows, n_features)), np.arange(n_rows) % n_classes
    assert TorchLogisticRegression(tol=0.1).fit(X, y).solver_ == expected


def test_auto_takes_conjugate_gradients_for_sparse_data():
    X, y = sparse.random_array((2_000, 400), density=0.01, rng=0), np.arange(2_000) % 2
    assert TorchLogisticRegression(tol=0.1).fit(X.tocsr(), y).solver_ == "newton-cg"


def test_docstring_states_the_thresholds():
    text = TorchLogisticRegression.__doc__
    assert f"up to P = {NEWTON_MAX_COEF} coefficients" in text
    assert f"exceeds {NEWTON_MAX_WORK:.0e}".replace("+0", "") in text


@pytest.mark.parametrize("name", SOLVERS)
def test_max_iter_defaults_to_the_solvers(name):
    X, y = np.random.default_rng(0).normal(size=(30, 3)), np.arange(30) % 2
    model = TorchLogisticRegression(solver=name).fit(X, y)
    assert model.net_.max_epochs == SOLVERS[name].max_iter


def test_queued_iterations_give_the_same_answer():
    """What runs on a GPU, with tensors on the CPU."""
    X, y = load_digits(return_X_y=True)
    expected = TorchLogisticRegression(solver="lbfgs", tol=1e-9).fit(X, y)
    queued = {"optimizer__check_every": QUEUED_ITERATIONS}
    model = TorchLogisticRegression(solver="lbfgs", tol=1e-9, net_params=queued).fit(X, y)
    assert model.optimality_ <= 1e-9
    assert model.suboptimality_ <= 1e-10
    assert model.net_.optimizer_.param_groups[0]["check_every"] == QUEUED_ITERATIONS
    assert_allclose(model.coef_, expected.coef_, rtol=0, atol=1e-6)
    assert model.n_iter_ <= 2 * expected.n_iter_
