"""Paths: one model after the other."""

from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import scale

from tests.judge import judge
from torchlogreg import TorchLogisticRegression, logistic_regression_path


def iris():
    return load_iris(return_X_y=True)


def breast_cancer():
    X, y = load_breast_cancer(return_X_y=True)
    return scale(X), y


@pytest.mark.parametrize("l1_ratio", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("load", [iris, breast_cancer])
def test_every_model_is_that_of_the_estimator(load, l1_ratio):
    X, y = load()
    weight = np.random.default_rng(0).uniform(0.5, 2.0, len(y))
    path = logistic_regression_path(X, y, n_Cs=6, l1_ratio=l1_ratio, sample_weight=weight, tol=1e-8)
    assert (np.diff(path.Cs) > 0).all()
    assert path.coefs.shape == (6, *path.coefs.shape[1:])
    for i, C in enumerate(path.Cs):
        model = TorchLogisticRegression(C=C, l1_ratio=l1_ratio, tol=1e-8).fit(X, y, weight)
        found = judge(model, X, y, weight)
        assert_allclose(path.coefs[i], model.coef_, atol=1e-4)
        assert path.objectives[i] == pytest.approx(found.objective, rel=1e-9)
        assert path.n_nonzero[i] == (path.coefs[i] != 0).sum()
        assert path.optimality[i] <= 1e-8
        model.coef_, model.intercept_ = path.coefs[i], path.intercepts[i]
        assert judge(model, X, y, weight).optimality <= 1e-8 + found.rounding
    assert_array_equal(path.classes, np.unique(y))


@pytest.mark.parametrize("l1_ratio", [0.5, 1.0])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_a_path_begins_where_everything_is_zero(l1_ratio, fit_intercept):
    X, y = breast_cancer()
    path = logistic_regression_path(X, y, n_Cs=3, l1_ratio=l1_ratio, fit_intercept=fit_intercept)
    assert path.n_nonzero[0] == 0
    assert path.n_nonzero[1] > 0
    assert path.Cs[-1] / path.Cs[0] == pytest.approx(1e3)
    little = logistic_regression_path(
        X, y, Cs=[path.Cs[0] * 1.01], l1_ratio=l1_ratio, fit_intercept=fit_intercept, tol=1e-8
    )
    assert little.n_nonzero[0] > 0


def test_given_penalties_are_sorted():
    X, y = iris()
    path = logistic_regression_path(X, y, Cs=[1.0, 0.01, 0.1])
    assert_array_equal(path.Cs, [0.01, 0.1, 1.0])
    with pytest.raises(FrozenInstanceError):
        path.Cs = path.Cs


def test_a_warm_start_saves_iterations():
    X, y = breast_cancer()
    path = logistic_regression_path(X, y, n_Cs=20)
    cold = [TorchLogisticRegression(C=C, l1_ratio=1.0).fit(X, y).n_iter_[0] for C in path.Cs]
    assert path.n_iter.sum() < 0.7 * sum(cold)


def test_tensors_and_sparse_matrices_are_welcome():
    X, y = iris()
    plain = logistic_regression_path(X, y, n_Cs=3)
    tensor = logistic_regression_path(torch.from_numpy(X), y, n_Cs=3)
    assert isinstance(tensor.coefs, torch.Tensor)
    assert isinstance(tensor.intercepts, torch.Tensor)
    assert_allclose(tensor.coefs, plain.coefs, atol=1e-12)
    csr = logistic_regression_path(sparse.csr_matrix(X), y, n_Cs=3, tol=1e-8)
    assert_allclose(csr.objectives, plain.objectives, rtol=1e-5)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"Cs": [0.0, 1.0]}, "Cs=.* must be positive and finite"),
        ({"Cs": [np.inf]}, "Cs=.* must be positive and finite"),
        ({"Cs": []}, "Cs=.* one or more"),
        ({"n_Cs": 0}, "The 'n_Cs' parameter"),
        ({"eps": 2.0}, "The 'eps' parameter"),
        ({"l1_ratio": 1.5}, "The 'l1_ratio' parameter"),
        ({"solver": "sgd"}, "The 'solver' parameter"),
        ({"solver": "lbfgs", "l1_ratio": 0.5}, "solver='lbfgs' takes l1_ratio=0 only"),
    ],
)
def test_bad_parameters_are_named(params, message):
    with pytest.raises(ValueError, match=message):
        logistic_regression_path(*iris(), **params)


@pytest.mark.parametrize("X", [np.zeros((10, 2)), np.ones((10, 2))], ids=["zeros", "ones"])
def test_data_without_a_use_is_named(X):
    with pytest.raises(ValueError, match="no column of X has to do with"):
        logistic_regression_path(X, np.arange(10) > 2)


def test_a_start_that_is_nearly_good_enough_is_judged_by_its_objective():
    """Between penalties that differ by less than tol, the gradient alone would not tell."""
    X, y = breast_cancer()
    Cs = [20.0, 30.0]
    path = logistic_regression_path(X, y, Cs=Cs)
    for i, C in enumerate(Cs):
        best = logistic_regression_path(X, y, Cs=[C], tol=1e-9).objectives[0]
        assert path.objectives[i] <= best * (1 + 1e-5)


def test_models_that_fall_short_are_named():
    with pytest.warns(ConvergenceWarning, match=r"failed to converge for \d+ of 5 Cs"):
        logistic_regression_path(*iris(), n_Cs=5, max_iter=1)
