"""Callbacks: skorch's work with every solver, and ours show progress and keep checkpoints."""

import json
import pickle
import signal

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.datasets import load_digits
from skorch.callbacks import (
    Callback,
    EarlyStopping,
    EpochScoring,
    LRScheduler,
    ProgressBar,
    TensorBoard,
)
from skorch.callbacks import Checkpoint as SkorchCheckpoint

from torchlogreg import TorchLogisticRegression
from torchlogreg.callbacks import Checkpoint

X, Y = load_digits(return_X_y=True)
X = X / 16

EXACT = ("lbfgs", "newton-cg", "newton-cholesky", "prox-newton")
SOLVERS = [*EXACT, "sgd", "adam"]
over_solvers = pytest.mark.parametrize("solver", SOLVERS)

# Conjugate gradients end a step sooner or later where rounding differs.
over_paths = pytest.mark.parametrize("solver", [name for name in SOLVERS if name != "newton-cg"])


def hard(solver):
    """C of a problem that takes long; not so for conjugate gradients, which amplify rounding."""
    return 0.01 if solver == "newton-cg" else 1e3


def estimator(solver, max_iter=6, **kwargs):
    params = {"tol": 1e-14 if solver in EXACT else None, **kwargs}
    return TorchLogisticRegression(solver=solver, max_iter=max_iter, **params)


pytestmark = pytest.mark.filterwarnings("ignore:.* failed to converge after .* Increase the number")


@over_solvers
def test_epoch_scoring_sees_the_accuracy_of_the_solver(solver):
    scoring = EpochScoring("accuracy", lower_is_better=False, on_train=True, name="accuracy")
    model = estimator(solver, callbacks=[scoring], batch_size=len(X)).fit(X, Y)
    accuracy = model.history_[:, "accuracy"]
    assert len(accuracy) == 6
    if solver in EXACT:
        assert accuracy[-1] == pytest.approx(model.score(X, Y))
    else:  # before the last step
        assert accuracy[-1] == pytest.approx(model.score(X, Y), abs=0.05)


@over_solvers
def test_early_stopping_stops(solver):
    stop = EarlyStopping("train_loss", patience=2, threshold=1e9, threshold_mode="abs")
    assert estimator(solver, max_iter=20, callbacks=[stop]).fit(X, Y).n_iter_[0] == 3


@over_solvers
def test_skorchs_checkpoint_holds_the_parameters(solver, tmp_path):
    checkpoint = SkorchCheckpoint(monitor=None, dirname=tmp_path)
    model = estimator(solver, callbacks=[checkpoint]).fit(X, Y)
    saved = torch.load(tmp_path / "params.pt", weights_only=True)["weight"]
    assert_allclose(saved[0].numpy(), model.coef_, rtol=0, atol=1e-12)


@over_solvers
def test_progress_bar_of_skorch_runs(solver, capfd):
    estimator(solver, callbacks=[ProgressBar()]).fit(X, Y)
    n_batches = 9 if solver in ("sgd", "adam") else 1
    assert f"| 0/{n_batches} [" in capfd.readouterr().err


@over_solvers
def test_tensorboard_is_written_to(solver, tmp_path):
    tensorboard = pytest.importorskip("torch.utils.tensorboard")
    with tensorboard.SummaryWriter(tmp_path) as writer:
        estimator(solver, callbacks=[TensorBoard(writer)]).fit(X, Y)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) > 100


def test_learning_rates_follow_their_schedule():
    schedule = LRScheduler("StepLR", step_size=2, gamma=0.5)
    model = estimator("sgd", lr=0.4, callbacks=[schedule]).fit(X, Y)
    assert_allclose(model.history_[:, "step"], [0.4, 0.4, 0.2, 0.2, 0.1, 0.1])


@over_solvers
def test_the_net_predicts_for_arrays(solver):
    model = estimator(solver).fit(X, Y)
    assert_allclose(model.net_.predict_proba(X), model.predict_proba(X), atol=1e-10)
    assert (model.net_.predict(X) == model.predict(X)).all()
    two = estimator(solver).fit(X[Y < 2], Y[Y < 2])
    assert_allclose(two.net_.predict_proba(X), two.predict_proba(X), atol=1e-10)


@over_solvers
def test_silent_by_default_and_a_bar_if_wished(solver, capfd):
    estimator(solver).fit(X, Y)
    assert capfd.readouterr() == ("", "")
    model = estimator(solver, verbose=1).fit(X, Y)
    assert (pickle.loads(pickle.dumps(model)).predict(X) == model.predict(X)).all()
    out, err = capfd.readouterr()
    assert out == ""
    assert "6/6" in err
    assert "loss=" in err
    assert ("batch" in err) == (solver in ("sgd", "adam"))


