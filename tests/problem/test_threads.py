"""Small computations start no threads, and nobody else notices."""

import threading

import numpy as np
import pytest
import torch

from torchlogreg import TorchLogisticRegression
from torchlogreg.problem import threads
from torchlogreg.problem.threads import ALONE, threads_for

CPU = torch.device("cpu")

pytestmark = pytest.mark.skipif(
    torch.get_num_threads() < 2, reason="there is one thread anyway on this machine"
)


def test_small_work_is_done_alone_and_large_work_is_not():
    before = torch.get_num_threads()
    with threads_for(ALONE, CPU):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
    with threads_for(ALONE + 1, CPU):
        assert torch.get_num_threads() == before


def test_the_limit_is_lifted_after_an_error():
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), threads_for(0, CPU):
        1 / 0  # noqa: B018
    assert torch.get_num_threads() == before


def test_other_threads_keep_theirs():
    """Also those that begin meanwhile, with limits of their own inside."""
    before, seen = torch.get_num_threads(), []

    def look():
        seen.append(torch.get_num_threads())
        with threads_for(0, CPU):
            seen.append(torch.get_num_threads())
        seen.append(torch.get_num_threads())

    with threads_for(0, CPU):
        other = threading.Thread(target=look)
        other.start()
        other.join()
    assert seen == [before, 1, before]


def test_fits_choose_by_their_size(monkeypatch):
    seen = []

    def limit(work, device):
        seen.append(work)
        return threads_for(work, device)

    monkeypatch.setattr("torchlogreg.estimators.base.threads_for", limit)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(100, 4)), np.arange(100) % 3
    for solver, work in (
        ("newton-cholesky", 100 * 15**2 + 15**3 / 3),
        ("lbfgs", 2 * 100 * 4 * 3),
        ("sgd", 2 * 100 * 4 * 3),
    ):
        TorchLogisticRegression(solver=solver, tol=0.1).fit(X, y)
        assert seen.pop() == work


def test_many_threads_fit_at_the_same_time_as_one_does():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(150, 5)), np.arange(150) % 3
    expected = TorchLogisticRegression().fit(X, y).coef_
    before, found = torch.get_num_threads(), []

    def fit():
        for _ in range(5):
            found.append(TorchLogisticRegression().fit(X, y).coef_)

    fits = [threading.Thread(target=fit) for _ in range(8)]
    for thread in fits:
        thread.start()
    for thread in fits:
        thread.join()
    assert len(found) == 40
    assert all(np.array_equal(coef, expected) for coef in found)
    assert torch.get_num_threads() == before
    assert all(library.num_threads == before for library in threads._openmp())


def test_a_thread_that_has_used_torch_for_nothing_else_computes_alone():
    seen = []

    def look():
        with threads_for(0, CPU):
            seen.append(torch.get_num_threads())

    other = threading.Thread(target=look)
    other.start()
    other.join()
    assert seen == [1]
