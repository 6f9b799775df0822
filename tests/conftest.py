"""Fixtures: MNIST, and what a test may change."""

import signal

import pytest
from threadpoolctl import threadpool_limits


@pytest.fixture(scope="session")
def mnist():
    """The real MNIST; needs $TORCHLOGREG_DATA or a network."""
    from torchlogreg.datasets import load_mnist

    try:
        return load_mnist()
    except FileNotFoundError as error:
        pytest.skip(f"MNIST is not at hand: {error}")


@pytest.fixture
def ctrl_c():
    """Let SIGINT interrupt, as in a terminal: a job in the background is started to ignore it."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@pytest.fixture
def one_blas_thread():
    """Give scikit-learn's small products one thread: with more, its fits take ten times as long."""
    with threadpool_limits(limits=1, user_api="blas"):
        yield