class StopAt(Callback):
    """Raises an error, as a crash would, at the end of an epoch."""

    def __init__(self, epoch, error):
        self.epoch = epoch
        self.error = error

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == self.epoch:
            raise self.error


@over_paths
def test_ten_and_ten_are_twenty(solver, tmp_path):
    # Predictors are computed anew after a break: rounding must not decide when it ends.
    params = {"C": 1e3, "tol": 1e-12 if solver in EXACT else None}

    def fit(max_iter, *callbacks):
        return estimator(solver, max_iter, callbacks=list(callbacks), **params).fit(X, Y)

    whole = fit(20, Callback())
    fit(10, Checkpoint(tmp_path / "half.pt"))
    resumed = fit(20, Checkpoint(tmp_path / "half.pt"))
    assert resumed.n_iter_ == whole.n_iter_
    assert_allclose(resumed.coef_, whole.coef_, rtol=0, atol=1e-10 * np.abs(whole.coef_).max())
    assert_allclose(resumed.history_[:, "train_loss"], whole.history_[:, "train_loss"], rtol=1e-10)


def test_a_resumed_fit_by_conjugate_gradients_comes_to_the_same_solution(tmp_path):
    def fit(max_iter, *callbacks):
        model = TorchLogisticRegression(solver="newton-cg", tol=1e-10, max_iter=max_iter)
        return model.set_params(callbacks=list(callbacks)).fit(X, Y)

    whole = fit(50)
    half = fit(5, Checkpoint(tmp_path / "half.pt"))
    resumed = fit(50, Checkpoint(tmp_path / "half.pt"))
    assert half.n_iter_ == 5 < resumed.n_iter_
    assert_allclose(resumed.coef_, whole.coef_, rtol=0, atol=1e-6)


@pytest.mark.parametrize("error", [RuntimeError("crash"), MemoryError()], ids=repr)
@over_solvers
def test_a_crashed_fit_is_resumed_by_running_it_again(solver, error, tmp_path):
    C = hard(solver)
    whole = estimator(solver, C=C).fit(X, Y)
    keep = Checkpoint(tmp_path / "fit.pt")
    with pytest.raises(type(error)):
        estimator(solver, C=C, callbacks=[keep, StopAt(4, error)]).fit(X, Y)
    resumed = estimator(solver, C=C, callbacks=[keep]).fit(X, Y)
    assert resumed.n_iter_[0] == 6
    assert_allclose(resumed.coef_, whole.coef_, rtol=0, atol=1e-9 * np.abs(whole.coef_).max())


class Interrupter(Callback):
    """Presses Ctrl-C in an epoch."""

    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) == 4:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.usefixtures("ctrl_c")
@over_solvers
def test_ctrl_c_leaves_a_checkpoint_to_go_on_from(solver, tmp_path):
    C = hard(solver)
    whole = estimator(solver, C=C).fit(X, Y)
    keep = Checkpoint(tmp_path / "fit.pt")
    stopped = estimator(solver, C=C, callbacks=[keep, Interrupter()])
    with pytest.raises(KeyboardInterrupt):
        stopped.fit(X, Y)
    assert not hasattr(stopped, "coef_")
    assert len(json.loads(torch.load(keep.path)["history"])) == 3
    resumed = estimator(solver, C=C, callbacks=[keep]).fit(X, Y)
    assert resumed.n_iter_[0] == 6
    assert_allclose(resumed.coef_, whole.coef_, rtol=0, atol=1e-9 * np.abs(whole.coef_).max())


@over_paths
@pytest.mark.parametrize("first", [0, 1])
def test_a_finished_fit_is_left_alone_and_a_schedule_goes_on(solver, first, tmp_path):
    def fit(max_iter, *callbacks):
        return estimator(solver, max_iter, C=1e3, callbacks=list(callbacks)).fit(X, Y)

    def schedule():
        return LRScheduler("LambdaLR", lr_lambda=lambda epoch: 1 / (1 + epoch / 3))

    if solver in EXACT:
        schedule = Callback
    whole = fit(10, schedule())
    for max_iter in (5, 10, 10):
        callbacks = [schedule(), Checkpoint(tmp_path / "fit.pt")]
        resumed = fit(max_iter, *(callbacks if first else callbacks[::-1]))
        assert resumed.n_iter_[0] == max_iter
    assert_allclose(resumed.coef_, whole.coef_, rtol=0, atol=1e-9 * np.abs(whole.coef_).max())


