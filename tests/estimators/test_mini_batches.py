"""Mini-batch solvers: the objective of the exact ones, by any optimizer of torch."""

import copy
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.datasets import load_iris, load_wine, make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback, LRScheduler
from torch.testing import assert_close

from benchmarks import stream
from tests.problems import Problem
from torchlogreg import TorchLogisticRegression
from torchlogreg.data.batches import ShuffledBatches
from torchlogreg.estimators.training_rows import seed_of
from torchlogreg.problem.rows import Rows

X_IRIS, Y_IRIS = load_iris(return_X_y=True)
X_WINE, Y_WINE = load_wine(return_X_y=True)
X_WINE = StandardScaler().fit_transform(X_WINE)

DECAY = ("decay", LRScheduler("LambdaLR", lr_lambda=lambda epoch: 1 / (1 + epoch / 60)))


def loss(model, X, y, weight=None, *, C=1.0, l1_ratio=0.0):
    """Objective divided by C times the sum of the weights, in float64."""
    weight = np.ones(len(y)) if weight is None else weight
    log_proba = model.predict_log_proba(X)
    codes = np.searchsorted(model.classes_, y)
    data = -np.sum(weight * log_proba[np.arange(len(y)), codes])
    coef = np.asarray(model.coef_)
    penalty = l1_ratio * np.abs(coef).sum() + 0.5 * (1 - l1_ratio) * np.sum(coef**2)
    return (data + penalty / C) / weight.sum()


@pytest.mark.parametrize(
    "problem",
    [Problem(3, 1), Problem(2, 1, sparse=True), Problem(5, 1, fit_intercept=False)],
    ids=str,
)
@pytest.mark.parametrize("batch_size", [1, 7, 10, 40])
def test_gradients_of_batches_are_unbiased(problem, batch_size):
    """Weighted by their sizes, those of an epoch have the gradient of all rows as their mean."""
    objective = problem.objective()
    (rows,) = objective.rows
    coef = problem.coef()
    codes = torch.arange(len(rows))
    total = torch.zeros_like(coef)
    for batch, _ in ShuffledBatches(rows, codes, None, batch_size, seed=0, epoch=0):
        point = replace(objective, rows=Rows((batch,))).at(coef)
        total += point.grad * len(batch) / len(rows)
    assert_close(total, objective.at(coef).grad, rtol=1e-10, atol=1e-12)


def test_an_epoch_has_every_row_once_in_a_new_order():
    (rows,) = Problem(3, 1).objective().rows
    codes = torch.arange(len(rows))

    def epochs(seed, epoch=0):
        batches = ShuffledBatches(rows, codes, None, 7, seed=seed, epoch=epoch)
        return [torch.cat([code for _, code in batches]) for _ in range(2)]

    first, second = epochs(seed=0)
    assert torch.equal(first.sort().values, codes)
    assert not torch.equal(first, second)
    assert torch.equal(epochs(seed=0)[0], first)
    assert torch.equal(epochs(seed=0, epoch=1)[0], second)
    assert not torch.equal(epochs(seed=1)[0], first)


@pytest.mark.parametrize("weights", ["none", "sample", "class", "balanced"])
@pytest.mark.parametrize("C", [0.1, 1.0])
def test_sgd_with_a_decaying_rate_finds_the_optimum(weights, C):
    rng = np.random.default_rng(0)
    sample_weight = rng.integers(0, 3, len(Y_WINE)).astype(float) if weights == "sample" else None
    class_weight = {"class": {0: 1.0, 1: 3.0, 2: 0.5}, "balanced": "balanced"}.get(weights)
    exact = TorchLogisticRegression(C, class_weight=class_weight)
    exact.fit(X_WINE, Y_WINE, sample_weight)
    sgd = TorchLogisticRegression(
        C, class_weight=class_weight, solver="sgd", lr=1.5, batch_size=30, max_iter=600, tol=None
    ).set_params(callbacks=[DECAY])
    sgd.fit(X_WINE, Y_WINE, sample_weight)
    best = exact.history_[-1, "train_loss"]
    weight = np.ones(len(Y_WINE)) if sample_weight is None else sample_weight
    if weights == "class":
        weight = weight * np.array([1.0, 3.0, 0.5])[Y_WINE]
    if weights == "balanced":
        weight = weight * (len(Y_WINE) / (3 * np.bincount(Y_WINE)))[Y_WINE]
    assert loss(exact, X_WINE, Y_WINE, weight, C=C) == pytest.approx(best, rel=1e-6)
    assert loss(sgd, X_WINE, Y_WINE, weight, C=C) <= best * (1 + 1e-3)


