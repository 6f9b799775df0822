"""Many processes and many threads: no hang, and the same numbers."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score

from torchlogreg import TorchLogisticRegression

X, Y = load_digits(return_X_y=True)
X = X / 16


@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
@pytest.mark.parametrize("solver", ["lbfgs", "newton-cholesky", "adam"])
def test_jobs_after_a_fit_in_the_parent(backend, solver):
    """OpenMP's threads of the parent do not live on in a child that is forked."""
    few = slice(0, 600) if solver == "newton-cholesky" else slice(None)
    model = TorchLogisticRegression(solver=solver, max_iter=5 if solver == "adam" else None)
    model.set_params(tol=None if solver == "adam" else 1e-4)
    TorchLogisticRegression(solver="lbfgs").fit(np.tile(X, (20, 1)), np.tile(Y, 20))
    alone = cross_val_score(model, X[few], Y[few], cv=2)
    with joblib.parallel_config(backend=backend, n_jobs=2):
        together = cross_val_score(model, X[few], Y[few], cv=2)
    assert_allclose(together, alone)


FORKS = """
import multiprocessing, sys, warnings
import numpy as np, torch
from sklearn.datasets import load_digits
from torchlogreg import TorchLogisticRegression

def answer(queue, method, *data):
    queue.put(method(*data) is not None)

warnings.simplefilter("ignore")
X, y = load_digits(return_X_y=True)
y = np.tile(y, 20)
X = np.tile(X / 16, (20, 1)) + np.random.default_rng(0).normal(size=(len(y), 64))
many = torch.from_numpy(X)
if sys.argv[1] == "set":
    torch.set_num_threads(2)
stream = TorchLogisticRegression(solver="adam", max_iter=1, tol=None).fit(many, y)
stream.predict(many)
many.T @ many
context = multiprocessing.get_context("fork")
exact = TorchLogisticRegression(solver="lbfgs").fit(X, y)
newton = TorchLogisticRegression(solver="newton-cholesky")
for case in [
    (stream.predict, many), (exact.predict_proba, X), (exact.fit, X, y), (exact.fit, many, y),
    (newton.fit, X[:900], y[:900]), (stream.partial_fit, X, y),
]:
    queue = context.SimpleQueue()
    child = context.Process(target=answer, args=(queue, *case))
    child.start()
    child.join(timeout=60)
    hangs = child.is_alive()
    child.kill()
    assert not hangs, case[0]
    assert queue.get()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
@pytest.mark.parametrize("threads", ["set", "not set"])
def test_forked_processes_fit_and_predict_whatever_was_done_before(threads):
    """Checks of large tensors, predictions and the user's own products start threads, too."""
    command = [sys.executable, "-c", FORKS, threads]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_eight_threads_agree_with_one():
    strengths = np.logspace(-2, 2, 8)

    def fitted(C):
        model = TorchLogisticRegression(C).fit(X, Y)
        return model.coef_, model.predict_proba(X)

    alone = [fitted(C) for C in strengths]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(fitted, strengths))
    for mine, other in zip(together, alone, strict=True):
        for part, expected in zip(mine, other, strict=True):
            assert_allclose(part, expected, rtol=1e-6, atol=1e-9)


def test_eight_threads_predict_with_one_model():
    model = TorchLogisticRegression().fit(X, Y)
    expected = model.predict_proba(X)
    with ThreadPoolExecutor(8) as pool:
        for proba in pool.map(model.predict_proba, [X] * 40):
            assert_allclose(proba, expected, rtol=1e-12)
