"""Numerical extremes: finite and right, or a warning or an error that says why not."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import scale
from sklearn.utils.class_weight import compute_sample_weight

from tests.judge import judge
from torchlogreg import TorchLogisticRegression

SOLVERS = ["auto", "newton-cholesky", "newton-cg", "lbfgs", "prox-newton"]
over_solvers = pytest.mark.parametrize("solver", SOLVERS)
over_dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])


def data(n=300, d=5, n_classes=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    scores = X @ rng.normal(size=(d, n_classes)) + rng.gumbel(size=(n, n_classes))
    y = scores.argmax(axis=1)
    y[:n_classes] = np.arange(n_classes)
    return X, y


def check(X, y, weight=None, must_converge=True, **params):
    """Fit, and hold what the model says of itself against NumPy in float64."""
    if params.get("solver") == "prox-newton":
        params.setdefault("l1_ratio", 0.5)
    model = TorchLogisticRegression(**params)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, y, sample_weight=weight)
    assert np.isfinite(model.coef_).all()
    assert np.isfinite(model.intercept_).all()
    if model.class_weight is not None:
        weight = compute_sample_weight(model.class_weight, y)
    verdict = judge(model, X, y, weight)
    assert np.isfinite(model.predict_proba(X)).all()
    near = {"rel": 1e-3, "abs": verdict.rounding + 1e-3 * model.tol}
    assert model.optimality_ == pytest.approx(verdict.optimality, **near)
    has_warned = any(issubclass(w.category, ConvergenceWarning) for w in caught)
    assert has_warned or verdict.optimality <= model.tol + verdict.rounding
    assert not (must_converge and has_warned), str(caught[0].message)
    return model


@over_solvers
@over_dtypes
@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_column_of_1e30(solver, dtype, n_classes):
    X, y = data(n_classes=n_classes)
    X[:, 0] *= 1e30
    if dtype == "float32" and solver != "lbfgs":  # the square of the column is beyond float32
        with pytest.raises(ValueError, match=r"overflow torch\.float32.*Scale.*float64"):
            TorchLogisticRegression(solver=solver).fit(X.astype(dtype), y)
    else:
        check(X.astype(dtype), y, solver=solver, must_converge=False)


@over_solvers
@over_dtypes
@pytest.mark.parametrize("offset", [0.0, 1.0])
def test_a_column_of_variance_1e_20(solver, dtype, offset):
    X, y = data()
    X[:, 0] = offset + 1e-10 * X[:, 0]
    model = check(X.astype(dtype), y, solver=solver)
    assert np.abs(model.coef_[:, 0]).max() < 1e-3


@over_solvers
@pytest.mark.parametrize("n_classes", [2, 3])
def test_offsets_of_1e6_in_float32(solver, n_classes):
    X, y = data(n_classes=n_classes)
    check((X + 1e6).astype(np.float32), y, solver=solver, must_converge=False)


@over_solvers
@over_dtypes
@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array], ids=["dense", "sparse"])
def test_constant_columns_get_no_weight(solver, dtype, container):
    X, y = data()
    X[:, 1], X[:, 2] = 7.0, 0.0
    model = check(container(X.astype(dtype)), y, solver=solver, tol=1e-6)
    # The intercept, which costs nothing, does what a constant column could do.
    assert_allclose(model.coef_[:, 1:3], 0, atol=len(y) * model.tol)
    check(container(X.astype(dtype)), y, solver=solver, fit_intercept=False)


@over_solvers
@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array], ids=["dense", "sparse"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_duplicated_columns_get_equal_weights(solver, container, n_classes):
    X, y = data(n_classes=n_classes)
    X = np.hstack([X, X[:, :2]])
    model = check(container(X), y, solver=solver, tol=1e-10)
    assert_allclose(model.coef_[:, :2], model.coef_[:, 5:], rtol=0, atol=1e-8)


@pytest.mark.parametrize("solver", ["auto", "newton-cg", "lbfgs", "prox-newton"])
@over_dtypes
def test_twenty_rows_of_ten_thousand_columns(solver, dtype):
    X, y = data(20, 10_000)
    check(X.astype(dtype), y, solver=solver)


@over_dtypes
@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("l1_ratio", [0.0, 1e-3, 1.0])
@pytest.mark.parametrize("C", [1.0, 1e8])
def test_thousands_of_weights_that_are_not_zero(dtype, n_classes, l1_ratio, C):
    X, y = data(20, 3_000, n_classes)
    params = {"solver": "prox-newton", "l1_ratio": l1_ratio, "C": C}
    model = check(X.astype(dtype), y, **params)
    if l1_ratio == 1e-3:
        assert (model.coef_ != 0).sum() > 1_000


@pytest.mark.parametrize("solver", ["auto", "newton-cg", "lbfgs", "prox-newton"])
@over_dtypes
def test_a_thousand_classes(solver, dtype):
    X, y = data(5_000, 10, 1_000)
    check(X.astype(dtype), y, solver=solver)


@over_solvers
@over_dtypes
@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_one_row_among_a_hundred_thousand(solver, dtype, class_weight):
    X, _ = data(100_000, 3)
    y = (np.arange(len(X)) == 77).astype(int)
    model = check(X.astype(dtype), y, solver=solver, class_weight=class_weight, tol=1e-6)
    if class_weight is None:
        assert_allclose(model.predict_proba(X.astype(dtype))[:, 1].mean(), 1e-5, rtol=0.2)


@over_solvers
@over_dtypes
@pytest.mark.parametrize("C", [1e-12, 1e-6, 1e6, 1e12, np.inf])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_any_penalty_on_separable_data(solver, dtype, C, n_classes):
    X, y = data(100, 4, n_classes)
    X = np.hstack([X, 3.0 * np.eye(n_classes)[y]])
    model = check(X.astype(dtype), y, solver=solver, C=C, must_converge=False)
    if C >= 1e6:
        assert model.score(X.astype(dtype), y) == 1.0
    if C <= 1e-6:
        assert np.abs(model.coef_).max() < 1e-2


@over_solvers
@over_dtypes
@pytest.mark.parametrize("n_classes", [2, 3])
def test_weights_of_twenty_orders_of_magnitude(solver, dtype, n_classes):
    X, y = data(n_classes=n_classes)
    weight = 10 ** np.random.default_rng(0).uniform(-10, 10, len(y))
    check(X.astype(dtype), y, weight, solver=solver, C=1e-9, must_converge=False)


@over_solvers
@over_dtypes
def test_one_row_a_class(solver, dtype):
    X, y = data(12, 4, 12)
    y = np.arange(12)
    check(X.astype(dtype), y, solver=solver)


@over_solvers
@pytest.mark.parametrize("size", [1e4, 1e10, 1e13, 1e15])
def test_a_warm_start_at_huge_weights(solver, size):
    X, y = load_breast_cancer(return_X_y=True)
    X = scale(X)
    params = {"l1_ratio": 0.5} if solver == "prox-newton" else {}
    model = TorchLogisticRegression(solver=solver, C=0.01, warm_start=True, **params).fit(X, y)
    model.coef_ = size * np.random.default_rng(0).normal(size=model.coef_.shape)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, y)
    verdict = judge(model, X, y)
    assert caught or model.optimality_ == pytest.approx(verdict.optimality, rel=1e-3, abs=1e-7)
