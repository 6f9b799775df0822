"""The same optimum as scikit-learn, judged by an independent objective."""

import warnings
from functools import cache
from itertools import product

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse
from sklearn.datasets import (
    load_breast_cancer,
    load_digits,
    load_iris,
    load_wine,
    make_classification,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import scale
from sklearn.utils.class_weight import compute_class_weight

from tests.judge import judge
from torchlogreg import TorchLogisticRegression

pytestmark = pytest.mark.usefixtures("one_blas_thread")

DATA = {
    "iris": lambda: load_iris(return_X_y=True),
    "wine": lambda: scaled(load_wine),
    "breast cancer": lambda: scaled(load_breast_cancer),
    "digits": lambda: load_digits(return_X_y=True),
}
VARIANTS = {
    "plain": {},
    "weighted": {"weighted": True},
    "balanced": {"class_weight": "balanced"},
    "all at once": {"weighted": True, "class_weight": {0: 3.0, 1: 0.5}, "fit_intercept": False},
}
FINITE_C = [1e-4, 1e-2, 1.0, 1e2, 1e4]


def scaled(load):
    X, y = load(return_X_y=True)
    return scale(X), y


@cache
def data_with_minimiser(name):
    """Half of the labels shuffled, rare pixels left out: no class can be separated."""
    X, y = DATA[name]()
    rng = np.random.default_rng(0)
    chosen = np.flatnonzero(rng.uniform(size=len(y)) < 0.5)
    y = y.copy()
    y[chosen] = y[rng.permutation(chosen)]
    return X[:, X.std(axis=0) > 0.3 * X.std()], y


def rounding(X):
    """Size of the rounding errors in a gradient of the mean loss."""
    return 100 * np.finfo(X.dtype).eps * np.abs(X).max()


def row_weights(y, weighted):
    return np.random.default_rng(1).uniform(0.1, 3.0, len(y)) if weighted else None


def objective(model, X, y, sample_weight):
    """Mean penalised loss, with the weights of the classes."""
    classes, codes = np.unique(y, return_inverse=True)
    weight = np.ones(len(y)) if sample_weight is None else sample_weight
    if model.class_weight is not None:
        per_class = compute_class_weight(
            model.class_weight, classes=classes, y=y, sample_weight=sample_weight
        )
        weight = weight * per_class[codes]
    return judge(model, X, y, weight).objective


def assert_same_optimum(X, y, solver, tol, *, C, weighted=False, **params):
    sample_weight = row_weights(y, weighted)
    reference = LogisticRegression(C=C, solver="newton-cholesky", tol=1e-14, max_iter=200, **params)
    with warnings.catch_warnings():  # it cannot always reach its tolerance
        warnings.simplefilter("ignore", ConvergenceWarning)
        reference.fit(X, y, sample_weight)
    model = TorchLogisticRegression(C=C, solver=solver, tol=tol, max_iter=20_000, **params).fit(
        X, y, sample_weight
    )
    best = objective(reference, X, y, sample_weight)
    assert objective(model, X, y, sample_weight) <= best * (1 + 1e-9)
    atol = 1e-5 * np.abs(reference.coef_).max()
    assert_allclose(model.coef_, reference.coef_, rtol=0, atol=atol)
    assert_allclose(
        model.intercept_,
        reference.intercept_,
        rtol=0,
        atol=1e-5 * max(np.abs(reference.intercept_).max(), np.abs(reference.coef_).max()),
    )


over_variants = pytest.mark.parametrize("variant", VARIANTS)


@over_variants
@pytest.mark.parametrize("C", FINITE_C)
@pytest.mark.parametrize("name", DATA)
def test_newton_finds_scikit_learns_minimiser(name, C, variant):
    X, y = DATA[name]()
    assert_same_optimum(X, y, "newton-cholesky", rounding(X), C=C, **VARIANTS[variant])


@over_variants
@pytest.mark.parametrize("name", DATA)
def test_newton_finds_scikit_learns_minimiser_without_penalty(name, variant):
    X, y = data_with_minimiser(name)
    assert_same_optimum(X, y, "newton-cholesky", rounding(X), C=np.inf, **VARIANTS[variant])


LBFGS_CASES = [
    *product(["iris", "wine", "breast cancer"], FINITE_C, VARIANTS),
    *product(["digits"], [1e-4, 1e-2, 1.0], ["all at once"]),
]


@pytest.mark.parametrize(("name", "C", "variant"), LBFGS_CASES)
def test_lbfgs_finds_scikit_learns_minimiser(name, C, variant):
    X, y = DATA[name]()
    assert_same_optimum(X, y, "lbfgs", 1e-11, C=C, **VARIANTS[variant])


@over_variants
@pytest.mark.parametrize("name", ["iris", "wine"])
def test_lbfgs_finds_scikit_learns_minimiser_without_penalty(name, variant):
    X, y = data_with_minimiser(name)
    assert_same_optimum(X, y, "lbfgs", 1e-11, C=np.inf, **VARIANTS[variant])


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("solver", ["newton-cholesky", "newton-cg", "lbfgs"])
@pytest.mark.parametrize("name", DATA)
def test_without_a_minimiser_the_objective_is_as_low_as_scikit_learns(name, solver):
    """These data are separable, in part or wholly: at C=inf only the infimum exists."""
    X, y = DATA[name]()
    reference = LogisticRegression(C=np.inf, tol=1e-6, max_iter=5000).fit(X, y)
    model = TorchLogisticRegression(C=np.inf, tol=1e-12, solver=solver).fit(X, y)
    assert objective(model, X, y, None) <= objective(reference, X, y, None) * (1 + 1e-9)
    assert np.isfinite(model.coef_).all()


@pytest.mark.parametrize("solver", ["newton-cholesky", "newton-cg", "lbfgs"])
@pytest.mark.parametrize("name", ["wine", "breast cancer", "digits"])
def test_separable_data_without_penalty_is_reported(name, solver):
    X, y = DATA[name]()
    model = TorchLogisticRegression(C=np.inf, solver=solver)
    with pytest.warns(ConvergenceWarning, match=r"separable and C=inf.*norm is .*finite C"):
        model.fit(X, y)
    assert model.score(X, y) == 1.0


def synthetic(n, d, n_classes):
    return make_classification(
        n, d, n_informative=d // 2, n_classes=n_classes, n_clusters_per_class=1, random_state=0
    )


def raw(X, y):
    return X * np.logspace(-2, 2, X.shape[1]), y


def bag_of_words():
    rng = np.random.default_rng(0)
    X = sparse.random_array((2000, 3000), density=0.01, rng=rng, format="csr")
    return X, (X @ rng.normal(size=(3000, 4))).argmax(axis=1)


COLLECTION = {
    **DATA,
    "raw wine": lambda: load_wine(return_X_y=True),
    "raw breast cancer": lambda: load_breast_cancer(return_X_y=True),
    "tall": lambda: synthetic(50_000, 20, 2),
    "tall, raw": lambda: raw(*synthetic(10_000, 20, 3)),
    "wide": lambda: synthetic(200, 5000, 2),
    "many classes": lambda: synthetic(5000, 60, 20),
    "sparse": bag_of_words,
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("C", [1e-2, 1.0, 1e2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", COLLECTION)
def test_at_the_same_tol_the_objective_is_as_low_as_scikit_learns(name, dtype, C):
    X, y = COLLECTION[name]()
    X = X.astype(dtype)
    model = TorchLogisticRegression(C).fit(X, y)
    reference = LogisticRegression(C=C, max_iter=1000).fit(X, y)
    X = X.astype("float64")
    theirs = objective(reference, X, y, None)
    rounding = (1e-9 if dtype == "float64" else 1e-6) * max(theirs, 0.01)
    assert objective(model, X, y, None) <= theirs + rounding


@pytest.mark.parametrize("name", COLLECTION)
def test_the_suboptimality_is_right_to_an_order_of_magnitude(name):
    X, y = COLLECTION[name]()
    model = TorchLogisticRegression(solver="lbfgs").fit(X, y)
    best = TorchLogisticRegression(solver="lbfgs", tol=1e-9, max_iter=5000).fit(X, y)
    gap = objective(model, X, y, None) - objective(best, X, y, None)
    assert 0 <= model.suboptimality_ <= 1e-5 * max(objective(best, X, y, None), 0.01)
    assert gap <= 30 * model.suboptimality_ + 1e-10


@pytest.mark.parametrize("solver", ["newton-cholesky", "newton-cg", "lbfgs"])
@pytest.mark.parametrize("name", DATA)
def test_weights_are_repetitions(name, solver):
    """Weights 0, 1 and 2 against dropping, keeping and repeating rows: 1e-7."""
    X, y = DATA[name]()
    weight = np.random.default_rng(0).integers(0, 3, len(y))
    C, tol = (1e-3, 1e-9) if name == "digits" else (1.0, 1e-11)
    model = TorchLogisticRegression(C, solver=solver, tol=tol, max_iter=20_000)
    weighted = model.fit(X, y, weight).coef_
    repeated = model.fit(np.repeat(X, weight, axis=0), np.repeat(y, weight)).coef_
    assert_allclose(weighted, repeated, rtol=1e-7, atol=1e-7)
