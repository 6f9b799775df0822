"""Fits of several processes: what one finds with all of the rows, or an error in all of them."""

import os
import time
import warnings

import numpy as np
import pytest
import torch.distributed as dist
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback

from tests.at_hand import needs_callbacks
from tests.distributed.crew import TIMEOUT, together
from torchlogreg import TorchLogisticRegression, TorchLogisticRegressionCV, blocks, distributed

CUTS = {2: (0, 150, 600), 4: (0, 0, 300, 450, 600)}
"""Where the rows are cut: unevenly, and so that one of four has none."""

# Coefficients are known to the tolerance divided by the ridge, 1 / (C n).
CASES = {
    "auto": {},
    "newton-cholesky": {"solver": "newton-cholesky", "C": 0.01},
    "newton-cg": {"solver": "newton-cg", "C": 0.01},
    "balanced lbfgs": {"solver": "lbfgs", "class_weight": "balanced"},
    "lasso": {"l1_ratio": 1.0, "C": 0.1},
    "elastic net": {"l1_ratio": 0.5, "C": 0.1},
    "no intercept": {"fit_intercept": False},
}
DTYPES = {"float64": 1e-11, "float32": 1e-6}


def data(dtype="float64"):
    """Digits, with weights; far columns, so that there is a centre."""
    X, y = (array[:600] for array in load_digits(return_X_y=True))
    X[:, :5] += 100 * (dtype == "float64")  # which leaves float32 too few digits
    weight = np.random.default_rng(0).uniform(0, 2, len(y))
    return (X / 16).astype(dtype), y, weight


def part_of(size, rank, *arrays):
    start, stop = CUTS[size][rank : rank + 2]
    return [array[start:stop] for array in arrays]


def fit_cases(rank, size, folder):
    """Coefficients of all cases, by blocks on disk, and of the penalties."""
    warnings.simplefilter("error")
    found = {}
    for dtype, tol in DTYPES.items():
        mine = part_of(size, rank, *data(dtype))
        for name, parameters in CASES.items():
            model = TorchLogisticRegression(tol=tol, **parameters)
            distributed.fit(model, *mine)
            found[name, dtype] = model.coef_, model.intercept_, int(model.n_iter_[0])
    X, y, weight = part_of(size, rank, *data())
    rows = blocks.from_arrays(X, y, weight, budget=1) if len(X) else None
    model = distributed.fit(TorchLogisticRegression(tol=1e-11), rows)
    found["blocks"] = model.coef_, model.intercept_, int(model.n_iter_[0])
    found["warm start"] = fit_again(distributed.fit, X, y, weight).coef_
    found["grid"] = distributed.fit(TorchLogisticRegressionCV(**GRID), X, y, weight).coefs_paths_
    return found


GRID = {"Cs": [0.01, 0.1], "cv": 2, "tol": 1e-11}


def fit_again(fit, *data):
    """Fit, and go on from there with another penalty."""
    model = TorchLogisticRegression(warm_start=True, tol=1e-11, C=0.01)
    fit(model, *data)
    return fit(model.set_params(C=0.1), *data)


@pytest.fixture(scope="module", params=CUTS)
def fitted(request, tmp_path_factory):
    size, folder = request.param, tmp_path_factory.mktemp("crew")
    return together(folder, size, fit_cases, size, folder)


@pytest.fixture(scope="module")
def expected():
    return {
        (name, dtype): TorchLogisticRegression(tol=tol, **parameters).fit(*data(dtype))
        for name, parameters in CASES.items()
        for dtype, tol in DTYPES.items()
    }


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_all_processes_find_what_one_finds(fitted, expected, name, dtype):
    one = expected[name, dtype]
    tolerance = 1e-8 if dtype == "float64" else 1e-5
    for found in fitted:
        assert not isinstance(found, Exception), found
        coef, intercept, _ = found[name, dtype]
        assert_allclose(coef, one.coef_, rtol=tolerance, atol=tolerance)
        # The intercept goes with the mean of the far columns.
        assert_allclose(intercept, one.intercept_, rtol=tolerance, atol=100 * tolerance)
        assert_array_equal(coef, fitted[0][name, dtype][0])


def test_each_process_may_read_its_rows_from_blocks(fitted, expected):
    one = expected["auto", "float64"]
    for found in fitted:
        coef, _, _ = found["blocks"]
        assert_allclose(coef, one.coef_, rtol=1e-8, atol=1e-8)


def test_warm_starts_and_grids_have_the_rows_of_all(fitted):
    """Their first evaluation is not at zero, where one of four has no rows."""
    X, y, weight = data()
    one = fit_again(TorchLogisticRegression.fit, X, y, weight)
    grid = TorchLogisticRegressionCV(**GRID).fit(X, y, weight)
    for found in fitted:
        assert_allclose(found["warm start"], one.coef_, rtol=1e-8, atol=1e-8)
        assert_allclose(found["grid"], grid.coefs_paths_, rtol=1e-8, atol=1e-6)


SCORES = ("neg_log_loss", "accuracy", "balanced_accuracy", "neg_brier_score", "f1", "roc_auc")


