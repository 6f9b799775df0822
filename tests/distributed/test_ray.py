"""Fits by Ray Train with two workers: what one process finds with all of the rows."""

import importlib
import sys

import numpy as np
import pandas as pd
import pytest
import ray
from joblib import parallel_config
from joblib.pool import PicklingPool
from numpy.testing import assert_allclose, assert_array_equal
from ray.train import FailureConfig, RunConfig
from ray.util.joblib import register_ray
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV

from tests.at_hand import needs_callbacks
from tests.distributed.deaths import DiesOnce
from torchlogreg import TorchLogisticRegression
from torchlogreg.distributed.ray import fit, predict, predict_proba

# Ray Data warns of what it does itself when it is first used.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context")

IRIS = load_iris()
X, Y = IRIS.data, IRIS.target_names[IRIS.target].astype(object)
WEIGHT = np.random.default_rng(0).uniform(0, 2, len(Y))
FRAME = pd.DataFrame(X, columns=IRIS.feature_names).assign(kind=Y, weight=WEIGHT)


@pytest.fixture(scope="module", autouse=True)
def cluster():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # old versions warn of that
        patch.setenv("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")  # a process less to start
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        yield
        ray.shutdown()


@pytest.fixture
def run_config(tmp_path):
    return RunConfig(storage_path=str(tmp_path), failure_config=FailureConfig(max_failures=0))


def in_parts(frame, *ends):
    """Return a data set with a block for each of these parts."""
    return ray.data.from_pandas(
        [frame[start:end] for start, end in zip((0, *ends), (*ends, len(frame)), strict=True)]
    )


def assert_same(model, expected):
    assert_array_equal(model.classes_, expected.classes_)
    assert_allclose(model.coef_, expected.coef_, rtol=1e-8, atol=1e-8)
    assert_allclose(model.intercept_, expected.intercept_, rtol=1e-8, atol=1e-8)


@needs_callbacks
def test_a_killed_worker_makes_all_begin_again(run_config, tmp_path):
    """With weights, string labels, and an odd number of rows in unequal blocks: all count."""
    run_config.failure_config = FailureConfig(max_failures=1)
    frame = pd.concat([FRAME, FRAME[:1]])
    marker = tmp_path / "died"
    model = TorchLogisticRegression(tol=1e-10).set_callbacks(DiesOnce(marker))
    fitted = fit(
        model,
        in_parts(frame, 20, 100),
        label_column="kind",
        sample_weight_column="weight",
        num_workers=2,
        run_config=run_config,
    )
    assert marker.exists()
    assert fitted is model
    one = TorchLogisticRegression(tol=1e-10)
    one.fit(frame[IRIS.feature_names], frame["kind"], frame["weight"])
    assert_same(model, one)
    assert_array_equal(model.feature_names_in_, IRIS.feature_names)


def test_bad_data_is_the_error_of_the_driver(run_config):
    bad = FRAME.copy()
    bad.iloc[130, 0] = np.nan
    model = TorchLogisticRegression()
    with pytest.raises(ValueError, match=r"^Input X contains NaN"):
        fit(
            model,
            in_parts(bad),
            label_column="kind",
            feature_columns=IRIS.feature_names[:2],
            num_workers=1,
            run_config=run_config,
        )
    assert not hasattr(model, "coef_")


def test_predictions_are_lazy(tmp_path):
    def read(batch):
        (tmp_path / "read").touch()
        return batch

    model = TorchLogisticRegression().fit(FRAME[IRIS.feature_names], Y)
    data = in_parts(FRAME, 60).map_batches(read)
    data = predict_proba(model, predict(model, data))
    assert not (tmp_path / "read").exists()
    found = pd.DataFrame(data.take_all())
    rows = found[IRIS.feature_names]
    assert len(rows) == len(X)
    assert_array_equal(found["predict"], model.predict(rows))
    assert_allclose(np.stack(found["predict_proba"]), model.predict_proba(rows))


@pytest.fixture
def joblib_with_ray():
    """Ray takes the place of joblib's own processes, too, until that is undone."""
    register_ray()
    bases = PicklingPool.__bases__
    yield
    PicklingPool.__bases__ = bases


@pytest.mark.usefixtures("joblib_with_ray")
def test_grids_run_on_the_workers():
    """By joblib, as those of any estimator."""
    grid = {"C": [0.1, 1.0]}
    with parallel_config("ray"):
        search = GridSearchCV(TorchLogisticRegression(), grid, cv=2).fit(X, Y)
    alone = GridSearchCV(TorchLogisticRegression(), grid, cv=2).fit(X, Y)
    assert_allclose(search.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"])


def test_a_column_may_hold_vectors():
    model = TorchLogisticRegression().fit(X, Y)
    found = predict(model, ray.data.from_numpy(X), feature_columns=["data"]).take_all()
    found = pd.DataFrame(found)
    assert_array_equal(found["predict"], model.predict(np.stack(found["data"])))


def test_missing_columns_and_sizes_are_named():
    data = in_parts(FRAME)
    with pytest.raises(ValueError, match=r"'weight'\].*must be \['colour'\]"):
        fit(TorchLogisticRegression(), data, label_column="colour", num_workers=2)
    with pytest.raises(ValueError, match="num_workers=None and scaling_config=None"):
        fit(TorchLogisticRegression(), data, label_column="kind")
    with pytest.raises(ValueError, match="feature_columns=None"):
        predict(TorchLogisticRegression().fit(X, Y), data)


def test_without_ray_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray.train.torch", None)
    monkeypatch.delitem(sys.modules, "torchlogreg.distributed.ray")
    with pytest.raises(ImportError, match=r"pip install 'torchlogreg\[ray\]'"):
        importlib.import_module("torchlogreg.distributed.ray")
