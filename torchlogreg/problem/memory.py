"""How much memory a device has."""

from __future__ import annotations

import os

import torch


def memory_of(device: torch.device) -> float:
    """Return the memory of a device in bytes: all of it on a CPU, what is free on a GPU.

    Infinity where the system does not tell.
    """
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):
        return float("inf")
