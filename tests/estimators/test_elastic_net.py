"""Penalties on absolute values: the minimiser, its zeros, and the number that proves it."""

import copy

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import SelectFromModel
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import scale

from tests.judge import judge
from torchlogreg import TorchLogisticRegression

pytestmark = pytest.mark.usefixtures("one_blas_thread")

over_ratios = pytest.mark.parametrize("l1_ratio", [0.1, 0.5, 1.0])


def breast_cancer():
    X, y = load_breast_cancer(return_X_y=True)
    return scale(X), y


def digits():
    X, y = load_digits(return_X_y=True)
    return X[::3] / 16, y[::3]


def words():
    """Counts of words, of which twenty have to do with the class."""
    rng = np.random.default_rng(0)
    X = sparse.random_array((300, 1_000), density=0.02, rng=rng, format="csr")
    scores = X[:, :20] @ rng.normal(size=(20, 3)) * 20
    return X, (scores + rng.gumbel(size=scores.shape)).argmax(axis=1)


DATA = {
    "iris": lambda: load_iris(return_X_y=True),
    "breast cancer": breast_cancer,
    "digits": digits,
    "words": words,
}


def theirs(X, y, C, l1_ratio, weight=None, **params):
    """scikit-learn's own, which gets there in the end."""
    model = LogisticRegression(
        C=C, l1_ratio=l1_ratio, solver="saga", tol=1e-10, max_iter=100_000, **params
    )
    return model.fit(X, y, weight)


@over_ratios
@pytest.mark.parametrize("C", [0.01, 0.1])
@pytest.mark.parametrize("name", DATA)
def test_the_minimiser_is_that_of_saga(name, C, l1_ratio):
    X, y = DATA[name]()
    weight = np.random.default_rng(1).uniform(0.1, 3.0, len(y))
    ours = TorchLogisticRegression(C=C, l1_ratio=l1_ratio, tol=1e-9).fit(X, y, weight)
    other = theirs(X, y, C, l1_ratio, weight)
    ours_is, other_is = judge(ours, X, y, weight), judge(other, X, y, weight)
    assert ours.solver_ == "prox-newton"
    assert ours_is.objective <= other_is.objective * (1 + 1e-12)
    assert ours_is.optimality <= 1e-9 + ours_is.rounding
    assert ours.optimality_ == pytest.approx(ours_is.optimality, abs=ours_is.rounding)
    # saga leaves what is tiny next to zero.
    assert_array_equal(ours.coef_ != 0, np.abs(other.coef_) > 1e-6 * np.abs(other.coef_).max())
    assert_allclose(ours.coef_, other.coef_, atol=1e-5 * np.abs(other.coef_).max())


@over_ratios
@pytest.mark.parametrize("C", [1.0, 100.0])
@pytest.mark.parametrize("name", DATA)
def test_weak_penalties_are_minimised_to_any_tolerance(name, C, l1_ratio):
    X, y = DATA[name]()
    model = TorchLogisticRegression(C=C, l1_ratio=l1_ratio, tol=1e-9).fit(X, y)
    found = judge(model, X, y)
    assert found.optimality <= 1e-9 + found.rounding


@over_ratios
@pytest.mark.parametrize("name", DATA)
def test_at_the_same_tol_the_objective_is_not_above_sagas(name, l1_ratio):
    X, y = DATA[name]()
    for tol in (1e-2, 1e-4):
        ours = TorchLogisticRegression(l1_ratio=l1_ratio, tol=tol).fit(X, y)
        other = LogisticRegression(l1_ratio=l1_ratio, solver="saga", tol=tol, max_iter=10_000)
        other.fit(X, y)
        assert judge(ours, X, y).objective <= judge(other, X, y).objective * (1 + 1e-6)


@pytest.mark.parametrize(
    "params", [{"fit_intercept": False}, {"class_weight": "balanced"}], ids=str
)
def test_intercept_and_class_weights_are_scikit_learns(params):
    X, y = load_iris(return_X_y=True)
    y = np.minimum(y, 1) if "class_weight" in params else y
    ours = TorchLogisticRegression(C=0.1, l1_ratio=0.5, tol=1e-9, **params).fit(X, y)
    other = theirs(X, y, 0.1, 0.5, **params)
    assert_allclose(ours.coef_, other.coef_, atol=1e-6)
    assert_allclose(ours.intercept_, other.intercept_, atol=1e-4)


