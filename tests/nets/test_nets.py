"""The training loop: one epoch is one iteration, and skorch's callbacks work."""

import gc
import signal
import weakref

import pytest
import skorch
import torch
from skorch.callbacks import Callback, Checkpoint, EarlyStopping
from torch.testing import assert_close

from tests.problems import Problem
from torchlogreg.nets import FullBatchNet
from torchlogreg.optim import LBFGS, NewtonCholesky


def make_net(problem, optimizer=LBFGS, **kwargs):
    objective = problem.objective()
    return FullBatchNet(
        type(problem.module()),
        module__n_features=problem.n_features,
        module__n_outputs=problem.coef().shape[1],
        module__batch_shape=(problem.n_problems,),
        module__dtype=torch.float64,
        criterion__family=objective.family,
        criterion__penalty=objective.penalty,
        optimizer=optimizer,
        **{"lr": 1.0, "max_epochs": 200, **kwargs},
    )


@pytest.mark.parametrize("optimizer", [LBFGS, NewtonCholesky])
def test_epochs_are_iterations(optimizer):
    problem = Problem(3, 1)
    net = make_net(problem, optimizer, max_epochs=3, optimizer__tol=1e-9).fit(problem.rows())
    param = torch.nn.Parameter(torch.zeros_like(problem.coef()))
    alone, objective = optimizer([param], tol=1e-9), problem.objective()
    for _ in range(3):
        alone.step(objective)
    assert isinstance(net, skorch.NeuralNet)
    assert len(net.history) == 3
    assert_close(net.module_.coef.detach(), param.detach(), rtol=0, atol=1e-14)


def test_loop_ends_when_the_optimizer_is_finished():
    problem = Problem(3, 1)
    net = make_net(problem, optimizer__tol=1e-6).fit(problem.rows())
    assert net.optimizer_.is_converged
    assert 1 < len(net.history) < net.max_epochs
    losses = net.history[:, "train_loss"]
    assert losses == sorted(losses, reverse=True)
    enough = net.optimizer_.algorithm.stopping.goal
    assert net.history[-1, "optimality"] <= enough < net.history[-2, "optimality"]


@pytest.mark.parametrize("max_epochs", [6, 200])
def test_the_history_of_queued_iterations_is_complete(max_epochs):
    problem = Problem(3, 1)
    net = make_net(
        problem, optimizer__tol=1e-9, optimizer__check_every=4, max_epochs=max_epochs
    ).fit(problem.rows())
    losses = net.history[:, "train_loss"]
    assert losses == sorted(losses, reverse=True)
    assert net.history[:, "batches", 0, "train_loss"] == losses
    coef = net.module_.coef.detach()
    point = problem.objective().at(coef)
    assert losses[-1] == pytest.approx(point.value[0], rel=1e-12)
    assert net.history[-1, "optimality"] == pytest.approx(point.grad.abs().max().item(), rel=1e-3)
    assert len(net.history) <= 6 or net.optimizer_.is_converged
    assert all(isinstance(step, float) for step in net.history[:, "step"])


def test_partial_fit_goes_on_where_fit_stopped():
    problem = Problem(3, 7)
    rows = problem.rows()
    whole = make_net(problem, max_epochs=10, optimizer__tol=1e-14).fit(rows)
    parts = make_net(problem, max_epochs=5, optimizer__tol=1e-14).fit(rows)
    parts.partial_fit(rows)
    assert len(parts.history) == 10
    assert_close(parts.module_.coef, whole.module_.coef, rtol=0, atol=1e-10)


def test_callbacks_see_every_iteration():
    class Recorder(Callback):
        def __init__(self):
            self.events = []

        def on_train_begin(self, net, **kwargs):
            self.events.append("begin")

        def on_epoch_end(self, net, **kwargs):
            self.events.append(net.history[-1, "train_loss"])

        def on_train_end(self, net, **kwargs):
            self.events.append("end")

    recorder = Recorder()
    net = make_net(Problem(2, 1), callbacks=[recorder]).fit(Problem(2, 1).rows())
    assert recorder.events == ["begin", *net.history[:, "train_loss"], "end"]


def test_early_stopping_stops_in_silence():
    stopper = EarlyStopping(monitor="train_loss", patience=2, threshold=0.5, sink=lambda text: None)
    problem = Problem(3, 1)
    net = make_net(problem, callbacks=[stopper], optimizer__tol=0.0).fit(problem.rows())
    assert len(net.history) < 10
    assert not net.optimizer_.is_finished


class Interrupter(Callback):
    """Deliver the signal of Ctrl-C in the third epoch."""

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 3:
            signal.raise_signal(signal.SIGINT)


def own_handler(number, frame):
    raise KeyboardInterrupt


@pytest.mark.parametrize("handler", [signal.default_int_handler, own_handler])
def test_control_c_reaches_the_user(handler):
    problem = Problem(3, 1)
    net = make_net(problem, callbacks=[Interrupter()], optimizer__tol=0.0)
    previous = signal.signal(signal.SIGINT, handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            net.fit(problem.rows())
    finally:
        signal.signal(signal.SIGINT, previous)
    assert len(net.history) == 3
    assert net.optimizer_.run is None


def test_checkpoints_can_be_loaded(tmp_path):
    problem = Problem(3, 1)
    checkpoint = Checkpoint(monitor="train_loss_best", dirname=tmp_path)
    rows = problem.rows()
    net = make_net(problem, callbacks=[checkpoint], max_epochs=5).fit(rows)
    twin = make_net(problem, callbacks=[checkpoint], max_epochs=5).initialize()
    twin.load_params(checkpoint=checkpoint)
    assert_close(twin.module_.coef, net.module_.coef)
    assert_close(twin.partial_fit(rows).module_.coef, net.partial_fit(rows).module_.coef)


def test_trained_net_holds_no_data():
    problem = Problem(2, 1)
    rows = problem.rows()
    net = make_net(problem).fit(rows)
    reference = weakref.ref(rows.rows.blocks[0].X)
    del rows
    gc.collect()
    assert reference() is None
    assert net.initialized_