def cancer():
    X, y = load_breast_cancer(return_X_y=True)
    return StandardScaler().fit_transform(X), np.array(["no", "yes"])[y]


def fit_grids(rank):
    X, y = cancer()
    X, y = (X[:100], y[:100]) if rank == 0 else (X[100:], y[100:])
    found = []
    for scoring in SCORES:
        scorer = "f1_macro" if scoring == "f1" else scoring
        model = TorchLogisticRegressionCV(
            Cs=[1e-4, 1e-2, 1], cv=3, scoring=scorer, class_weight="balanced", tol=1e-12
        )
        found.append(distributed.fit(model, X, y))
    return found


def test_grids_are_scored_by_the_rows_of_all(tmp_path):
    X, y = cancer()
    for models in together(tmp_path, 2, fit_grids):
        assert not isinstance(models, Exception), models
        for model in models:
            one = TorchLogisticRegressionCV(**model.get_params()).fit(X, y)
            assert_allclose(model.scores_, one.scores_, rtol=1e-8)
            assert_allclose(model.coefs_paths_, one.coefs_paths_, rtol=1e-8, atol=1e-8)
            assert model.C_ == one.C_


def odd_labels(rank):
    """A class that only one process has; labels of another width and a name of a feature."""
    X = np.arange(12.0).reshape(6, 2) + rank
    y = np.array(["a", "b"] * 3) if rank else np.array(["a", "only here"] * 3)
    return distributed.fit(TorchLogisticRegression(), X, y).classes_


def test_classes_are_those_of_all(tmp_path):
    for classes in together(tmp_path, 2, odd_labels):
        assert classes.tolist() == ["a", "b", "only here"]


X_BAD, Y_BAD = np.arange(12.0).reshape(6, 2), np.array([0, 1] * 3)

BAD = {
    "NaN": (lambda rank: {"X": X_BAD if rank else X_BAD * np.nan}, "NaN"),
    "features": (lambda rank: {"X": X_BAD[:, : 2 - rank]}, "disagree on the number of features"),
    "dtypes": (lambda rank: {"X": X_BAD.astype(f"f{4 + 4 * rank}")}, "disagree on the dtype"),
    "parameters": (
        lambda rank: {"C": 1.0 + rank},
        "disagree on the parameter C: 1.0 in process 0, 2.0 in process 1",
    ),
    "mini-batches": (lambda rank: {"solver": "sgd"}, "solver='sgd' is for one process"),
    "no rows": (lambda rank: {"X": None, "y": None}, "None of the 2 processes has rows"),
    "one class": (lambda rank: {"y": 0 * Y_BAD}, "one class only"),
    "labels": (lambda rank: {"y": Y_BAD if rank else Y_BAD.astype(str)}, "cannot be sorted"),
    "lengths": (lambda rank: {"y": Y_BAD[: 6 - rank]}, "inconsistent numbers of samples"),
    "no weight": (lambda rank: {"sample_weight": np.zeros(6)}, "sum to zero"),
    "negative": (lambda rank: {"sample_weight": np.ones(6) - 2 * rank}, "[Nn]egative"),
    "pipelines": (lambda rank: {"estimator": make_pipeline(StandardScaler())}, "one process only"),
    "blocks": (
        lambda rank: {"X": blocks.from_arrays(X_BAD, Y_BAD), "y": None} if rank else {},
        "others have blocks",
    ),
}


def fit_bad(rank):
    """What is said of every kind of bad input, and what is left on the estimator."""
    said = {}
    for name, (make, _) in BAD.items():
        given = {"X": X_BAD, "y": Y_BAD, "sample_weight": None, **make(rank)}
        arrays = [given.pop(part) for part in ("X", "y", "sample_weight")]
        model = given.pop("estimator", None) or TorchLogisticRegression(**given)
        try:
            distributed.fit(model, *arrays)
        except Exception as error:
            said[name] = f"{type(error).__name__}: {error}"
        assert not hasattr(model, "n_features_in_")
    model = distributed.fit(TorchLogisticRegression(), X_BAD, Y_BAD)  # after all that
    return said, model.coef_


def test_bad_input_is_an_error_in_every_process(tmp_path):
    results = together(tmp_path, 2, fit_bad)
    assert_array_equal(results[0][1], results[1][1])
    for name, (_, expected) in BAD.items():
        for said, _ in results:
            assert_matches(said.get(name), expected)


def assert_matches(text, pattern):
    with pytest.raises(RuntimeError, match=pattern):
        raise RuntimeError(text)


class Ends:
    """A callback that ends a process in the second iteration, in some way."""

    max_propagation_depth = None

    def __init__(self, way):
        self.way = way

    def setup(self, estimator, context): ...
    def teardown(self, estimator, context): ...
    def on_fit_task_begin(self, estimator, context, *, X=None, y=None, metadata=None): ...

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        if context.task_name == "iteration" and context.task_id == 1:
            if self.way == "dies":
                os._exit(1)
            raise ArithmeticError("the callback has failed")
        return False