def test_the_intercept_has_no_penalty():
    X, y = breast_cancer()
    model = TorchLogisticRegression(C=1e-6, l1_ratio=1.0, tol=1e-9).fit(X, y)
    assert (model.coef_ == 0).all()
    assert_allclose(model.intercept_, np.log(y.mean() / (1 - y.mean())), rtol=1e-6)


@pytest.mark.parametrize("far", [0.0, 100.0])
def test_intercepts_of_classes_sum_to_zero(far):
    X, y = load_iris(return_X_y=True)
    model = TorchLogisticRegression(C=0.1, l1_ratio=1.0, tol=1e-8).fit(X + far, y)
    assert abs(model.intercept_.sum()) < 1e-9 * (1 + far)


def test_a_gap_is_an_estimate_of_the_excess():
    X, y = digits()
    best = judge(TorchLogisticRegression(l1_ratio=1.0, tol=1e-10).fit(X, y), X, y).objective
    model = TorchLogisticRegression(l1_ratio=1.0, tol=1e-2).fit(X, y)
    excess = judge(model, X, y).objective - best
    assert 0 <= excess <= 10 * model.suboptimality_


@pytest.mark.parametrize("l1_ratio", [0.5, 1.0])
def test_float32_has_the_same_zeros(l1_ratio):
    X, y = digits()
    params = {"C": 0.1, "l1_ratio": l1_ratio}
    wide = TorchLogisticRegression(tol=1e-8, **params).fit(X, y)
    narrow = TorchLogisticRegression(tol=1e-5, **params).fit(X.astype(np.float32), y)
    assert narrow.coef_.dtype == np.float32
    assert np.mean((narrow.coef_ != 0) == (wide.coef_ != 0)) > 0.995
    assert_allclose(narrow.coef_, wide.coef_, atol=1e-3)


def test_large_float64_data_starts_in_float32():
    X, y = make_classification(6_000, 60, n_informative=10, n_classes=3, random_state=0)
    model = TorchLogisticRegression(C=0.01, l1_ratio=1.0, tol=1e-9).fit(X, y)
    assert judge(model, X, y).optimality <= 1e-9
    assert 0 < (model.coef_ != 0).sum() < model.coef_.size


def test_a_warm_start_begins_at_the_solution():
    X, y = digits()
    model = TorchLogisticRegression(C=0.1, l1_ratio=1.0, warm_start=True, tol=1e-6).fit(X, y)
    coef, n_cold = model.coef_.copy(), model.n_iter_[0]
    model.fit(X, y)
    assert model.n_iter_[0] <= 2 < n_cold
    assert_allclose(model.coef_, coef, atol=1e-4)


def test_tensors_give_tensors():
    X, y = load_iris(return_X_y=True)
    model = TorchLogisticRegression(C=0.1, l1_ratio=1.0).fit(torch.from_numpy(X), y)
    assert isinstance(model.coef_, torch.Tensor)
    assert (model.coef_ == 0).any()


@pytest.mark.parametrize("solver", ["lbfgs", "newton-cg", "newton-cholesky"])
def test_solvers_without_zeros_refuse_before_any_work(solver):
    X, y = load_iris(return_X_y=True)
    model = TorchLogisticRegression(l1_ratio=0.5, solver=solver)
    with pytest.raises(ValueError, match=rf"l1_ratio=0.5: solver='{solver}' takes l1_ratio=0 only"):
        model.fit(X, y)


@pytest.mark.parametrize("l1_ratio", [-0.1, 1.1, "1"])
def test_ratios_outside_are_named(l1_ratio):
    with pytest.raises(ValueError, match="'l1_ratio' parameter"):
        TorchLogisticRegression(l1_ratio=l1_ratio).fit([[0.0], [1.0]], [0, 1])


def test_without_a_penalty_the_ratio_has_no_effect_and_says_so():
    X, y = DATA["iris"]()
    y = (y + np.arange(len(y)) % 7 == 1).astype(int)
    with pytest.warns(UserWarning, match=r"l1_ratio=0.5 has no effect with C=np.inf"):
        model = TorchLogisticRegression(C=np.inf, l1_ratio=0.5).fit(X, y)
    plain = TorchLogisticRegression(C=np.inf).fit(X, y)
    assert_array_equal(model.coef_, plain.coef_)
    assert model.solver_ == "newton-cholesky"