@pytest.mark.parametrize("l1_ratio", [0.5, 1.0])
def test_l1_ratio_has_scikit_learns_meaning(l1_ratio):
    X, y = X_WINE[Y_WINE < 2], Y_WINE[Y_WINE < 2]
    theirs = LogisticRegression(
        C=0.5, l1_ratio=l1_ratio, solver="saga", tol=1e-10, max_iter=100_000
    ).fit(X, y)
    ours = TorchLogisticRegression(
        0.5, l1_ratio=l1_ratio, solver="sgd", lr=1.0, batch_size=30, max_iter=1500, tol=None
    ).set_params(callbacks=[DECAY])
    ours.fit(X, y)
    best = loss(theirs, X, y, C=0.5, l1_ratio=l1_ratio)
    assert best <= loss(ours, X, y, C=0.5, l1_ratio=l1_ratio) <= best * (1 + 1e-3)


@pytest.mark.parametrize(
    "solver", ["sgd", "adam", "adamw", torch.optim.RMSprop, torch.optim.Adagrad]
)
def test_default_learning_rates_learn(solver):
    model = TorchLogisticRegression(solver=solver, batch_size=20, max_iter=50, tol=None)
    model.fit(X_WINE, Y_WINE)
    assert model.score(X_WINE, Y_WINE) > 0.94
    losses = model.history_[:, "train_loss"]
    assert losses[-1] < 0.3 * losses[0]
    assert set(model.history_[-1]) >= {"train_loss", "optimality", "step", "seconds"}


@pytest.mark.parametrize("scale", [1e-2, 1.0, 1e3])
def test_the_default_rate_of_sgd_follows_the_scale_of_the_columns(scale):
    model = TorchLogisticRegression(
        np.inf, solver="sgd", max_iter=50, tol=None, fit_intercept=False
    )
    assert model.fit(scale * X_WINE, Y_WINE).score(scale * X_WINE, Y_WINE) > 0.9


def test_sparse_data_takes_the_same_path():
    settings = {"solver": "adam", "batch_size": 30, "max_iter": 5, "tol": None}
    dense = TorchLogisticRegression(**settings).fit(X_WINE, Y_WINE)
    thin = TorchLogisticRegression(**settings).fit(sparse.csr_array(X_WINE), Y_WINE)
    assert_allclose(thin.coef_, dense.coef_, rtol=0, atol=1e-10)


def test_net_params_reach_the_optimizer():
    model = TorchLogisticRegression(
        solver="sgd", max_iter=2, tol=None, net_params={"optimizer__momentum": 0.9}
    ).fit(X_IRIS, Y_IRIS)
    assert model.net_.optimizer_.param_groups[0]["momentum"] == 0.9
    with pytest.raises(TypeError, match="speed"):
        model.set_params(net_params={"optimizer__speed": 1}).fit(X_IRIS, Y_IRIS)


def test_random_state_determines_the_result():
    def fit(seed):
        model = TorchLogisticRegression(solver="sgd", batch_size=20, max_iter=3, tol=None)
        return model.set_params(random_state=seed).fit(X_IRIS, Y_IRIS).coef_

    assert_array_equal(fit(0), fit(0))
    assert_array_equal(fit(None), fit(None))
    assert (fit(0) != fit(1)).any()


def test_training_ends_when_the_loss_no_longer_falls():
    model = TorchLogisticRegression(solver="adam", tol=1e-3, n_iter_no_change=3)
    losses = model.fit(X_WINE, Y_WINE).history_[:, "train_loss"]
    assert len(losses) < 200
    best = np.minimum.accumulate(losses)
    assert all(losses[i] > best[i - 1] - 1e-3 for i in range(len(losses) - 3, len(losses)))


