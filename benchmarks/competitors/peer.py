"""A competitor in one of its settings."""

import contextlib
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from threadpoolctl import threadpool_limits

from benchmarks.competitors.not_applicable import NotApplicableError


@dataclass(frozen=True)
class Peer:
    """A fit with its parameters, and the threads that it may use."""

    name: str
    """The competitor, its solver and tolerance."""

    function: Callable[..., Any]
    """Takes X, y, C and the parameters."""

    params: dict[str, Any] = field(default_factory=dict)
    """What it is called with."""

    n_threads: int | None = None
    """Threads of BLAS and OpenMP; None for all."""

    def __str__(self):
        return f"{self.name}, {self.n_threads or 'all'} thread{'' if self.n_threads == 1 else 's'}"

    def fit(self, X, y, C):
        """Fit, within the limit of threads."""
        return self.function(X, y, C, **self.params)

    def threads(self):
        """Return a context with that limit; entering it is not part of a fit."""
        if self.n_threads is None:
            return contextlib.nullcontext()
        return threadpool_limits(self.n_threads)


@contextlib.contextmanager
def time_limit(seconds):
    """End what takes longer, between two calls of Python.

    Raises
    ------
    NotApplicableError
        If the time is over.
    """
    over = NotApplicableError(f"takes more than {seconds:.2g} s")

    def end(number, frame):
        raise over

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except SystemError as error:  # what compiled Python makes of it
        raise over from error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
