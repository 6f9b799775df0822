"""How many threads a computation gets: one that is too small to gain from them starts none.

A team of OpenMP threads is entered and left at a barrier, in every product and factorisation. On a
quiet machine that costs microseconds. Where other programs compute, it costs a time slice of the
scheduler whenever a thread of the team is not running.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from threadpoolctl import ThreadpoolController

ALONE = 2e6
"""Most multiplications of a step that a single thread makes."""


@contextmanager
def threads_for(work: float, device: torch.device, n_busy: int = 0) -> Iterator[None]:
    """Let the calling thread compute alone if the work is small.

    In a process that was forked it always computes alone. Nothing global changes: the limit of
    OpenMP is that of the calling thread.

    Parameters
    ----------
    work : float
        Multiplications of a step, such as an iteration.
    device : torch.device
        Where it is computed; threads are for the CPU only.
    n_busy : int, default=0
        Threads that something else keeps busy meanwhile.
    """
    torch.get_num_threads()  # with which torch settles the number of a new thread, once
    limits: list[tuple[Callable[[int], None], int]] = []
    n_threads = 1
    if _is_forked.is_set():  # also of MKL, which has a number of its own if torch was given one
        limits = [(torch.set_num_threads, torch.get_num_threads())]
    elif work <= ALONE and device.type == "cpu":
        limits = [(library.set_num_threads, library.num_threads) for library in _openmp()]
    elif n_busy and device.type == "cpu":
        # A team that has to wait for one of its threads waits for it at every barrier.
        limits = [(library.set_num_threads, library.num_threads) for library in _openmp()]
        n_threads = max(max(before for _, before in limits) - n_busy, 1)
    for limit, _ in limits:
        limit(n_threads)
    try:
        yield
    finally:
        for limit, before in limits:
            limit(before)


_is_forked = threading.Event()
"""Whether this process was forked: it has no team, but GNU's OpenMP would wait for one for ever."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_is_forked.set)


@cache
def _openmp() -> list[Any]:
    """Return the OpenMP libraries of this process. To find them takes milliseconds, once.

    The context manager of threadpoolctl takes ten times as long as these calls.
    """
    controller = ThreadpoolController().select(user_api="openmp")
    libraries: list[Any] = controller.lib_controllers
    return libraries