@pytest.mark.parametrize("solver", ["lbfgs", "adam"])
def test_a_converged_fit_makes_no_more_epochs(solver, tmp_path):
    model = TorchLogisticRegression(solver=solver, callbacks=[Checkpoint(tmp_path / "fit.pt")])
    n_iter, coef = model.fit(X, Y).n_iter_[0], model.coef_
    assert model.fit(X, Y).n_iter_[0] == n_iter
    assert_allclose(model.coef_, coef, rtol=0, atol=1e-12)
    assert model.set_params(tol=1e-7).fit(X, Y).n_iter_[0] > n_iter


@pytest.mark.parametrize(
    "change", [{"C": 2.0}, {"random_state": 1}, {"batch_size": 10}, {"l1_ratio": 0.5}], ids=str
)
def test_a_checkpoint_of_another_fit_is_refused(change, tmp_path):
    model = estimator("adam", callbacks=[Checkpoint(tmp_path / "fit.pt")]).fit(X, Y)
    for data in ((X, np.roll(Y, 1)), (X + 0.01, Y), (X, Y, np.arange(len(X)) % 2)):
        with pytest.raises(ValueError, match="holds a fit of other data or with other parameters"):
            model.fit(*data)
    with pytest.raises(ValueError, match="holds a fit of other data or with other parameters"):
        model.set_params(**change).fit(X, Y)


def test_parameters_of_numpy_are_no_obstacle(tmp_path):
    for solver, name in (("adam", "lr"), ("lbfgs", "tol")):
        model = estimator(solver, 3, callbacks=[Checkpoint(tmp_path / solver)])
        model.set_params(**{name: np.float64(1e-9)}).fit(X, Y)
        assert model.set_params(max_iter=5).fit(X, Y).n_iter_[0] == 5


def test_checkpoints_are_for_fit(tmp_path):
    model = estimator("adam", callbacks=[Checkpoint(tmp_path / "fit.pt")])
    with pytest.raises(ValueError, match="Checkpoint: that is for fit, not for partial_fit"):
        model.partial_fit(X, Y, classes=range(10))
    with pytest.raises(ValueError, match="is in a folder that does not exist"):
        estimator("adam", callbacks=[Checkpoint(tmp_path / "no" / "fit.pt")]).fit(X, Y)


class StopsIn(Callback):
    """Stops the fit, as skorch's callbacks do, in its third epoch."""

    def __init__(self, method):
        self.method = method

    def __getattribute__(self, name):
        if name.startswith("on_") and name == object.__getattribute__(self, "method"):
            return self._stop
        return object.__getattribute__(self, name)

    def _stop(self, net, **kwargs):
        if len(net.history) == 3:
            raise KeyboardInterrupt


@over_solvers
@pytest.mark.parametrize(
    "method", ["on_epoch_begin", "on_batch_begin", "on_batch_end", "on_epoch_end"]
)
def test_a_callback_may_stop_the_fit_at_any_point(solver, method):
    model = estimator(solver, callbacks=[StopsIn(method)]).fit(X, Y)
    assert 2 <= model.n_iter_[0] <= 3
    assert np.isfinite(model.coef_).all()
    assert np.isfinite(model.optimality_)


def test_a_crash_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "fit.pt"
    estimator("adam", 2, callbacks=[Checkpoint(path)]).fit(X, Y)
    before = path.read_bytes()
    save = torch.save

    def half(state, file):
        save(state, file)
        file.truncate(file.tell() // 2)
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(OSError, match="disk full"):
        estimator("adam", 4, callbacks=[Checkpoint(path)]).fit(X, Y)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    path = tmp_path / "fit.pt"
    estimator("adam", callbacks=[Checkpoint(path)]).fit(X, Y)
    with pytest.raises(ValueError, match=r"holds the parameters .* of Adam; this fit has .* SGD"):
        estimator("sgd", callbacks=[Checkpoint(path)]).fit(X, Y)
    with pytest.raises(ValueError, match="Use another path, or remove the file"):
        estimator("adam", callbacks=[Checkpoint(path)]).fit(X[:, :5], Y)
    with pytest.raises(ValueError, match="every=0 must be at least 1"):
        estimator("adam", callbacks=[Checkpoint(path, every=0)]).fit(X, Y)


def test_callbacks_may_differentiate_and_change_what_they_are_given():
    class Meddling(Callback):
        def on_batch_end(self, net, y_pred=None, **kwargs):
            weight = torch.ones_like(y_pred, requires_grad=True)
            (y_pred * weight).sum().backward()
            y_pred.clamp_(-1, 1)

    expected = TorchLogisticRegression(solver="lbfgs").fit(X, Y)
    model = TorchLogisticRegression(solver="lbfgs", callbacks=[Meddling()]).fit(X, Y)
    assert np.array_equal(model.coef_, expected.coef_)
    assert model.n_iter_ == expected.n_iter_
