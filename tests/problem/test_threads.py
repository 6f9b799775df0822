"""Small computations start no threads, and nobody else notices."""

import sys
import threading

import numpy as np
import pytest
import torch

from torchlogreg import TorchLogisticRegression
from torchlogreg.problem import threads
from torchlogreg.problem.threads import ALONE, share_threads, threads_for

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def two_threads():
    """There may be one, as the suite asks for: these tests are of several."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_small_work_is_done_alone_and_large_work_is_not():
    before = torch.get_num_threads()
    with threads_for(ALONE, CPU):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
    with threads_for(ALONE + 1, CPU):
        assert torch.get_num_threads() == before


def test_threads_are_left_to_what_else_is_busy():
    with threads_for(ALONE + 1, CPU, n_busy=1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    with threads_for(ALONE + 1, CPU, n_busy=5):
        assert torch.get_num_threads() == 1


def test_fits_at_the_same_time_share_the_threads():
    begun, ended, seen = threading.Event(), threading.Event(), []

    def other():
        with threads_for(ALONE + 1, CPU):
            seen.append(torch.get_num_threads())
            begun.set()
            ended.wait(10)

    with threads_for(ALONE + 1, CPU), threads_for(ALONE + 1, CPU):  # one within another is one
        share_threads()
        assert torch.get_num_threads() == 2
        thread = threading.Thread(target=other)
        thread.start()
        begun.wait(10)
        assert torch.get_num_threads() == 2  # until the next step
        share_threads()
        assert torch.get_num_threads() == 1
        ended.set()
        thread.join()
        share_threads()
        assert torch.get_num_threads() == 2
    assert seen == [1]
    assert not threads._teams


def test_every_library_keeps_a_number_of_its_own():
    """scikit-learn's OpenMP has all threads, whatever torch was told to take."""
    libraries = threads._openmp()
    before = [library.num_threads for library in libraries]
    own = range(1, len(libraries) + 1)
    try:
        for library, number in zip(libraries, own, strict=True):
            library.set_num_threads(number)
        with threads_for(ALONE + 1, CPU):
            assert [library.num_threads for library in libraries] == [*own]
    finally:
        for library, number in zip(libraries, before, strict=True):
            library.set_num_threads(number)


def test_every_iteration_looks_for_other_fits(monkeypatch):
    calls = []
    module = sys.modules["torchlogreg.optim.minimise"]
    monkeypatch.setattr(module, "share_threads", lambda: calls.append(1))
    rng = np.random.default_rng(0)
    model = TorchLogisticRegression().fit(rng.normal(size=(100, 4)), np.arange(100) % 3)
    assert len(calls) == model.n_iter_[0]


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

    def limit(work, device, n_busy):
        seen.append(work)
        return threads_for(work, device, n_busy)

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
    found, before = [], [library.num_threads for library in threads._openmp()]

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
    assert [library.num_threads for library in threads._openmp()] == before


def test_a_thread_that_has_used_torch_for_nothing_else_computes_alone():
    seen = []

    def look():
        with threads_for(0, CPU):
            seen.append(torch.get_num_threads())

    other = threading.Thread(target=look)
    other.start()
    other.join()
    assert seen == [1]