def test_the_solver_takes_ridge_penalties_too():
    X, y = breast_cancer()
    ours = TorchLogisticRegression(solver="prox-newton", tol=1e-9).fit(X, y)
    plain = TorchLogisticRegression(tol=1e-9).fit(X, y)
    assert_allclose(ours.coef_, plain.coef_, atol=1e-6)


def test_too_few_iterations_warn():
    X, y = digits()
    with pytest.warns(
        ConvergenceWarning, match="prox-newton failed to converge after 2 iterations"
    ):
        TorchLogisticRegression(l1_ratio=1.0, max_iter=2).fit(X, y)


def test_columns_without_a_use_are_left_out():
    """Constant, all zero and doubled columns; on scales from 1e-3 to 1e3."""
    X, y = load_iris(return_X_y=True)
    X = np.hstack([X, X, np.zeros((150, 1)), np.ones((150, 1))]) * np.logspace(-3, 3, 10)
    model = TorchLogisticRegression(l1_ratio=1.0, C=10.0, tol=1e-7).fit(X, y)
    assert judge(model, X, y).optimality <= 1e-7
    assert (model.coef_[:, 8] == 0).all()


def test_more_columns_than_fit_a_square_matrix():
    rng = np.random.default_rng(0)
    X = sparse.random_array((400, 50_000), density=1e-3, rng=rng, format="csr")
    y = np.asarray(X[:, :30].sum(axis=1) > X[:, 30:60].sum(axis=1)).ravel().astype(int)
    model = TorchLogisticRegression(C=5.0, l1_ratio=1.0, tol=1e-7).fit(X, y)
    assert judge(model, X, y).optimality <= 1e-7
    assert 0 < (model.coef_ != 0).sum() < 400


# sparse coefficients


@pytest.mark.parametrize(
    "make", [np.asarray, sparse.csr_matrix, torch.from_numpy], ids=lambda f: f.__name__
)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_sparse_coefficients_predict_the_same(make, n_classes):
    X, y = load_iris(return_X_y=True)
    y = np.minimum(y, n_classes - 1)
    X = make(X)
    model = TorchLogisticRegression(C=0.1, l1_ratio=1.0).fit(X, y)
    dense, proba = model.coef_, model.predict_proba(X)
    assert model.sparsify() is model
    is_sparse = model.coef_.layout is torch.sparse_csr if isinstance(dense, torch.Tensor) else None
    assert is_sparse or sparse.issparse(model.coef_)
    assert_allclose(model.predict_proba(X), proba, atol=1e-14)
    assert_array_equal(model.sparsify().predict(X), model.predict(X))
    assert model.module_.weight.shape == dense.shape
    assert model.densify() is model
    assert_array_equal(model.densify().coef_, dense)


@pytest.mark.parametrize("make", [np.asarray, torch.as_tensor])
def test_sparse_coefficients_can_be_copied(make):
    X, y = (make(part) for part in load_iris(return_X_y=True))
    model = TorchLogisticRegression(C=0.1, l1_ratio=1.0).fit(X, y).sparsify()
    twin = copy.deepcopy(model)
    assert twin.coef_ is not model.coef_
    assert_array_equal(twin.densify().predict_proba(X), model.densify().predict_proba(X))


def test_partial_fit_goes_on_from_sparse_coefficients():
    X, y = load_iris(return_X_y=True)
    model = TorchLogisticRegression(solver="sgd", tol=None, max_iter=3).fit(X, y).sparsify()
    assert model.partial_fit(X, y).coef_.shape == (3, 4)


def test_a_fit_may_start_at_sparse_coefficients():
    X, y = load_iris(return_X_y=True)
    model = TorchLogisticRegression(C=0.1, l1_ratio=1.0, warm_start=True).fit(X, y).sparsify()
    model.fit(X, y)
    assert isinstance(model.coef_, np.ndarray)


def test_features_are_selected_by_their_zeros():
    X, y = breast_cancer()
    model = TorchLogisticRegression(C=0.05, l1_ratio=1.0)
    selector = SelectFromModel(model).fit(X, y)
    kept = selector.get_support()
    assert_array_equal(kept, (selector.estimator_.coef_ != 0).any(axis=0))
    assert 0 < kept.sum() < X.shape[1]
    pipeline = make_pipeline(SelectFromModel(model), TorchLogisticRegression()).fit(X, y)
    assert pipeline.score(X, y) > 0.9
