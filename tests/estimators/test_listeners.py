"""scikit-learn's callbacks: told of every iteration of every solver, and able to end the fit."""

import copy
import warnings

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import get_scorer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback

from torchlogreg import (
    BatchedGridSearchCV,
    TorchLogisticRegression,
    TorchLogisticRegressionCV,
)

callback = pytest.importorskip("sklearn.callback", reason="scikit-learn 1.9 has callbacks")

X, Y = load_iris(return_X_y=True)
SOLVERS = ["newton-cholesky", "newton-cg", "lbfgs", "prox-newton", "sgd", "adam"]


class Listener:
    """Notes what it is told, and may end the fit after some iterations."""

    max_propagation_depth = None

    def __init__(self, last=None):
        self.last = last
        self.events = []

    def setup(self, estimator, context):
        self.events.append(("setup", None))

    def teardown(self, estimator, context):
        self.events.append(("teardown", None))

    def on_fit_task_begin(self, estimator, context, *, X=None, y=None, metadata=None):
        self.events.append((f"begin {context.task_name}", context.task_id))
        self.data = X, y, metadata

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        self.events.append((f"end {context.task_name}", context.task_id))
        self.model = fitted_estimator
        return self.last is not None and context.task_id + 1 == self.last

    def count(self, name):
        return sum(event == name for event, _ in self.events)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("solver", SOLVERS)
def test_every_iteration_is_told(solver):
    listener = Listener()
    model = TorchLogisticRegression(solver=solver, max_iter=30).set_callbacks(listener)
    weight = np.ones(len(Y))
    model.fit(X, Y, sample_weight=weight)
    n_iter = int(model.n_iter_[0])
    assert n_iter > 1
    assert listener.count("setup") == listener.count("teardown") == 1
    assert listener.count("begin fit") == listener.count("end fit") == 1
    assert listener.count("begin iteration") == listener.count("end iteration") == n_iter
    assert listener.count("begin check") == listener.count("end check") == 1
    assert listener.events[0][0] == "setup"
    assert listener.events[-2:] == [("end fit", 0), ("teardown", None)]
    given, labels, metadata = listener.data
    assert given is X
    assert labels is Y
    assert metadata == {"sample_weight": weight}
    plain = TorchLogisticRegression(solver=solver, max_iter=30).fit(X, Y)
    assert_allclose(model.coef_, plain.coef_, rtol=1e-10)
    assert not hasattr(model, "_callback_fit_ctx")


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_callback_ends_the_fit(solver):
    model = TorchLogisticRegression(solver=solver).set_callbacks(Listener(last=2)).fit(X, Y)
    assert model.n_iter_[0] == 2


class Counter(Callback):
    def on_epoch_end(self, net, **kwargs):
        net.history.record("counted", len(net.history))


@pytest.mark.parametrize("solver", ["lbfgs", "sgd"])
@pytest.mark.parametrize("given", ["disable", None, [], [Counter()], (("counter", Counter()),)])
def test_callbacks_of_the_net_do_not_silence_them(solver, given):
    listener = Listener(last=2)
    model = TorchLogisticRegression(solver=solver, net_params={"callbacks": given})
    model.set_callbacks(listener).fit(X, Y)
    assert listener.count("end iteration") == model.n_iter_[0] == 2
    assert ("counted" in model.history_[-1]) == (given not in ("disable", None, []))


def test_callbacks_of_the_estimator_and_of_the_net_are_called():
    model = TorchLogisticRegression(
        solver="lbfgs", callbacks=[Counter()], net_params={"callbacks": [("again", Counter())]}
    ).fit(X, Y)
    assert [name for name, _ in model.net_.callbacks_].count("again") == 1
    assert model.history_[-1, "counted"] == model.n_iter_[0]


@pytest.mark.parametrize("container", [np.asarray, torch.as_tensor], ids=["array", "tensor"])
@pytest.mark.parametrize("solver", ["newton-cholesky", "lbfgs", "sgd"])
def test_the_fitted_estimator_is_that_of_so_many_iterations(solver, container):
    class Check(Listener):
        def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
            if context.task_name == "iteration":
                short = TorchLogisticRegression(
                    solver=solver, max_iter=context.task_id + 1, random_state=0
                )
                with warnings.catch_warnings(action="ignore"):
                    short.fit(container(X), Y)
                assert_allclose(fitted_estimator.coef_, short.coef_, rtol=1e-6, atol=1e-9)
                assert_allclose(
                    fitted_estimator.predict_proba(container(X)),
                    short.predict_proba(container(X)),
                    rtol=1e-6,
                )
                assert fitted_estimator is not estimator
                self.last = 3
            return super().on_fit_task_end(estimator, context)

    model = TorchLogisticRegression(solver=solver, random_state=0, tol=1e-9)
    model.set_callbacks(Check()).fit(container(X), Y)
    assert model.n_iter_[0] == 3


