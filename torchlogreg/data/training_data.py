"""What a validated training set is. Shapes: see :mod:`torchlogreg.problem.objective`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchlogreg.data.containers import Container
from torchlogreg.problem.group import ALONE, Group
from torchlogreg.problem.products import CHUNK_ENTRIES
from torchlogreg.problem.stored import StoredMatrix
from torchlogreg.problem.threads import threads_for

Features = Tensor | StoredMatrix
"""Features (n, d), in memory or not."""


@dataclass(frozen=True, eq=False)
class TrainingData:
    """A validated training set."""

    X: Features
    """Features (n, d), dense or CSR: float32 or float64, bfloat16 or float16 if dense."""

    codes: Tensor
    """Class codes (n,)."""

    sample_weight: Tensor
    """Row weights (n,), class weights included: float64, on the CPU."""

    classes: np.ndarray
    """Labels (K,), sorted."""

    container: Container
    """What the features came in, and the model goes out in."""

    group: Group = ALONE
    """The processes that have rows: the tensors are those of this one."""

    elsewhere: tuple[int, int] = (0, 0)
    """Numbers of rows, and of stored entries, that the others have."""

    @property
    def is_dense(self) -> bool:
        """Whether X is dense."""
        return self.X.layout is torch.strided

    @property
    def n_busy_threads(self) -> int:
        """Threads that reading the features keeps busy."""
        return self.X.n_busy_threads if isinstance(self.X, StoredMatrix) else 0

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows, those of all processes, and of features."""
        return self.X.shape[0] + self.elsewhere[0], self.X.shape[1]

    @property
    def mean_rows(self) -> float:
        """Number of rows of a process, on average."""
        return self.shape[0] / self.group.size

    @property
    def mean_entries(self) -> float:
        """Number of stored entries of a process, on average."""
        return (n_entries_of(self.X) + self.elsewhere[1]) / self.group.size


def n_entries_of(X: Features) -> int:
    """Return the number of stored entries of a matrix."""
    if isinstance(X, StoredMatrix):
        return X.n_entries
    return X.numel() if X.layout is torch.strided else X.values().numel()


def is_finite(values: Tensor) -> bool:
    """Whether there is neither NaN nor infinity.

    A finite sum proves it, and takes no memory. Otherwise it may have overflowed, and every entry
    is looked at.
    """
    with threads_for(values.numel(), values.device):
        if values.sum().isfinite():
            return True
        return all(bool(part.isfinite().all()) for part in values.flatten().split(CHUNK_ENTRIES))


def check_device(device: str | torch.device | None, X: Any) -> torch.device:
    """Turn the parameter ``device`` into a device that can hold X."""
    if device is None:
        return X.device if isinstance(X, Tensor) else torch.device("cpu")
    try:
        torch.ones(1, device=device).cpu()
        target = torch.device(device)
    except Exception as error:  # each backend has its own way to say that it is not there
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"device={device!r} cannot be used here: {reason} "
            "Use 'cpu', or None for the device of X."
        ) from error
    if target.type == "mps" and X.dtype in (np.float64, torch.float64):
        raise ValueError(f"device={device!r} has no float64 and X is float64. Pass X as float32.")
    return target