def test_too_few_epochs_give_a_warning():
    model = TorchLogisticRegression(solver="sgd", max_iter=3)
    with pytest.warns(
        ConvergenceWarning, match=r"^SGD failed to converge after 3 epochs: .* Increase the number"
    ):
        model.fit(X_WINE, Y_WINE)


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array])
def test_early_stopping_watches_rows_that_were_held_out(container):
    X, y = make_classification(500, 20, flip_y=0.3, random_state=0)
    X = container(X)
    model = TorchLogisticRegression(
        solver="adam", early_stopping=True, validation_fraction=0.2, n_iter_no_change=4
    ).fit(X, y)
    accuracy = model.history_[:, "valid_accuracy"]
    assert max(accuracy[:-4]) >= max(accuracy[-4:]) - 1e-4
    assert model.net_.valid_set is None
    assert model.weight_seen_ == 400
    _, valid = train_test_split(
        np.arange(500), test_size=0.2, stratify=y, random_state=seed_of(model)
    )
    assert model.score(X[valid], y[valid]) == pytest.approx(max(accuracy))


def test_divergence_says_so_and_changes_nothing():
    model = TorchLogisticRegression(solver="sgd", max_iter=5, tol=None).fit(X_IRIS, Y_IRIS)
    before = model.coef_.copy()
    with pytest.raises(ValueError, match=r"diverged in epoch 2: .* lr=1e\+300\. Use a smaller lr"):
        model.set_params(lr=1e300).fit(X_IRIS, Y_IRIS)
    assert_array_equal(model.coef_, before)


def test_a_loss_that_rises_is_warned_of():
    model = TorchLogisticRegression(solver="sgd", lr=1e4)
    with pytest.warns(
        ConvergenceWarning,
        match=r"^SGD failed to converge .* loss rose from .* diverges with lr=10000",
    ):
        model.fit(X_IRIS, Y_IRIS)


def test_the_default_rate_is_that_of_rows_with_weight():
    X, y = make_classification(2_000, random_state=0)
    weight = np.arange(2_000) % 2
    model = TorchLogisticRegression(solver="sgd", max_iter=3, tol=None).fit(X, y, weight)
    half = TorchLogisticRegression(solver="sgd", max_iter=3, tol=None).fit(X[1::2], y[1::2])
    assert model.net_.lr == pytest.approx(half.net_.lr, rel=0.1)


def test_data_without_a_learning_rate_is_an_error():
    with pytest.raises(ValueError, match="lr=None: no learning rate follows from this data"):
        TorchLogisticRegression(solver="sgd").fit((1e25 * X_IRIS).astype(np.float32), Y_IRIS)


def test_rows_without_weight_cannot_decide():
    model = TorchLogisticRegression(solver="adam", early_stopping=True)
    _, valid = train_test_split(
        np.arange(150), test_size=0.1, stratify=Y_IRIS, random_state=seed_of(model)
    )
    weight = np.ones(150)
    weight[valid] = 0
    with pytest.raises(ValueError, match="have no weight"):
        model.fit(X_IRIS, Y_IRIS, weight)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"lr": 0.0}, "The 'lr' parameter .* Got 0.0"),
        ({"lr": -1.0}, "The 'lr' parameter .* Got -1.0"),
        ({"batch_size": 0}, "The 'batch_size' parameter .* Got 0"),
        ({"batch_size": 151}, "batch_size=151 is larger than the number of rows, 150"),
        ({"solver": torch.optim.LBFGS}, "solver=LBFGS: its step needs a closure"),
        ({"solver": int}, "is not an optimizer with a learning rate"),
        ({"solver": "lbfgs", "l1_ratio": 0.5}, "l1_ratio=0.5: solver='lbfgs' takes l1_ratio=0"),
        ({"solver": "lbfgs", "early_stopping": True}, "early_stopping=True: solver='lbfgs'"),
        ({"solver": "lbfgs", "tol": None}, "tol=None: solver='lbfgs' needs"),
        ({"early_stopping": True, "validation_fraction": 0.001}, "cannot split the 150 rows"),
    ],
)
def test_bad_parameters_are_named(parameters, message):
    model = TorchLogisticRegression(**{"solver": "sgd", **parameters})
    with pytest.raises(ValueError, match=message):
        model.fit(X_IRIS, Y_IRIS)
    assert not hasattr(model, "coef_")


# partial_fit