def fit_and_fail(rank, way):
    X, y, weight = part_of(4, rank + 1, *data())
    model = TorchLogisticRegression(tol=1e-10)
    if rank == 1:
        model.set_callbacks(Ends(way))
    start = time.monotonic()
    try:
        distributed.fit(model, X, y, weight)
    except Exception as error:
        return f"{type(error).__name__}: {error}", time.monotonic() - start
    return None


@needs_callbacks
@pytest.mark.parametrize(
    ("way", "said"), [("dies", "Process 1 has disappeared"), ("fails", "the callback has failed")]
)
def test_a_process_that_ends_ends_the_others(tmp_path, way, said):
    results = together(tmp_path, 3, fit_and_fail, way)
    if way == "dies":
        assert results.pop(1) is None
    for message, seconds in results:
        assert said in message
        assert seconds < TIMEOUT.total_seconds()


def test_without_a_group_it_is_said_what_to_do():
    assert not dist.is_initialized()
    with pytest.raises(RuntimeError, match="init_process_group"):
        distributed.fit(TorchLogisticRegression(), X_BAD, Y_BAD)


def go_on(rank):
    """Each process has another model; and then only one has."""
    X, y = (array[rank::2] for array in cancer())
    own = TorchLogisticRegression(warm_start=True, tol=1e-8).fit(X, y)
    coef = distributed.fit(own, X, y).coef_
    new = TorchLogisticRegression(warm_start=True, tol=1e-8)
    try:
        distributed.fit(own if rank else new, X, y)
    except ValueError as error:
        return coef, str(error)


def test_warm_starts_begin_at_the_same_coefficients(tmp_path):
    expected = TorchLogisticRegression(tol=1e-10).fit(*cancer()).coef_
    for coef, said in together(tmp_path, 2, go_on):
        assert_allclose(coef, expected, rtol=1e-4, atol=1e-6)
        assert "has no previous fit" in said


def watched(rank):
    """Callbacks of all processes are alike, but not the same."""
    X, y = (array[rank::2] for array in cancer())
    model = TorchLogisticRegression(callbacks=[Callback()])
    distributed.fit(model, X, y)
    folds = [(np.arange(rank, 500), np.arange(500, 569))]
    try:
        distributed.fit(TorchLogisticRegressionCV(cv=folds), X, y)
    except ValueError as error:
        return str(error)


def test_callbacks_may_watch_and_long_folds_are_compared(tmp_path):
    for said in together(tmp_path, 2, watched):
        assert "disagree on the parameter cv" in said


def stopped(rank):
    """One process has a callback, which ends the fit of all."""
    listeners = pytest.importorskip("tests.estimators.test_listeners")
    X, y = (array[rank::2] for array in cancer())
    model = TorchLogisticRegression(solver="lbfgs")
    grid = TorchLogisticRegressionCV(Cs=[0.1, 1.0], cv=2, tol=1e-12)
    if rank == 1:
        model.set_callbacks(listeners.Listener(last=3))
        grid.set_callbacks(listeners.Listener(last=2))
    distributed.fit(model, X, y)
    with warnings.catch_warnings(action="ignore"):
        distributed.fit(grid, X, y)
    return model.n_iter_, model.coef_, grid.n_iter_, grid.coef_


@needs_callbacks
def test_a_callback_of_one_process_ends_the_fit_of_all(tmp_path):
    (n_iter, coef, n_iters, coefs), other = together(tmp_path, 2, stopped)
    assert n_iter == [3]
    assert (n_iters == 2).all()
    for mine, its in zip((n_iter, coef, n_iters, coefs), other, strict=True):
        assert_array_equal(mine, its)


class Stops(Callback):
    """A callback of skorch that ends the fit after some epochs."""

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 2:
            raise KeyboardInterrupt


def monitored(rank):
    """One process has callbacks of scikit-learn, next to one of skorch that ends the fit of all."""
    from sklearn.callback import ScoringMonitor

    X, y = (array[rank::2] for array in cancer())
    model = TorchLogisticRegression(callbacks=[Stops()], solver="lbfgs")
    monitor = ScoringMonitor(scoring="accuracy")
    if rank == 0:
        model.set_callbacks(monitor)
    distributed.fit(model, X, y)
    own = model.score(X, y)
    return model.n_iter_, model.coef_, own, monitor.get_logs().data if rank == 0 else None


@needs_callbacks
def test_hooks_see_the_rows_of_their_process(tmp_path):
    (n_iter, coef, score, log), other = together(tmp_path, 2, monitored)
    assert n_iter == other[0] == [2]
    assert_array_equal(coef, other[1])
    assert log[-1]["accuracy"] > 0.8
    assert score > 0.8


def alone(rank):
    X, y = cancer()
    model = distributed.fit(TorchLogisticRegressionCV(Cs=2, cv=2), X, y)
    return model.coef_


def test_one_process_is_enough(tmp_path):
    (coef,) = together(tmp_path, 1, alone)
    expected = TorchLogisticRegressionCV(Cs=2, cv=2).fit(*cancer()).coef_
    assert_allclose(coef, expected, rtol=1e-10)