def test_the_tasks_end_if_a_callback_of_skorch_ends_the_fit():
    from skorch.callbacks import EarlyStopping

    stop = EarlyStopping("train_loss", patience=2, threshold=1e9, threshold_mode="abs")
    listener = Listener()
    TorchLogisticRegression(callbacks=[stop]).set_callbacks(listener).fit(X, Y)
    assert listener.count("begin iteration") == listener.count("end iteration") == 3
    assert listener.count("begin check") == listener.count("end check") == 1


def test_a_limit_of_the_net_is_heeded():
    model = TorchLogisticRegression(solver="sgd", tol=None, max_iter=2)
    model.set_params(net_params={"max_epochs": 5}).set_callbacks(Listener()).fit(X, Y)
    assert model.n_iter_[0] == 5


def test_an_error_of_a_callback_leaves_everything_as_it_was():
    class Bad(Listener):
        def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
            raise RuntimeError("mine")

    bad = Bad()
    model = TorchLogisticRegression().set_callbacks(bad)
    with pytest.raises(RuntimeError, match="mine"):
        model.fit(X, Y)
    assert bad.events[-1] == ("teardown", None)
    assert not hasattr(model, "coef_")
    assert not hasattr(model, "_callback_fit_ctx")


def test_the_net_forgets_who_listened():
    listener = Listener()
    model = TorchLogisticRegression(solver="sgd").set_callbacks(listener)
    model.set_params(max_iter=3, tol=None).fit(X, Y)
    n_events = len(listener.events)
    model.partial_fit(X, Y)
    assert len(listener.events) == n_events


def test_scores_are_monitored():
    monitor = callback.ScoringMonitor(scoring="neg_log_loss")
    model = TorchLogisticRegression(solver="lbfgs").set_callbacks(monitor).fit(X, Y)
    log = monitor.get_logs().data_as_pandas
    scores = log.loc[log["task_name"] == "iteration", "neg_log_loss"].to_numpy()
    assert len(scores) == model.n_iter_[0]
    assert scores[-1] == pytest.approx(get_scorer("neg_log_loss")(model, X, Y), rel=1e-9)
    assert scores[0] < scores[-1]


def test_searches_and_pipelines_pass_them_on():
    listener = Listener()
    pipeline = make_pipeline(StandardScaler(), TorchLogisticRegression(tol=None, solver="sgd"))
    pipeline.set_params(torchlogisticregression__max_iter=4)
    search = GridSearchCV(pipeline, {"torchlogisticregression__C": [0.1, 1.0]}, cv=2)
    search.set_callbacks(listener).fit(X, Y)
    n_fits = 2 * 2 + 1
    assert listener.count("begin iteration") == listener.count("end iteration") == n_fits * 4
    assert listener.count("setup") == listener.count("teardown") == 1


SEARCHED = [
    TorchLogisticRegression(),
    make_pipeline(StandardScaler(), TorchLogisticRegression()),
]


@pytest.mark.parametrize("estimator", SEARCHED, ids=["classifier", "pipeline"])
def test_a_batched_search_tells_of_what_it_solves(estimator):
    class Check(Listener):
        def on_fit_task_end(self, estimator, context, *, fitted_estimator=None, X=None, y=None):
            if context.task_name == "iteration":
                assert isinstance(fitted_estimator, TorchLogisticRegression)
                assert fitted_estimator.score(X, y) > 0.3
            return super().on_fit_task_end(estimator, context)

    listener = Check()
    grid = {"C": [0.1, 1.0]}
    if isinstance(estimator, Pipeline):
        grid = {"torchlogisticregression__C": [0.1, 1.0]}
    search = BatchedGridSearchCV(estimator, grid, cv=2).set_callbacks(listener).fit(X, Y)
    assert listener.count("setup") == listener.count("teardown") == 1
    # of two folds, each solved at once for both candidates
    assert listener.count("begin solve") == listener.count("end solve") == 2
    assert listener.count("begin check") == listener.count("end check") == 2 + 1
    n_refit = int(_last(search.best_estimator_).n_iter_[0])
    n_iter = listener.count("end iteration")
    assert listener.count("begin iteration") == n_iter > 2 * 2 + n_refit
    plain = BatchedGridSearchCV(estimator, grid, cv=2).fit(X, Y)
    assert_allclose(_last(search.best_estimator_).coef_, _last(plain.best_estimator_).coef_)
    assert_allclose(search.cv_results_["mean_test_score"], plain.cv_results_["mean_test_score"])
    assert not any(name.startswith("_skl") for name in vars(search.best_estimator_))


def _last(estimator):
    return estimator[-1] if isinstance(estimator, Pipeline) else estimator


@pytest.mark.parametrize("estimator", SEARCHED, ids=["classifier", "pipeline"])
def test_a_batched_search_tells_as_many_candidates_as_scikit_learn(estimator):
    """Of the tasks of the search and of the pipeline, and of the bar that they draw."""
    grid = {"C": [0.1, 1.0, 10.0]}
    if isinstance(estimator, Pipeline):
        grid = {f"torchlogisticregression__{name}": values for name, values in grid.items()}

    def candidates(search_class):
        listener = Paths()
        search_class(estimator, grid, cv=3).set_callbacks(listener).fit(X, Y)
        return {path for path in listener.paths if len(path) <= 3}

    assert candidates(BatchedGridSearchCV) == candidates(GridSearchCV)