def halves():
    return (X_WINE[::2], Y_WINE[::2]), (X_WINE[1::2], Y_WINE[1::2])


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_partial_fit_is_an_epoch_of_fit(solver):
    settings = {"solver": solver, "batch_size": 30, "tol": None, "max_iter": 1}
    whole = TorchLogisticRegression(**settings).fit(X_WINE, Y_WINE)
    part = TorchLogisticRegression(**settings).partial_fit(X_WINE, Y_WINE, classes=[0, 1, 2])
    assert_allclose(part.coef_, whole.coef_, rtol=0, atol=1e-12)
    assert part.weight_seen_ == len(Y_WINE)


def test_a_copy_shares_nothing_that_partial_fit_changes():
    model = TorchLogisticRegression(solver="adam").partial_fit(X_WINE, Y_WINE, classes=[0, 1, 2])
    twin, lonely = copy.copy(model), pickle.loads(pickle.dumps(model))
    assert (twin.coef_ == model.coef_).all()
    for _ in range(3):
        twin.partial_fit(X_WINE[:50], Y_WINE[:50])
    assert len(twin.history_) == 4
    assert len(model.history_) == 1
    after, expected = (m.partial_fit(X_WINE, Y_WINE).coef_ for m in (model, lonely))
    assert_array_equal(after, expected)
    assert copy.copy(TorchLogisticRegression(2.0)).C == 2.0


def test_the_optimizer_goes_on_between_calls_and_through_pickle():
    model = TorchLogisticRegression(solver="adam", batch_size=10)
    model.partial_fit(X_WINE, Y_WINE, classes=[0, 1, 2])
    twin = pickle.loads(pickle.dumps(model))
    for one in (model, twin):
        one.partial_fit(X_WINE, Y_WINE)
    assert_array_equal(twin.coef_, model.coef_)
    state = model.net_.optimizer_.state[model.net_.module_.coef]
    assert state["step"] == 2 * 18


def test_the_penalty_is_that_of_all_rows_so_far():
    model = TorchLogisticRegression(2.0, solver="sgd")
    for n_seen, part in enumerate(halves(), 1):
        model.partial_fit(*part, classes=[0, 1, 2])
        strength = model.net_.criterion_.penalty.l2[0, 0, 0].item()
        assert strength == pytest.approx(1 / (2.0 * n_seen * len(Y_WINE) / 2))


def test_a_new_learning_rate_is_heeded():
    model = TorchLogisticRegression(solver="sgd", lr=0.1, batch_size=10)
    model.partial_fit(X_WINE, Y_WINE, classes=[0, 1, 2])
    before = model.coef_.copy()
    model.set_params(lr=1e-9, batch_size=89).partial_fit(X_WINE, Y_WINE)
    assert 0 < np.abs(model.coef_ - before).max() < 1e-6
    assert model.history_[-1, "train_batch_count"] == 2


def test_chunks_need_not_have_every_class():
    model = TorchLogisticRegression(solver="adam", batch_size=10)
    for rows in (slice(0, 50), slice(60, 120), slice(130, 178)):
        assert len(np.unique(Y_WINE[rows])) < 3
        model.partial_fit(X_WINE[rows], Y_WINE[rows], classes=[0, 1, 2])
    assert model.coef_.shape == (3, 13)
    assert_array_equal(model.classes_, [0, 1, 2])


def test_partial_fit_goes_on_from_fit_and_from_coef():
    exact = TorchLogisticRegression().fit(X_WINE, Y_WINE)
    start = exact.coef_.copy()
    exact.set_params(solver="sgd", lr=1e-6).partial_fit(X_WINE, Y_WINE)
    assert 0 < np.abs(exact.coef_ - start).max() < 1e-4
    exact.coef_ = np.zeros_like(start)
    exact.intercept_ = np.zeros(3)
    exact.partial_fit(X_WINE, Y_WINE)
    assert np.abs(exact.coef_).max() < 1e-4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((X_WINE[:, :5], Y_WINE), "5 features"),
        ((X_WINE, Y_WINE + 1), r"labels that are not among the classes .*3"),
        ((np.full_like(X_WINE, np.nan), Y_WINE), "NaN"),
        ((X_WINE, Y_WINE, [0, 1]), "not the same as on last call"),
        ((X_WINE[:0], Y_WINE[:0]), "0 sample"),
    ],
)
def test_a_bad_chunk_changes_nothing(arguments, message):
    model = TorchLogisticRegression(solver="adam").partial_fit(X_WINE, Y_WINE, classes=[0, 1, 2])
    twin = pickle.loads(pickle.dumps(model))
    with pytest.raises(ValueError, match=message):
        model.partial_fit(*arguments)
    for one in (model, twin):
        one.partial_fit(X_WINE, Y_WINE)
    assert_array_equal(model.coef_, twin.coef_)


