"""What pickles of a fitted estimator hold: arrays and numbers, whatever device it was fitted on."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from scipy import sparse
from sklearn.exceptions import InconsistentVersionWarning
from torch import Tensor

from torchlogreg.data.containers import as_numpy, as_tensor
from torchlogreg.version import __version__

_VERSION, _DEVICES = "_torchlogreg_version", "_devices"


class PersistentMixin:
    """Pickles that load anywhere.

    Tensors are stored as arrays, and the device by its name: what was fitted on a GPU loads on the
    CPU where there is none. No tensor is in such a pickle, so that ``torch.load`` is not needed.
    """

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes; tensors as arrays."""
        left = self._left_behind()
        given: Any = super().__getstate__()
        state = {name: value for name, value in given.items() if name not in left}
        tensors = {name: value for name, value in state.items() if _is_plain(value)}
        return {
            **state,
            **{name: _stored(value) for name, value in tensors.items()},
            _DEVICES: {name: str(value.device) for name, value in tensors.items()},
            _VERSION: __version__,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the attributes; warn if another version has stored them."""
        state = dict(state)
        version, devices = state.pop(_VERSION, "unknown"), state.pop(_DEVICES, {})
        if version != __version__:
            warnings.warn(
                InconsistentVersionWarning(
                    estimator_name=type(self).__name__,
                    current_sklearn_version=f"{__version__} of torchlogreg",
                    original_sklearn_version=f"{version} of torchlogreg",
                ),
                stacklevel=2,
            )
        for name, device in devices.items():
            state[name] = as_tensor(state[name], _at_hand(device))
        super().__setstate__(state)  # type: ignore[misc]

    def _left_behind(self) -> tuple[str, ...]:
        """Return the names of attributes that pickles leave out."""
        return ()


def _is_plain(value: Any) -> bool:
    """Whether a value is a tensor that an array can stand for; others are stored by torch."""
    is_known = type(value) is Tensor and value.dtype in (torch.float32, torch.float64, torch.int32)
    return is_known and value.layout in (torch.strided, torch.sparse_csr)


def _stored(tensor: Tensor) -> Any:
    """Return an array, or a sparse matrix, with the values of a tensor."""
    if tensor.layout is torch.strided:
        return as_numpy(tensor)
    tensor = tensor.detach().cpu()
    parts = (tensor.values(), tensor.col_indices(), tensor.crow_indices())
    return sparse.csr_matrix(tuple(part.numpy() for part in parts), shape=tuple(tensor.shape))


def _at_hand(device: str) -> torch.device:
    """Return a device; the CPU if that one is not there."""
    try:
        return torch.empty(0, device=device).device
    except (AssertionError, NotImplementedError, RuntimeError):
        return torch.device("cpu")
