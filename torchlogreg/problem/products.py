r"""Products with the data: what the time of a large fit is spent on.

Both the linear predictor :math:`W X^\top` and the adjoint :math:`R X = R (X^\top)^\top` are a
thin matrix times the transpose of a large one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from torchlogreg.problem.tall import products_with_rows, suits_blocks, sum_of_rows

CHUNK_ENTRIES = 2**20
"""Most entries of a temporary matrix made from rows of X: they are taken in chunks."""

_ONEDNN_ENTRIES = 2**17
"""Fewest entries of the large matrix for which setting up a oneDNN kernel pays."""


PANEL = 128
"""Rows of a symmetric product that are computed at once: narrower panels waste less above the
diagonal, wider ones are faster. A third is saved for D = 800."""

SINGLE_PRODUCTS = 2
"""Most rows that are multiplied by a sparse matrix one by one."""


def chunks(n_rows: int, entries_per_row: int, most_entries: int = CHUNK_ENTRIES) -> Iterator[slice]:
    """Split rows so that a temporary matrix of one chunk has at most so many entries."""
    size = max(most_entries // max(entries_per_row, 1), 1)
    for start in range(0, n_rows, size):
        yield slice(start, min(start + size, n_rows))


def full_precision(device: torch.device) -> AbstractContextManager[Any]:
    """Return a context in which autocast does not round what is multiplied."""
    if torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


def linear_predictor(X: Tensor, coef: Tensor) -> Tensor:
    r"""Compute the logits :math:`\eta = X W^\top + c` of one or of many problems.

    Parameters
    ----------
    X : Tensor of shape (n, d)
        Features, dense or CSR.
    coef : Tensor of shape (..., R, d) or (..., R, d + 1)
        Weights, followed by the intercept in the last column if there is one.

    Returns
    -------
    eta : Tensor of shape (..., R, n)
        All problems come out of a single product: B thin products would each read X again. The
        rows are last, so that what is done for each row runs over contiguous memory.
    """
    n, d = X.shape
    thin = coef.reshape(-1, coef.shape[-1])
    if X.layout is torch.strided:
        eta = multiply_transposed(thin[:, :d], X)
    else:
        eta = multiply_sparse(X, thin[:, :d])
    if thin.shape[1] > d:
        eta = eta.add_(thin[:, d:])
    return eta.view(*coef.shape[:-1], n)


def logits(X: Tensor, weights: Tensor, intercept: Tensor) -> Tensor:
    """Compute the logits (n, R) of the rows of X (n, d), for predictions.

    Those of a row lie next to each other, as users expect them. X and weights (R, d) are dense or
    CSR. A CSR matrix of weights is multiplied as it is by dense features.
    """
    if X.layout is not torch.strided:
        weights = weights if weights.layout is torch.strided else weights.to_dense()
        return multiply_sparse(X, weights).mT + intercept
    if weights.layout is not torch.strided:
        return (weights @ X.T).T + intercept
    if not _is_traced(X, weights):
        if X.is_contiguous() and suits_onednn(X):
            return _onednn_product(X, weights.contiguous(), intercept)
        if len(weights) == 1 and suits_blocks(X):
            return products_with_rows(weights, X).mT + intercept
    return linear(X, weights, intercept)


def multiply_transposed(thin: Tensor, large: Tensor) -> Tensor:
    r"""Multiply a thin matrix by the transpose of a large one.

    Parameters
    ----------
    thin : Tensor of shape (R, k)
        One row per linear predictor.
    large : Tensor of shape (m, k)
        The features X (n, d), or their transpose; of the same dtype, or of another one that
        :func:`is_multipliable` allows.

    Returns
    -------
    product : Tensor of shape (R, m)
        :math:`\mathrm{thin} \cdot \mathrm{large}^\top`, in contiguous memory.

    Notes
    -----
    For a few rows in single precision on a CPU, oneDNN's kernels take half the time of those
    behind ``torch.matmul`` (60,000 x 784, R = 10: 11 instead of 22 ms for either product, when
    reading X once takes 5 ms). In double precision, batches of blocks of the rows take a third to
    two thirds (20,000 x 300: 1.3 instead of 4 ms for R = 1, 4 instead of 6 for R = 10).
    """
    if large.dtype != thin.dtype:
        return _bfloat16_product(thin, large)
    if not _is_traced(thin, large):
        if suits_onednn(large):
            return _onednn_product(thin.contiguous(), large)
        if suits_blocks(large.T):
            return sum_of_rows(thin, large.T)
        if suits_blocks(large):
            return products_with_rows(thin, large)
    return thin @ large.T


def symmetric_product(left: Tensor, right: Tensor) -> Tensor:
    """Multiply matrices (B, P, n) by the transposes of others where the products are symmetric.

    Parameters
    ----------
    left, right : Tensor of shape (B, P, n); right may be one for all, of shape (P, n)
        The factors.

    Returns
    -------
    product : Tensor of shape (B, P, P)
        What is above the diagonal of a large one is copied from below, apart from blocks on it.
    """
    n_rows = left.shape[-2]
    if n_rows < 2 * PANEL or left.device.type != "cpu":
        return left @ right.mT
    product = left.new_empty(len(left), n_rows, n_rows)
    for start in range(0, n_rows, PANEL):
        stop = min(start + PANEL, n_rows)
        product[:, start:stop, :stop] = left[:, start:stop] @ right[..., :stop, :].mT
        product[:, :start, start:stop] = product[:, start:stop, :start].mT
    return product


def multiply_sparse(matrix: Tensor, thin: Tensor) -> Tensor:
    """Multiply (R, k) by the transpose of a CSR matrix (m, k): (R, m) in contiguous memory.

    A few rows go one by one: a product with a single column takes a quarter of the time of one with
    a matrix of one column (848,000 entries: 0.5 instead of 2.0 ms).
    """
    if len(thin) <= SINGLE_PRODUCTS:
        return torch.stack([matrix.mv(row) for row in thin])
    return (matrix @ thin.T).T.contiguous()


def is_multipliable(large: Tensor, dtype: torch.dtype) -> bool:
    """Whether products of ``large`` with a thin matrix of ``dtype`` need no copy of it.

    They do not if the dtypes are the same. bfloat16 data is also multiplied by float32 as it is
    where the device has a kernel that adds up in float32, which is found out when asked first.
    """
    is_mixed = large.dtype == torch.bfloat16 and dtype == torch.float32
    return large.dtype == dtype or (is_mixed and _has_bfloat16_kernel(large.device))


def suits_onednn(large: Tensor) -> bool:
    """Whether oneDNN has a kernel for a matrix that pays. It knows no gradients."""
    return bool(
        large.numel() >= _ONEDNN_ENTRIES
        and large.dtype == torch.float32
        and large.device.type == "cpu"
        and (large.is_contiguous() or large.T.is_contiguous())
        and torch.backends.mkldnn.enabled
        and not torch.compiler.is_compiling()
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


def _onednn_product(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
    """Multiply one matrix by the transpose of another and add a bias to every row."""
    product: Tensor = torch.ops.mkldnn._linear_pointwise(left, right, bias, "none", [], "")
    return product


def _is_traced(*tensors: Tensor) -> bool:
    """Whether autograd wants to know of what is done to one of these."""
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


@cache
def _has_bfloat16_kernel(device: torch.device) -> bool:
    """Whether products of bfloat16 matrices in float32 are native to the device, tried once."""
    if device.type != "cuda" or not torch.cuda.is_bf16_supported(including_emulation=False):
        return False
    thin = torch.tensor([[1.0 + 2**-12, 2.0]], dtype=torch.float32, device=device)
    large = torch.tensor([[3.0, 4.0], [5.0, 6.0]], dtype=torch.bfloat16, device=device)
    try:
        return torch.equal(_bfloat16_product(thin, large), thin @ large.to(torch.float32).T)
    except (NotImplementedError, RuntimeError, TypeError):
        return False


def bfloat16_parts(thin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Write a float32 matrix as a sum of three in bfloat16: 8 bits each make up its 24."""
    first = thin.to(torch.bfloat16)
    rest = thin - first
    second = rest.to(torch.bfloat16)
    return first, second, (rest - second).to(torch.bfloat16)


def _bfloat16_product(thin: Tensor, large: Tensor) -> Tensor:
    """Multiply float32 by bfloat16 with the accuracy of float32, part by part."""
    product, *others = (
        torch.mm(part, large.T, out_dtype=torch.float32) for part in bfloat16_parts(thin)
    )
    for other in others:
        product += other
    return product


def has_sparse_gram(device: torch.device) -> bool:
    """Whether the device multiplies sparse matrices with each other: CPUs do by MKL only."""
    return device.type == "cuda" or (device.type == "cpu" and torch.backends.mkl.is_available())


@torch.inference_mode(False)  # in which torch cannot transpose a sparse matrix
@torch.no_grad()
def sparse_gram(matrix: Tensor) -> Tensor:
    r"""Products of the rows of a CSR matrix with each other, :math:`A A^\top`, dense.

    The work is the sum, over the columns, of the squares of the number of their entries.
    """
    product: Tensor = (matrix @ matrix.t().to_sparse_csr()).to_dense()
    return product