def test_divergence_in_a_chunk_changes_nothing():
    model = TorchLogisticRegression(solver="sgd", lr=0.1, batch_size=50)
    model.partial_fit(X_WINE, Y_WINE, classes=[0, 1, 2])
    twin = pickle.loads(pickle.dumps(model))
    with pytest.raises(ValueError, match="diverged"):
        model.partial_fit(1e200 * np.sign(X_WINE), Y_WINE)
    for one in (model, twin):
        one.partial_fit(X_WINE, Y_WINE)
    assert_array_equal(model.coef_, twin.coef_)
    assert len(model.history_) == 2


class Fails(Callback):
    """Raises an error when it is told to."""

    is_on = False

    def on_epoch_end(self, net, **kwargs):
        if self.is_on:
            raise RuntimeError("from a callback")


def test_a_new_learning_rate_survives_a_failed_call():
    fails = Fails()
    model = TorchLogisticRegression(solver="sgd", lr=0.1, callbacks=[fails])
    model.partial_fit(X_WINE, Y_WINE, classes=[0, 1, 2])
    fails = dict(model.net_.callbacks_)["Fails"]
    fails.is_on = True
    model.set_params(lr=0.001)
    with pytest.raises(RuntimeError, match="from a callback"):
        model.partial_fit(X_WINE, Y_WINE)
    assert len(model.history_) == 1
    fails.is_on = False
    assert model.partial_fit(X_WINE, Y_WINE).history_[-1, "step"] == 0.001


def test_the_intercept_may_be_given_up():
    model = TorchLogisticRegression(solver="sgd").partial_fit(X_WINE, Y_WINE, classes=[0, 1, 2])
    model.set_params(fit_intercept=False).partial_fit(X_WINE, Y_WINE)
    assert_array_equal(model.intercept_, np.zeros(3))


def test_what_only_fit_can_do():
    model = TorchLogisticRegression(solver="sgd", early_stopping=True)
    with pytest.raises(ValueError, match="early_stopping=True: that is for fit"):
        model.partial_fit(X_WINE, Y_WINE, classes=[0, 1, 2])
    with pytest.raises(ValueError, match=r"classes=\[0, 1, 2\] is for a data set or loader"):
        model.fit(X_WINE, Y_WINE, classes=[0, 1, 2])


def test_the_first_call_needs_the_classes():
    model = TorchLogisticRegression(solver="sgd")
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        model.partial_fit(X_WINE, Y_WINE)


def test_exact_solvers_have_no_partial_fit():
    assert not hasattr(TorchLogisticRegression(), "partial_fit")
    assert hasattr(TorchLogisticRegression(solver=torch.optim.SGD), "partial_fit")


def test_balanced_weights_cannot_be_had_from_a_part():
    model = TorchLogisticRegression(solver="sgd", class_weight="balanced")
    with pytest.raises(ValueError, match="class_weight='balanced' needs all rows at once"):
        model.partial_fit(X_WINE, Y_WINE, classes=[0, 1, 2])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_a_stream_takes_constant_memory():
    records = stream.stream(n_chunks=40, n_rows=5_000)
    assert records[-1]["megabytes"] > 600
    resident = [record["resident"] for record in records]
    assert max(resident[-10:]) - max(resident[5:15]) < 50
    assert records[-1]["accuracy"] > records[0]["accuracy"]


def test_optimizers_that_have_a_name_are_the_same_by_class():
    by_name, by_class = (
        TorchLogisticRegression(solver=solver, max_iter=3, tol=None).fit(X_IRIS, Y_IRIS)
        for solver in ("sgd", torch.optim.SGD)
    )
    np.testing.assert_array_equal(by_name.coef_, by_class.coef_)
    assert by_class.solver_ == "sgd"
