r"""Products with the data: what the time of a large fit is spent on.

Both the linear predictor :math:`W X^\top` and the adjoint :math:`R X = R (X^\top)^\top` are a
thin matrix times the transpose of a large one.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import torch
from torch import Tensor

CHUNK_ENTRIES = 2**21
"""Most entries of a temporary matrix made from rows of X: they are taken in chunks."""

_ONEDNN_ENTRIES = 2**17
"""Fewest entries of the large matrix for which setting up a oneDNN kernel pays."""


def chunks(n_rows: int, entries_a_row: int) -> Iterator[slice]:
    """Split rows so that a temporary matrix of one chunk has ``CHUNK_ENTRIES`` at most."""
    size = max(CHUNK_ENTRIES // max(entries_a_row, 1), 1)
    for start in range(0, n_rows, size):
        yield slice(start, min(start + size, n_rows))


def multiply_transposed(thin: Tensor, large: Tensor) -> Tensor:
    r"""Multiply a thin matrix by the transpose of a large one.

    Parameters
    ----------
    thin : Tensor of shape (R, k)
        One row a linear predictor.
    large : Tensor of shape (m, k)
        The features X (n, d), or their transpose.

    Returns
    -------
    product : Tensor of shape (R, m)
        :math:`\mathrm{thin} \cdot \mathrm{large}^\top`, in contiguous memory.

    Notes
    -----
    For a few rows in single precision on a CPU, oneDNN's kernels take half the time of those
    behind ``torch.matmul`` (60,000 x 784, R = 10: 11 instead of 22 ms for either product, when
    reading X once takes 5 ms).
    """
    if _suits_onednn(thin, large):
        return _onednn_product(thin.contiguous(), large)
    return thin @ large.T


def _suits_onednn(thin: Tensor, large: Tensor) -> bool:
    """Whether oneDNN has a kernel for these matrices that pays."""
    return bool(
        large.numel() >= _ONEDNN_ENTRIES
        and large.dtype == torch.float32
        and large.device.type == "cpu"
        and (large.is_contiguous() or large.T.is_contiguous())
        and torch.backends.mkldnn.enabled
        and _has_onednn_kernel()
    )


@cache
def _has_onednn_kernel() -> bool:
    """Whether this build of torch has the kernel, tried once. It is not a public one."""
    thin = torch.tensor([[1.0, 2.0]], dtype=torch.float32, device="cpu")
    large = torch.tensor([[3.0, 4.0], [5.0, 6.0]], dtype=torch.float32, device="cpu")
    try:
        return torch.equal(_onednn_product(thin, large), thin @ large.T)
    except (AttributeError, RuntimeError, TypeError):
        return False


def _onednn_product(thin: Tensor, large: Tensor) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(thin, large, None, "none", [], "")
    return product