class Paths(Listener):
    """Notes where in the tree of tasks those are that have ended."""

    def __init__(self):
        super().__init__()
        self.paths = []

    def on_fit_task_end(self, estimator, context):
        path, task = [], context
        while task is not None:
            path.append(task.task_id)
            task = task.parent
        self.paths.append(tuple(path[::-1]))


def test_a_classifier_in_a_batched_search_has_callbacks_of_its_own():
    monitor = callback.ScoringMonitor(scoring="neg_log_loss")
    model = TorchLogisticRegression().set_callbacks(monitor)
    BatchedGridSearchCV(make_pipeline(StandardScaler(), model), {}, cv=2).fit(X, Y)
    log = monitor.get_logs("all")[-1].data_as_pandas
    assert (log["neg_log_loss"] < 0).all()
    monitor = callback.ScoringMonitor(scoring="neg_log_loss")
    model = TorchLogisticRegression().set_callbacks(monitor)
    BatchedGridSearchCV(model, {"C": [0.1, 1.0]}, cv=2).fit(X, Y)
    log = monitor.get_logs().data_as_pandas
    scores = log.loc[log["task_name"] == "iteration", "neg_log_loss"].to_numpy()
    assert len(scores) > 2
    assert (scores < 0).all()


@pytest.mark.parametrize("refit", [True, False])
@pytest.mark.parametrize("container", [np.asarray, torch.as_tensor], ids=["array", "tensor"])
def test_a_cross_validation_tells_of_every_iteration(refit, container):
    class Check(Listener):
        def on_fit_task_end(self, estimator, context, *, fitted_estimator=None, X=None, y=None):
            assert X is features
            if context.task_name == "iteration":
                self.scores.append(fitted_estimator.predict_proba(X)[0, 0])
            if context.task_name == "solve":
                self.solved.append(fitted_estimator.coef_)
            return super().on_fit_task_end(estimator, context)

    features, listener = container(X), Check()
    listener.scores, listener.solved = [], []
    params = {"Cs": [0.1, 1.0, 10.0], "cv": 3, "refit": refit, "working_memory": 1e-3}
    model = TorchLogisticRegressionCV(**params).set_callbacks(listener).fit(features, Y)
    plain = TorchLogisticRegressionCV(**params).fit(features, Y)
    assert_allclose(model.coefs_paths_, plain.coefs_paths_)
    assert_allclose(model.coef_, plain.coef_)
    # So little memory that the models of every fold are solved alone, one C after the other.
    n_problems = 3 + refit
    assert listener.count("begin solve") == listener.count("end solve") == 3 * n_problems
    assert listener.count("begin check") == listener.count("end check") == 3 * n_problems
    n_iter = listener.count("end iteration")
    assert n_iter >= model.n_iter_.sum() + 3 * refit
    assert n_iter == model.n_iter_.sum() if not refit else n_iter > model.n_iter_.sum()
    assert_allclose(listener.solved[2][0], model.coefs_paths_[0, 0, 2, 0, :-1])
    assert isinstance(listener.scores[0], type(features[0, 0]))
    assert listener.events[-2:] == [("end fit", 0), ("teardown", None)]
    assert not hasattr(model, "_callback_fit_ctx")


def test_a_callback_ends_the_batches_of_a_cross_validation():
    listener = Listener(last=2)
    model = TorchLogisticRegressionCV(Cs=4, cv=3, tol=1e-10).set_callbacks(listener)
    with pytest.warns(ConvergenceWarning):
        model.fit(X, Y)
    assert (model.n_iter_ == 2).all()
    assert listener.count("end iteration") == 2 * listener.count("end solve")


def test_scores_of_a_cross_validation_are_monitored():
    monitor = callback.ScoringMonitor(scoring="neg_log_loss")
    model = TorchLogisticRegressionCV(Cs=[1.0], cv=3).set_callbacks(monitor).fit(X, Y)
    log = monitor.get_logs().data_as_pandas
    scores = log.loc[log["task_name"] == "solve", "neg_log_loss"].to_numpy()
    assert scores[-1] == pytest.approx(get_scorer("neg_log_loss")(model, X, Y), rel=1e-9)


def test_a_progress_bar_is_drawn(capsys):
    model = TorchLogisticRegression().set_callbacks(callback.ProgressBar())
    model.fit(X, Y)
    assert "TorchLogisticRegression" in capsys.readouterr().out


def test_callbacks_are_those_of_the_estimator_after_a_copy():
    listener = Listener()
    model = TorchLogisticRegression().set_callbacks(listener)
    copy.copy(model).fit(X, Y)
    assert listener.count("end fit") == 1
