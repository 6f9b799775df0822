"""How many threads a computation gets: one that is too small to gain from them starts none.

A team of OpenMP threads is entered and left at a barrier, in every product and factorisation. On a
quiet machine that costs microseconds. Where other programs compute, it costs a time slice of the
scheduler whenever a thread of the team is not running.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import torch
from threadpoolctl import ThreadpoolController

ALONE = 2e6
"""Most multiplications of a step that a single thread makes."""


def threads_for(work: float, device: torch.device) -> AbstractContextManager[Any]:
    """Return a context in which the calling thread computes alone if the work is small.

    Nothing global changes: the limit of OpenMP is that of the calling thread.

    Parameters
    ----------
    work : float
        Multiplications of a step, such as an iteration.
    device : torch.device
        Where it is computed; threads are for the CPU only.
    """
    if work > ALONE or device.type != "cpu":
        return nullcontext()
    alone: AbstractContextManager[Any] = _openmp().limit(limits=1)
    return alone


@cache
def _openmp() -> ThreadpoolController:
    """Return the OpenMP libraries of this process. To find them takes milliseconds, once."""
    return ThreadpoolController().select(user_api="openmp")
