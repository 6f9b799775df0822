"""From arrays to tensors and back, sharing their memory where that is possible."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import sparse
from sklearn import config_context, get_config
from sklearn.utils._array_api import _is_numpy_namespace, get_namespace_and_device, move_to
from torch import Tensor
from torch.utils.dlpack import from_dlpack


@dataclass(frozen=True)
class Container:
    """The library whose arrays users gave, and get."""

    namespace: Any
    """The module: NumPy, torch, or another one that follows the array API standard."""

    device: Any = None
    """Where the arrays of such another library are."""

    def of(self, result: Tensor) -> Any:
        """Return a result as users get it; a tensor stays on its device."""
        if self.namespace is torch:
            return result
        array = as_numpy(result)
        if self.namespace is np:
            return array
        return move_to(array, xp=self.namespace, device=self.device)


ARRAYS, TENSORS = Container(np), Container(torch)


def container_of(X: Any) -> Container:
    """Return the container of features.

    Libraries other than NumPy and torch count where scikit-learn is told to heed them, by
    ``array_api_dispatch=True``. All the rest, data frames for instance, gets NumPy arrays.
    """
    if isinstance(X, Tensor):
        return TENSORS
    if get_config()["array_api_dispatch"]:
        namespace, is_standard, device = get_namespace_and_device(X)
        if is_standard and not _is_numpy_namespace(namespace):
            return Container(namespace, device)
    return ARRAYS


def from_library(array: Any) -> Tensor:
    """Turn an array of any library into a tensor, sharing its memory if possible."""
    try:
        tensor: Tensor = from_dlpack(array)
    except (AttributeError, BufferError, NotImplementedError, RuntimeError, TypeError, ValueError):
        with config_context(array_api_dispatch=True):  # DLPack does not know its device
            tensor = alias(move_to(array, xp=np, device="cpu"))
    return tensor


def as_numpy(array: Any) -> Any:
    """Bring a tensor, or an array of another library, to NumPy; leave the rest as it is."""
    if not isinstance(array, Tensor):
        is_foreign = hasattr(array, "__dlpack__") and not isinstance(array, np.ndarray)
        if is_foreign and container_of(array) is not ARRAYS:
            return move_to(array, xp=np, device="cpu")
        return array
    if array.dtype is torch.bfloat16:  # unknown to NumPy
        array = array.to(torch.float32)
    return array.detach().cpu().numpy()


def as_tensor(array: Any, device: torch.device | None = None) -> Tensor:
    """Bring a validated array to a device, without a copy where it is there already.

    By default it stays where it is. The tensor of a read-only array shares its memory and must not
    be written to.
    """
    if isinstance(array, Tensor):
        return array.to(device)
    if hasattr(array, "__array_namespace__") and not isinstance(array, np.ndarray):
        return from_library(array).to(device)
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
    return alias(np.asarray(array)).to(device)


def is_known_to_torch(dtype: np.dtype[Any]) -> bool:
    """Whether there are tensors of a dtype of NumPy."""
    try:
        torch.from_numpy(np.empty(0, dtype))
    except (TypeError, ValueError):
        return False
    return True


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
    """Share an array's memory with a tensor, if torch can compute with it as it is.

    What came through a network, as in workers of Dask, may begin at any byte: that is slow.
    """
    has_steps = all(stride >= 0 and stride % array.itemsize == 0 for stride in array.strides)
    if not (has_steps and array.flags.aligned):
        array = array.copy()
    if not array.flags.writeable:
        array = np.asarray(_WritableAlias(array))
    return torch.from_numpy(array)
