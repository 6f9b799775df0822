"""What the benchmarks rely on."""

import time

import pytest

from benchmarks.stoppable import Stoppable


def make_waiting(seconds):
    def wait(n_times):
        time.sleep(n_times * seconds)
        return n_times

    return wait


def test_who_takes_too_long_is_stopped_and_made_anew():
    waiting = Stoppable(make_waiting, 0.2)
    try:
        assert waiting(1, limit=30) == 1
        begin = time.perf_counter()
        with pytest.raises(TimeoutError, match=r"more than 0\.5 s"):
            waiting(1000, limit=0.5)
        assert time.perf_counter() - begin < 30
        assert waiting(2, limit=30) == 2
    finally:
        waiting.stop()
