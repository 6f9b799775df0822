"""From arrays to tensors and back, sharing their memory where that is possible."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor


def as_numpy(array: Any) -> Any:
    """Bring a tensor to NumPy; leave anything else as it is."""
    if not isinstance(array, Tensor):
        return array
    if array.dtype is torch.bfloat16:  # unknown to NumPy
        array = array.to(torch.float32)
    return array.detach().cpu().numpy()


def as_tensor(array: Any, device: torch.device) -> Tensor:
    """Bring a validated array to a device, without a copy where it is there already.

    The tensor of a read-only array shares its memory and must not be written to.
    """
    if isinstance(array, Tensor):
        return array.to(device)
    if sparse.issparse(array):
        if not array.has_canonical_format:  # the square of a sum is no sum of squares
            array = array.copy()
            array.sum_duplicates()
        return torch.sparse_csr_tensor(
            alias(array.indptr),
            alias(array.indices),
            alias(array.data),
            size=array.shape,
            device="cpu",
            check_invariants=False,
        ).to(device)
    return alias(array).to(device)


def outgoing(result: Tensor, is_tensor: bool) -> Any:
    """Return a result in the container of the features that it belongs to."""
    return result if is_tensor else as_numpy(result)


class _WritableAlias:
    """A read-only array under the array interface of a writable one.

    Memory maps, which joblib makes for its workers, are read-only; torch takes their memory
    without a warning only if it believes that it might write there.
    """

    def __init__(self, array: np.ndarray) -> None:
        interface = array.__array_interface__
        self.array = array
        self.__array_interface__ = {**interface, "data": (interface["data"][0], False)}


def alias(array: np.ndarray) -> Tensor:
    """Share an array's memory with a tensor."""
    if any(stride < 0 or stride % array.itemsize for stride in array.strides):
        array = array.copy()
    if not array.flags.writeable:
        array = np.asarray(_WritableAlias(array))
    return torch.from_numpy(array)
