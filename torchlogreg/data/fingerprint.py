"""A digest that tells data from other data, bit by bit."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchlogreg.problem.products import chunks


class Fingerprint:
    """Digest of tensors and of anything else that has a name or a value.

    Tensors are read in the order of their indices, a chunk at a time: neither their memory
    layout nor the device nor the number of threads makes a difference; the dtype does.
    """

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)

    def __str__(self) -> str:
        return self._hash.hexdigest()

    def add(self, *values: Any) -> Fingerprint:
        """Add values: tensors and arrays by their contents, others as :func:`described`."""
        for value in values:
            if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
                value = torch.from_numpy(np.array(value))
            if isinstance(value, Tensor):
                self._add_tensor(value)
            else:
                self._hash.update(f"{described(value)};".encode())
        return self

    def _add_tensor(self, tensor: Tensor) -> None:
        self._hash.update(f"{tensor.layout} {tensor.dtype} {tuple(tensor.shape)};".encode())
        is_sparse = tensor.layout is torch.sparse_csr
        parts = _sorted_entries(tensor) if is_sparse else (torch.atleast_1d(tensor.detach()),)
        for part in parts:
            for rows in chunks(len(part), max(part[:1].numel(), 1)):
                some = part[rows].to("cpu")
                some = some + 0.0 if some.is_floating_point() else some  # -0.0 is 0.0
                self._hash.update(some.contiguous().view(torch.uint8).numpy().data)


def described(value: Any) -> str:
    """Return what a parameter is in words that are the same in every process."""
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(described(part) for part in value)}]"
    if isinstance(value, (Tensor, np.ndarray)):
        return str(Fingerprint().add(value)) if _is_numeric(value) else repr(value.tolist())
    if isinstance(value, (bool, int, float, str, bytes, np.generic, torch.dtype, type(None))):
        return repr(value)
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}.{named.__qualname__}"


def _is_numeric(value: Any) -> bool:
    return isinstance(value, Tensor) or value.dtype.kind in "biuf"


def _sorted_entries(matrix: Tensor) -> tuple[Tensor, ...]:
    """Pointers, columns and values of a CSR matrix, every row in the order of its columns."""
    start, column = (x.to(torch.int64) for x in (matrix.crow_indices(), matrix.col_indices()))
    row = torch.repeat_interleave(torch.arange(len(start) - 1, device=start.device), start.diff())
    order = torch.argsort(row * matrix.shape[1] + column, stable=True)
    return start, column[order], matrix.values()[order]
