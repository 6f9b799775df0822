"""How many threads a computation gets: one that is too small to gain from them starts none.

A team of OpenMP threads is entered and left at a barrier, in every product and factorisation. On a
quiet machine that costs microseconds. Where other programs compute, it costs a time slice of the
scheduler whenever a thread of the team is not running.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from threadpoolctl import ThreadpoolController

ALONE = 2e6
"""Most multiplications of a step that a single thread makes."""


class _Team:
    """The threads of OpenMP that a thread of Python computes with.

    Parameters
    ----------
    n_busy : int
        How many of them something else keeps busy.
    """

    def __init__(self, n_busy: int) -> None:
        self._before = [(library, library.num_threads) for library in _openmp()]
        self._n_busy = n_busy
        self._n_teams: float = 0

    def share(self, n_teams: float) -> None:
        """Let it have its part from now on: of what each library has, one thread at least."""
        if n_teams != self._n_teams:
            for library, before in self._before:
                library.set_num_threads(max(int((before - self._n_busy) / n_teams), 1))
            self._n_teams = n_teams

    def release(self) -> None:
        """Let it have as many as before."""
        for library, before in self._before:
            library.set_num_threads(before)


_teams: dict[int, _Team] = {}
"""The teams that are at work, by the threads of Python that they belong to."""


@contextmanager
def threads_for(work: float, device: torch.device, n_busy: int = 0) -> Iterator[None]:
    """Let the calling thread compute alone if the work is small, or if it is one of many.

    In a process that was forked it always computes alone. Nothing global changes: the limit of
    OpenMP is that of the calling thread.

    Parameters
    ----------
    work : float
        Multiplications of a step, such as an iteration.
    device : torch.device
        Where it is computed; threads are for the CPU only.
    n_busy : int, default=0
        Threads that something else keeps busy meanwhile: a team that has to wait for one of its
        threads waits for it at every barrier.
    """
    torch.get_num_threads()  # with which torch settles the number of a new thread, once
    if _is_forked.is_set():  # also of MKL, which has a number of its own if torch was given one
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)
        return
    caller = threading.get_ident()
    if device.type != "cpu" or (work > ALONE and caller in _teams):
        yield
        return
    team = _Team(n_busy)
    try:
        if work <= ALONE:
            team.share(math.inf)
        else:
            _teams[caller] = team
            share_threads()
        yield
    finally:
        if _teams.get(caller) is team:
            del _teams[caller]
        team.release()


def share_threads() -> None:
    """Give the team of the calling thread its part, as others begin and end: between two steps."""
    team = _teams.get(threading.get_ident())
    if team is not None:
        team.share(len(_teams))


_is_forked = threading.Event()
"""Whether this process was forked: it has no team, but GNU's OpenMP would wait for one for ever."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_is_forked.set)
    os.register_at_fork(after_in_child=_teams.clear)


@cache
def _openmp() -> list[Any]:
    """Return the OpenMP libraries of this process. To find them takes milliseconds, once.

    The context manager of threadpoolctl takes ten times as long as these calls.
    """
    controller = ThreadpoolController().select(user_api="openmp")
    libraries: list[Any] = controller.lib_controllers
    return libraries
