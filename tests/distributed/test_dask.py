"""Fits on a Dask cluster of two processes: what one process finds with all of the rows."""

import importlib
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from threading import Lock

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from distributed import Client, LocalCluster, wait
from joblib import parallel_config
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_val_score

from tests.at_hand import needs_callbacks
from tests.distributed.deaths import DiesOnce
from torchlogreg import TorchLogisticRegression, TorchLogisticRegressionCV
from torchlogreg.distributed.dask import decision_function, fit, predict, predict_proba

IRIS = load_iris()
X, Y = IRIS.data, IRIS.target  # sorted: the last partitions alone have the third class
NAMES = IRIS.target_names[Y].astype(object)
WEIGHT = np.random.default_rng(0).uniform(0, 2, len(Y))
UNEQUAL = (70, 5, 40, 35)
TIGHT = {"tol": 1e-10}


@pytest.fixture(scope="module")
def client():
    with (
        LocalCluster(
            processes=True, n_workers=2, threads_per_worker=1, dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def on_workers(client, *arrays, chunks=UNEQUAL):
    """Put rows on the workers: partitions on one and the other in turn."""
    workers = sorted(client.nthreads())
    rows = np.cumsum((0, *chunks))
    placed = []
    for array in arrays:
        parts = [
            client.scatter(array[start:end], workers=[workers[number % 2]], hash=False)
            for number, (start, end) in enumerate(pairwise(rows))
        ]
        placed.append(
            da.concatenate(
                [
                    da.from_delayed(dask.delayed(part), (size, *array.shape[1:]), array.dtype)
                    for part, size in zip(parts, chunks, strict=True)
                ]
            )
        )
    return placed


def assert_same(model, expected):
    assert_array_equal(model.classes_, expected.classes_)
    assert_allclose(model.coef_, expected.coef_, rtol=1e-8, atol=1e-8)
    assert_allclose(model.intercept_, expected.intercept_, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("solver", ["newton-cholesky", "lbfgs"])
def test_arrays_in_unequal_partitions_with_a_class_that_one_worker_has(client, solver):
    model = TorchLogisticRegression(solver=solver, **TIGHT)
    assert fit(model, *on_workers(client, X, Y), client=client) is model
    assert_same(model, TorchLogisticRegression(solver=solver, **TIGHT).fit(X, Y))
    assert model.solver_ == solver


def test_weights(client):
    model = TorchLogisticRegression(class_weight="balanced", **TIGHT)
    fit(model, *on_workers(client, X, Y, WEIGHT), client=client)
    one = TorchLogisticRegression(class_weight="balanced", **TIGHT).fit(X, Y, WEIGHT)
    assert_same(model, one)


def test_frame_with_string_labels(client):
    frame = pd.DataFrame(X, columns=IRIS.feature_names).assign(kind=NAMES, weight=WEIGHT)
    lazy = dd.from_pandas(frame, npartitions=3)
    given = [lazy[IRIS.feature_names], lazy["kind"], lazy["weight"]]
    model = fit(TorchLogisticRegression(**TIGHT), *given)
    one = TorchLogisticRegression(**TIGHT).fit(frame[IRIS.feature_names], NAMES, WEIGHT)
    assert_same(model, one)
    assert_array_equal(model.feature_names_in_, IRIS.feature_names)
    labels = predict(model, given[0])
    assert_array_equal(labels.compute(), one.predict(frame[IRIS.feature_names]))
    assert labels.dtype == labels.compute().dtype


def test_partitions_stay_where_they_are(client):
    def n_transfers():
        return client.run(lambda dask_worker: dask_worker.state.transfer_incoming_count_total)

    rows = on_workers(client, X, Y, WEIGHT)
    before = n_transfers()
    fit(TorchLogisticRegression(), *rows, client=client)
    assert n_transfers() == before


def test_sparse_blocks_in_chunks_of_columns(client):
    lazy = da.from_array(X, chunks=(50, 2)).map_blocks(sparse.csr_matrix)
    labels = da.from_array(Y, chunks=50)
    model = fit(TorchLogisticRegression(**TIGHT), lazy, labels, client=client)
    assert_same(model, TorchLogisticRegression(**TIGHT).fit(sparse.csr_matrix(X), Y))


@pytest.mark.parametrize("is_list", [True, False])
def test_folds_are_counted_in_the_order_of_the_rows(client, is_list):
    order = np.random.default_rng(1).permutation(len(Y))
    cv = 3
    if is_list:
        cv = [(order[:100], order[100:]), (order[50:], order[:50])]
    params = {"Cs": [0.1, 1.0], "cv": cv, **TIGHT}
    model = fit(TorchLogisticRegressionCV(**params), *on_workers(client, X, Y), client=client)
    one = TorchLogisticRegressionCV(**params).fit(X, Y)
    assert_same(model, one)
    assert_allclose(model.scores_, one.scores_, rtol=1e-8)
    assert model.C_ == one.C_
    assert model.cv is cv


@pytest.mark.parametrize("function", [predict, predict_proba, decision_function])
def test_predictions_are_lazy(client, function):
    model = TorchLogisticRegression().fit(X, Y)
    expected = getattr(model, function.__name__)(X)

    def fail(block):
        raise AssertionError("computed")

    lazy = da.from_array(X, chunks=(60, 2))
    assert function(model, lazy.map_blocks(fail, meta=X[:0])).shape == expected.shape
    predictions = function(model, lazy)
    model.fit(X, 1 - (Y == 0))  # does not change what is computed
    assert predictions.chunks[0] == (60, 60, 30)
    assert predictions.dtype == expected.dtype
    assert_array_equal(predictions.compute(), expected)
    frame = dd.from_pandas(pd.DataFrame(X), npartitions=3)
    model.fit(X, Y)
    assert_array_equal(function(model, frame[frame[0] > 0]).compute(), expected)
    assert function(model, frame[frame[0] < 0]).compute().shape == (0, *expected.shape[1:])


def test_bad_data_of_one_worker_is_an_error_of_the_client(client):
    bad = X.copy()
    bad[72, 1] = np.nan
    model = TorchLogisticRegression(C=0.5)
    with pytest.raises(ValueError, match="Input X contains NaN"):
        fit(model, *on_workers(client, bad, Y), client=client)
    assert vars(model) == vars(TorchLogisticRegression(C=0.5))
    # Nobody waits there any longer: the next fit begins at once.
    fit(model, *on_workers(client, X, Y), client=client)


def test_partitions_of_different_lengths_are_named(client):
    labels = da.from_array(Y, chunks=(60, 90))
    with pytest.raises(ValueError, match=r"Partition 0 has 75 rows of X and 60 of y"):
        fit(TorchLogisticRegression(), da.from_array(X, chunks=(75, 4)), labels, client=client)
    with pytest.raises(ValueError, match=r"\[3, 2\] partitions.*rechunk"):
        fit(TorchLogisticRegression(), da.from_array(X, chunks=(50, 4)), labels, client=client)


def test_an_error_on_the_way_to_the_rows_is_the_error_of_the_fit(client):
    def broken(block):
        raise OSError("disk gone")

    lazy = da.from_array(X, chunks=(75, 4)).map_blocks(broken, meta=X[:0])
    with pytest.raises(OSError, match="disk gone"):
        fit(TorchLogisticRegression(), lazy, da.from_array(Y, chunks=75), client=client)


def test_what_is_no_collection_is_refused(client):
    with pytest.raises(TypeError, match=r"y is a ndarray.*from_array\(y"):
        fit(TorchLogisticRegression(), da.from_array(X), Y, client=client)


def test_without_dask_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "dask.array", None)
    monkeypatch.delitem(sys.modules, "torchlogreg.distributed.dask")
    with pytest.raises(ImportError, match=r"pip install 'torchlogreg\[dask\]'"):
        importlib.import_module("torchlogreg.distributed.dask")


def test_a_fit_that_ends_too_early_warns_the_client(client):
    with pytest.warns(ConvergenceWarning, match="max_iter=1"):
        fit(TorchLogisticRegression(max_iter=1), *on_workers(client, X, Y), client=client)


def test_two_fits_do_not_wait_for_each_other_for_ever(client):
    lazy = da.from_array(X, chunks=(50, 4)), da.from_array(Y, chunks=50)
    with ThreadPoolExecutor(3) as pool:
        models = [TorchLogisticRegression(C=C, **TIGHT) for C in (0.1, 1, 10)]
        list(pool.map(lambda model: fit(model, *lazy, client=client, timeout=60), models))
    for model in models:
        assert_same(model, TorchLogisticRegression(C=model.C, **TIGHT).fit(X, Y))


def test_what_cannot_travel_keeps_nobody_waiting(client):
    lazy = da.from_array(X, chunks=(50, 4)), da.from_array(Y, chunks=50)
    with pytest.raises(TypeError, match=r"[Cc]ould not serialize|cannot pickle"):
        fit(TorchLogisticRegression(random_state=Lock()), *lazy, client=client)
    fit(TorchLogisticRegression(), *lazy, client=client, timeout=10)


def test_busy_workers_are_named_when_time_is_up(client):
    rows = client.persist(on_workers(client, X, Y))
    wait(rows)
    busy = sorted(client.nthreads())[1]
    nap = client.submit(time.sleep, 4, workers=[busy], pure=False)
    with pytest.raises(RuntimeError, match=f"{busy}.*have not begun to fit within timeout=1"):
        fit(TorchLogisticRegression(), *rows, client=client, timeout=1)
    nap.result()


@needs_callbacks
def test_a_worker_that_is_killed_is_named_at_once(client, tmp_path):
    rows = on_workers(client, X, Y)
    model = TorchLogisticRegression(**TIGHT).set_callbacks(DiesOnce(tmp_path / "died"))
    start = time.monotonic()
    with pytest.raises(RuntimeError, match=r"workers \['tcp:.*have left the cluster"):
        fit(model, *rows, client=client)
    assert time.monotonic() - start < 20  # not the half hour that workers wait for each other
    assert not hasattr(model, "coef_")


@needs_callbacks
def test_the_same_fit_succeeds_after_a_death(client, tmp_path):
    lazy = da.from_array(X, chunks=(50, 4)), da.from_array(Y, chunks=50)
    model = TorchLogisticRegression(**TIGHT).set_callbacks(DiesOnce(tmp_path / "died"))
    with pytest.raises(RuntimeError, match="have left the cluster"):
        fit(model, *lazy, client=client)
    client.wait_for_workers(2, timeout=30)
    assert_same(fit(model, *lazy, client=client), TorchLogisticRegression(**TIGHT).fit(X, Y))


def test_grids_run_on_the_workers(client):
    """By joblib, as those of any estimator."""
    grid = {"C": [0.1, 1.0]}
    with parallel_config("dask"):
        search = GridSearchCV(TorchLogisticRegression(**TIGHT), grid, cv=3).fit(X, Y)
        scores = cross_val_score(TorchLogisticRegressionCV(Cs=2, cv=2), X, Y, cv=2, n_jobs=2)
    alone = GridSearchCV(TorchLogisticRegression(**TIGHT), grid, cv=3).fit(X, Y)
    assert search.best_params_ == alone.best_params_
    assert_allclose(search.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"])
    assert_allclose(scores, cross_val_score(TorchLogisticRegressionCV(Cs=2, cv=2), X, Y, cv=2))
