"""The registry and the choice of "auto"."""

import numpy as np
import pytest

from torchlogreg import TorchLogisticRegression
from torchlogreg.solvers import NEWTON_MAX_COEF, SOLVERS, resolve


def test_names_are_their_keys():
    assert all(name == solver.name for name, solver in SOLVERS.items())
    assert all(resolve(name, 10**9).name == name for name in SOLVERS)


@pytest.mark.parametrize(
    ("n_features", "n_classes", "expected"),
    [
        (NEWTON_MAX_COEF - 1, 2, "newton-cholesky"),
        (NEWTON_MAX_COEF, 2, "lbfgs"),
        (NEWTON_MAX_COEF // 3 - 1, 3, "newton-cholesky"),
        (NEWTON_MAX_COEF // 3, 3, "lbfgs"),
    ],
)
def test_auto_goes_by_the_number_of_coefficients(n_features, n_classes, expected):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, n_features)), np.arange(30) % n_classes
    assert TorchLogisticRegression().fit(X, y).solver_ == expected


def test_docstring_states_the_threshold():
    assert f"up to {NEWTON_MAX_COEF} coefficients" in TorchLogisticRegression.__doc__


@pytest.mark.parametrize("name", SOLVERS)
def test_max_iter_defaults_to_the_solvers(name):
    X, y = np.random.default_rng(0).normal(size=(30, 3)), np.arange(30) % 2
    model = TorchLogisticRegression(solver=name).fit(X, y)
    assert model.net_.max_epochs == SOLVERS[name].max_iter
