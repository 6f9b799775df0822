"""Arrays of any library: results come in the library, the dtype and on the device of X."""

import array_api_strict
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn import config_context
from sklearn.datasets import load_iris
from sklearn.utils import estimator_checks

from tests.at_hand import IS_OLD, needs_same_library
from torchlogreg import (
    BatchedGridSearchCV,
    TorchLogisticRegression,
    TorchLogisticRegressionCV,
    logistic_regression_path,
)

X, Y = load_iris(return_X_y=True)
METHODS = ("decision_function", "predict_proba", "predict_log_proba", "predict")


def same(mine, expected):
    assert_allclose(np.asarray(mine), np.asarray(expected), rtol=1e-8, atol=1e-10)


@pytest.fixture(scope="module")
def reference():
    return TorchLogisticRegression(tol=1e-9).fit(X, Y)


@pytest.mark.parametrize(
    "order", ["C", "F", "strided", "read-only", "memory map", "reversed", "unaligned"]
)
@pytest.mark.parametrize("dtype", ["float64", "float32", "int32", "float16", ">f8"])
def test_arrays_of_any_kind(order, dtype, tmp_path):
    values = np.asarray((X * 10).round(), dtype=dtype)
    tol = 1e-5 if dtype == "float32" else 1e-6  # of ten such sets, float32 resolves 1e-6 for eight
    plain = TorchLogisticRegression(tol=tol).fit(values, Y)
    given = {
        "C": lambda: values.copy("C"),
        "F": lambda: values.copy("F"),
        "strided": lambda: np.repeat(values, 2, axis=0)[::2],
        "read-only": values.copy,
        "memory map": lambda: np.memmap(tmp_path / "X", dtype, "w+", shape=values.shape),
        "reversed": lambda: values[::-1].copy()[::-1],
        "unaligned": lambda: np.ndarray(values.shape, dtype, bytearray(values.nbytes + 1), 1),
    }[order]()
    given[...] = values
    if order in ("read-only", "memory map"):
        given.flags.writeable = False
    before = given.copy()
    model = TorchLogisticRegression(tol=tol).fit(given, Y)
    assert_allclose(model.coef_, plain.coef_, rtol=1e-3, atol=1e-4)
    assert model.coef_.dtype == (np.float32 if dtype == "float32" else np.float64)
    model.predict_proba(given)
    assert_array_equal(given, before)


@pytest.mark.parametrize("kind", ["csr", "csc", "coo"])
@pytest.mark.parametrize("suffix", ["array", "matrix"])
@pytest.mark.parametrize("index", ["int32", "int64"])
def test_sparse_formats_and_indices(kind, suffix, index, reference):
    given = getattr(sparse, f"{kind}_{suffix}")(X)
    for name in ("indices", "indptr"):
        if hasattr(given, name):
            setattr(given, name, getattr(given, name).astype(index))
    if kind == "coo":
        given.coords = tuple(part.astype(index) for part in given.coords)
    model = TorchLogisticRegression(tol=1e-9).fit(given, Y)
    same(model.coef_, reference.coef_)
    for method in METHODS:
        same(getattr(model, method)(given), getattr(reference, method)(X))


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_data_frames_keep_their_names(frame, reference):
    given = frame({f"x{i}": X[:, i] for i in range(4)})
    model = TorchLogisticRegression(tol=1e-9).fit(given, Y)
    same(model.coef_, reference.coef_)
    assert list(model.feature_names_in_) == ["x0", "x1", "x2", "x3"]
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame({f"z{i}": X[:, i] for i in range(4)}))


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("layout", ["dense", "csr"])
def test_tensors_come_back_as_tensors_without_a_switch(requires_grad, layout, reference):
    given = torch.tensor(X, requires_grad=requires_grad)
    given = given if layout == "dense" else given.detach().to_sparse_csr()
    model = TorchLogisticRegression(tol=1e-9).fit(given, torch.from_numpy(Y))
    assert all(isinstance(part, torch.Tensor) for part in (model.coef_, model.n_iter_))
    same(model.coef_, reference.coef_)
    for method in METHODS:
        result = getattr(model, method)(given)
        assert isinstance(result, torch.Tensor)
        assert not result.requires_grad
        same(result, getattr(reference, method)(X))


