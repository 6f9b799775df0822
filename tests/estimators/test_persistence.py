"""Pickles, joblib's files and skops' files: small, safe, and for any machine."""

import copy
import io
import pickle

import joblib
import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn.datasets import load_iris
from sklearn.exceptions import InconsistentVersionWarning

from torchlogreg import TorchLogisticRegression, TorchLogisticRegressionCV
from torchlogreg.estimators import persistence

X, Y = load_iris(return_X_y=True)


def through_pickle(model):
    return pickle.loads(pickle.dumps(model))


@pytest.fixture(params=[np.asarray, torch.as_tensor], ids=["array", "tensor"])
def container(request):
    return request.param


@pytest.mark.parametrize(
    "estimator",
    [
        TorchLogisticRegression(),
        TorchLogisticRegression(solver="adam", max_iter=3, tol=None),
        TorchLogisticRegressionCV(Cs=3, cv=3),
    ],
    ids=repr,
)
def test_what_is_loaded_predicts_the_same(estimator, container):
    model = estimator.fit(container(X), Y)
    twin = through_pickle(model)
    assert_array_equal(twin.predict_proba(container(X)), model.predict_proba(container(X)))
    assert type(twin.coef_) is type(model.coef_)
    assert type(twin.n_iter_) is type(model.n_iter_)


@pytest.mark.parametrize("store", [pickle.dumps, joblib.hash, lambda m: m.__getstate__()])
def test_what_is_stored_stays_as_it_is(store):
    model = TorchLogisticRegression().fit(X, Y)
    before = dict(model.__dict__)
    store(model)
    assert model.__dict__ == before
    assert len(model.history_)


def test_attributes_of_users_are_stored_as_they_are():
    model = TorchLogisticRegression().fit(X, Y)
    model.half_ = torch.ones(2, dtype=torch.bfloat16)
    model.parameter_ = torch.nn.Parameter(torch.ones(2))
    twin = through_pickle(model)
    assert twin.half_.dtype is torch.bfloat16
    assert isinstance(twin.parameter_, torch.nn.Parameter)


def test_sparse_coefficients_stay_sparse(container):
    model = TorchLogisticRegression(l1_ratio=1, C=0.1).fit(container(X), Y).sparsify()
    twin = through_pickle(model)
    assert type(twin.coef_) is type(model.coef_)
    assert_array_equal(twin.predict_proba(container(X)), model.predict_proba(container(X)))


def test_no_tensor_is_in_a_pickle():
    """Where there is none, ``torch.load`` and the device that it had are not asked for."""
    stored = pickle.dumps(TorchLogisticRegression().fit(torch.from_numpy(X), Y))

    class NoTorch(pickle.Unpickler):
        def find_class(self, module, name):
            assert not module.startswith("torch.")
            return super().find_class(module, name)

    NoTorch(io.BytesIO(stored)).load()


def test_a_model_of_a_device_that_is_not_there_is_loaded_on_the_cpu():
    model = TorchLogisticRegression().fit(torch.from_numpy(X), Y)
    state = model.__getstate__()
    assert state["_devices"]["coef_"] == "cpu"
    state["_devices"] = dict.fromkeys(state["_devices"], "cuda:97")
    twin = TorchLogisticRegression()
    twin.__setstate__(state)
    assert twin.coef_.device.type == "cpu"
    assert_array_equal(twin.coef_, model.coef_)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_pickle_of_mnist_is_as_large_as_its_coefficients(mnist, dtype):
    X_mnist, y = mnist.X_train[:2_000].astype(dtype), mnist.y_train[:2_000]
    model = TorchLogisticRegression(C=1e-3).fit(X_mnist, y)
    size = model.coef_.nbytes + model.intercept_.nbytes
    assert size == (784 + 1) * 10 * np.dtype(dtype).itemsize
    assert len(pickle.dumps(model)) <= 1.1 * size


def test_the_net_is_left_out_unless_partial_fit_goes_on_with_it():
    exact = through_pickle(TorchLogisticRegression().fit(X, Y))
    assert not hasattr(exact, "net_")
    assert not hasattr(exact, "history_")
    with pytest.raises(AttributeError, match=r"history_.*drop_training_state.*Fit again"):
        _ = exact.history_
    stream = through_pickle(
        TorchLogisticRegression(solver="adam").partial_fit(X, Y, classes=[0, 1, 2])
    )
    assert len(stream.history_) == 1
    assert len(stream.partial_fit(X, Y).history_) == 2


def test_a_warm_start_needs_the_coefficients_only():
    model = TorchLogisticRegression(warm_start=True, solver="newton-cg").fit(X, Y)
    assert through_pickle(model).fit(X, Y).n_iter_[0] <= 1


@pytest.mark.parametrize("solver", ["auto", "adam"])
def test_training_state_can_be_dropped(solver):
    model = TorchLogisticRegression(solver=solver, max_iter=20, tol=1e-1).fit(X, Y)
    before = model.predict_proba(X)
    assert model.drop_training_state() is model
    assert not hasattr(model, "net_")
    assert_array_equal(model.predict_proba(X), before)
    assert_array_equal(copy.copy(model).predict_proba(X), before)
    if solver == "adam":  # begins with a new optimizer at the same coefficients
        coef = model.coef_.copy()
        model.set_params(lr=1e-12).partial_fit(X, Y)
        np.testing.assert_allclose(model.coef_, coef, atol=1e-6)


def test_another_version_is_told(monkeypatch):
    stored = pickle.dumps(TorchLogisticRegression().fit(X, Y))
    monkeypatch.setattr(persistence, "__version__", "99.0")
    with pytest.warns(InconsistentVersionWarning, match=r"TorchLogisticRegression.*99\.0"):
        pickle.loads(stored)


@pytest.mark.parametrize("mmap_mode", [None, "r"])
def test_joblib_maps_the_coefficients(tmp_path, mmap_mode, container):
    model = TorchLogisticRegression().fit(container(X), Y)
    joblib.dump(model, tmp_path / "model.joblib")
    twin = joblib.load(tmp_path / "model.joblib", mmap_mode=mmap_mode)
    assert_array_equal(twin.predict_proba(container(X)), model.predict_proba(container(X)))
    assert twin.score(container(X), Y) == model.score(container(X), Y)


@pytest.mark.parametrize(
    "estimator",
    [TorchLogisticRegression(), TorchLogisticRegressionCV(Cs=3, cv=3)],
    ids=lambda e: type(e).__name__,
)
def test_skops_needs_to_trust_one_type(estimator, container):
    import skops.io

    model = estimator.fit(container(X), Y)
    stored = skops.io.dumps(model)
    kind = type(model)
    assert skops.io.get_untrusted_types(data=stored) == [f"{kind.__module__}.{kind.__name__}"]
    twin = skops.io.loads(stored, trusted=skops.io.get_untrusted_types(data=stored))
    assert_array_equal(twin.predict_proba(container(X)), model.predict_proba(container(X)))
