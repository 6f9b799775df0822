"""Code written for scikit-learn's estimator: what is taken, and errors that say what is instead."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from torchlogreg import TorchLogisticRegression, TorchLogisticRegressionCV

X, Y = load_iris(return_X_y=True)
FOREIGN = [
    ({"penalty": "l1"}, "l1_ratio"),
    ({"dual": False}, "Leave dual out"),
    ({"intercept_scaling": 2.0}, "never penalised"),
    ({"n_jobs": 2}, r"torch\.set_num_threads"),
    ({"multi_class": "ovr"}, "OneVsRestClassifier"),
    ({"use_legacy_attributes": False}, "layout"),
]
both = pytest.mark.parametrize("kind", [TorchLogisticRegression, TorchLogisticRegressionCV])


@both
@pytest.mark.parametrize(("params", "remedy"), FOREIGN)
def test_foreign_parameters_get_an_error_that_names_the_replacement(kind, params, remedy):
    (name,) = params
    with pytest.raises(TypeError, match=rf"{kind.__name__} has no parameter '{name}'.*{remedy}"):
        kind(**params)
    with pytest.raises(ValueError, match=rf"{kind.__name__} has no parameter '{name}'.*{remedy}"):
        kind().set_params(**params)


def test_a_subclass_may_have_them():
    class Own(TorchLogisticRegression):
        def __init__(self, C=1.0, *, n_jobs=None, tol=1e-4):
            super().__init__(C, tol=tol)
            self.n_jobs = n_jobs

    assert Own(n_jobs=2).set_params(n_jobs=3).get_params()["n_jobs"] == 3


@both
@pytest.mark.parametrize("solver", ["liblinear", "sag", "saga"])
def test_foreign_solvers_get_an_error_that_names_the_replacement(kind, solver):
    with pytest.raises(ValueError, match=rf"solver='{solver}'.*solver='auto'"):
        kind(solver=solver).fit(X, Y)


@both
def test_other_unknown_names_are_python_s_and_scikit_learn_s_errors(kind):
    with pytest.raises(TypeError, match="banana"):
        kind(banana=1)
    with pytest.raises(ValueError, match="banana"):
        kind().set_params(banana=1)
    with pytest.raises(ValueError, match=r"solver.*banana"):
        kind(solver="banana").fit(X, Y)


@both
def test_the_constructor_shows_its_parameters(kind):
    import inspect

    assert list(kind().get_params()) == sorted(inspect.signature(kind).parameters)


@pytest.mark.parametrize("solver", ["newton-cholesky", "newton-cg", "lbfgs", "prox-newton", "sgd"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_no_iteration_is_the_model_at_zero(solver, n_classes):
    X_few, y = X[n_classes > Y], Y[n_classes > Y]
    with pytest.warns(ConvergenceWarning, match=r"after 0 iterations|0 epochs|max_iter"):
        model = TorchLogisticRegression(solver=solver, max_iter=0).fit(X_few, y)
    assert_array_equal(model.n_iter_, [0])
    assert not model.coef_.any()
    assert not model.intercept_.any()
    assert_array_equal(model.predict_proba(X_few), np.full((len(y), n_classes), 1 / n_classes))
    assert len(model.history_) == 0


def test_no_iteration_keeps_a_warm_start():
    model = TorchLogisticRegression(warm_start=True).fit(X, Y)
    coef = model.coef_.copy()
    model.set_params(max_iter=0).fit(X, Y)
    np.testing.assert_allclose(model.coef_, coef, rtol=1e-12)
    assert model.n_iter_[0] == 0


def test_attributes_have_scikit_learns_shapes_and_types():
    for y in (Y, Y > 0):
        ours, theirs = TorchLogisticRegression(), LogisticRegression(solver="newton-cg")
        ours.fit(X, y)
        theirs.fit(X, y)
        for name in ("coef_", "intercept_", "classes_", "n_iter_"):
            mine, other = getattr(ours, name), getattr(theirs, name)
            assert (mine.shape, mine.dtype) == (other.shape, other.dtype), name
        assert ours.n_features_in_ == theirs.n_features_in_