def strict(array):
    return array_api_strict.asarray(np.asarray(array))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weighted", [False, True])
def test_another_library_gets_its_own_arrays(dtype, weighted):
    weight = np.linspace(0.5, 2, len(Y)) if weighted else None
    plain = TorchLogisticRegression(tol=1e-6, class_weight="balanced")
    plain.fit(X.astype(dtype), Y, weight)
    given = strict(X.astype(dtype))
    with config_context(array_api_dispatch=True):
        model = TorchLogisticRegression(tol=1e-6, class_weight="balanced", warm_start=True)
        model.fit(given, strict(Y), None if weight is None else strict(weight))
        for part in (model.coef_, model.intercept_, model.n_iter_):
            assert part.__array_namespace__().__name__ == "array_api_strict"
        assert model.coef_.dtype == given.dtype
        for method in METHODS:
            result = getattr(model, method)(given)
            assert result.__array_namespace__().__name__ == "array_api_strict"
            assert_allclose(
                np.asarray(result), getattr(plain, method)(X.astype(dtype)), rtol=1e-4, atol=1e-5
            )
        assert model.score(given, strict(Y)) == plain.score(X, Y)
        assert model.fit(given, strict(Y)).n_iter_.shape == (1,)
        labels = np.array(["a", "b", "c"])[Y]
        assert set(TorchLogisticRegression().fit(given, labels).predict(given)) <= set("abc")


@needs_same_library
@pytest.mark.parametrize("method", METHODS)
def test_another_library_than_in_fit_is_refused_under_dispatch(method):
    with config_context(array_api_dispatch=True):
        model = TorchLogisticRegression().fit(strict(X), strict(Y))
        with pytest.raises(ValueError, match=rf"{method}\(\) must use the same namespace"):
            getattr(model, method)(X)


def test_searches_and_paths_take_them_too():
    with config_context(array_api_dispatch=True):
        model = TorchLogisticRegressionCV(Cs=3, cv=3).fit(strict(X), strict(Y))
        assert model.coef_.__array_namespace__().__name__ == "array_api_strict"
        assert model.coefs_paths_.__array_namespace__().__name__ == "array_api_strict"
        path = logistic_regression_path(strict(X), strict(Y), n_Cs=3)
        assert path.coefs.__array_namespace__().__name__ == "array_api_strict"
    search = BatchedGridSearchCV(TorchLogisticRegression(), {"C": [0.1, 1.0]}, cv=3)
    search.fit(torch.from_numpy(X), torch.from_numpy(Y))
    assert isinstance(search.best_estimator_.coef_, torch.Tensor)


COMBINATIONS = [
    (namespace, dtype)
    for namespace in ("torch", "array_api_strict")
    for dtype in ("float32", "float64")
]


@needs_same_library
@pytest.mark.parametrize("solver", ["newton-cholesky", "newton-cg", "lbfgs", "prox-newton"])
@pytest.mark.parametrize(("namespace", "dtype"), COMBINATIONS)
@pytest.mark.parametrize("weighted", [False, True])
def test_scikit_learns_compliance_check_with_values(solver, namespace, dtype, weighted):
    check = estimator_checks.check_array_api_input_and_values
    check(
        "TorchLogisticRegression",
        TorchLogisticRegression(C=0.1, solver=solver, tol=1e-6),
        array_namespace=namespace,
        dtype_name=dtype,
        device_name="cpu" if namespace == "torch" else None,
        check_sample_weight=weighted,
    )


def test_dispatch_changes_nothing_for_the_rest(reference):
    with config_context(array_api_dispatch=True):
        # scikit-learn 1.8 refuses lists under dispatch.
        lists, labels = ([], Y) if IS_OLD else ([X.tolist()], Y.tolist())
        for given in (*lists, pd.DataFrame(X), sparse.csr_array(X), X):
            model = TorchLogisticRegression(tol=1e-9).fit(given, labels)
            assert isinstance(model.coef_, np.ndarray)
            same(model.predict_proba(given), reference.predict_proba(X))
