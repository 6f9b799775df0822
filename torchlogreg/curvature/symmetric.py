"""Symmetric matrices: sums of products, diagonals, factors, inverses."""

from __future__ import annotations

from contextlib import suppress

import torch
from torch import Tensor

from torchlogreg.problem.products import PANEL, multiply_transposed

BATCHED_ENTRIES = 2**18
"""Entries of matrices up to which a batched product with vectors is faster than single ones."""


def add_lower_(out: Tensor, columns: Tensor) -> None:
    """Add the products of columns (D, m) with each other to ``out``, only up to the diagonal.

    The product is symmetric; it is computed in panels of rows.
    """
    for start in range(0, len(out), PANEL):
        stop = min(start + PANEL, len(out))
        out[start:stop, :stop] += multiply_transposed(columns[start:stop], columns[:stop])


def mirror_lower_(matrix: Tensor) -> Tensor:
    """Copy what is below the diagonal of a matrix (D, D) to the other side, in place."""
    for start in range(0, len(matrix), PANEL):
        stop = min(start + PANEL, len(matrix))
        matrix[:start, start:stop] = matrix[start:stop, :start].T
        block = matrix[start:stop, start:stop]
        block.copy_(block.tril() + block.tril(-1).T)
    return matrix


def set_diagonal_(matrix: Tensor, exact: Tensor) -> None:
    """Give a matrix (D, D) estimated from a sample its exact diagonal (D,), in place.

    Columns are scaled; where the sample has less than half of what there is, the rest is added.
    Either keeps the matrix positive semi-definite. Scaling also keeps what columns that depend on
    each other leave flat, which an addition of any size would not.
    """
    # What is a difference may be rounded to less than nothing.
    known = matrix.diagonal().clamp_min(torch.finfo(matrix.dtype).tiny)
    ratio = (exact / known).clamp_(max=2).sqrt_()
    matrix *= ratio.unsqueeze(-1)
    matrix *= ratio
    matrix.diagonal().copy_(exact)


def damped_cholesky_(matrices: Tensor, diagonal: Tensor | None = None) -> Tensor:
    """Factorise positive semi-definite matrices (..., D, D) in place; ``diagonal`` is a view.

    A multiple of the diagonal of the size of the rounding errors is added, and raised for each
    matrix until it is positive definite. Where the diagonal is 0, the matrix has a column of zeros,
    and what is divided by it is 0, too: any diagonal will do there.

    Returns
    -------
    factor : Tensor of shape (..., D, D)
        Lower Cholesky factors; not a number where no multiple of up to ten has helped.
    """
    if diagonal is None:
        diagonal = matrices.diagonal(dim1=-2, dim2=-1)
    damping = torch.finfo(matrices.dtype).eps * matrices.shape[-1]
    diagonal.mul_(1 + damping)
    factor: Tensor
    with suppress(torch.linalg.LinAlgError):  # type: ignore[attr-defined]
        factor = torch.linalg.cholesky(matrices)
        return factor
    tiny = torch.finfo(matrices.dtype).tiny
    diagonal += (diagonal <= tiny) * (diagonal.amax(-1, keepdim=True) + tiny)
    factor, info = torch.linalg.cholesky_ex(matrices)
    while info.any():
        if damping > 1:
            return torch.where((info > 0)[..., None, None], torch.nan, factor)
        more = 9 * damping / (1 + damping)
        diagonal *= 1 + more * (info > 0).to(diagonal.dtype).unsqueeze(-1)
        damping *= 10
        factor, info = torch.linalg.cholesky_ex(matrices)
    return factor


def solve_cholesky(factor: Tensor, right: Tensor) -> Tensor:
    """Solve with lower Cholesky factors (..., D, D) for right sides (..., D, k).

    ``torch.cholesky_solve`` copies the factors first: for one right side that takes as long.
    """
    half = torch.linalg.solve_triangular(factor, right, upper=False)
    solution: Tensor = torch.linalg.solve_triangular(factor.mT, half, upper=True)
    return solution


def invert_(matrices: Tensor) -> Tensor:
    """Invert positive semi-definite matrices (..., D, D) in place, in units of their diagonal.

    Where that is impossible, the result is not a number. On a CPU large matrices go one by one: it
    does no more than one at a time anyway, and the memory on the way is then that for one.
    """
    is_large = matrices.numel() >= BATCHED_ENTRIES and matrices.device.type == "cpu"
    if is_large and matrices.ndim > 2:
        for matrix in matrices.view(-1, *matrices.shape[-2:]):
            invert_(matrix)
        return matrices
    tiny = torch.finfo(matrices.dtype).tiny
    diagonal = matrices.diagonal(dim1=-2, dim2=-1)
    largest = diagonal.amax(-1, keepdim=True) + tiny
    # A column of zeros has no gradient either.
    scale = torch.where(diagonal <= tiny, largest, diagonal).rsqrt()
    matrices *= scale.unsqueeze(-1)
    matrices *= scale.unsqueeze(-2)
    diagonal.fill_(1)
    torch.cholesky_inverse(damped_cholesky_(matrices), out=matrices)
    matrices *= scale.unsqueeze(-1)
    matrices *= scale.unsqueeze(-2)
    return matrices


def multiply(matrices: Tensor, vectors: Tensor) -> Tensor:
    """Multiply symmetric matrices (1 or B, ..., D, D) by vectors (B, ..., D)."""
    if len(matrices) < len(vectors):
        return _multiply_shared(matrices[0], vectors)
    if _goes_at_once(matrices):
        flat = matrices.flatten(0, -3)
        return torch.bmm(flat, vectors.reshape(len(flat), -1, 1)).view_as(vectors)
    pairs = zip(matrices.flatten(0, -3), vectors.flatten(0, -2), strict=True)
    products = [multiply_transposed(vector.unsqueeze(0), matrix) for matrix, vector in pairs]
    return torch.cat(products).view_as(vectors)


def multiply_all(matrices: Tensor, vectors: Tensor) -> Tensor:
    """Multiply symmetric matrices (1 or B, R, D, D) by vectors (B, D) that all R of them share."""
    R, D = matrices.shape[1:3]
    stacked = matrices.flatten(1, 2)
    if len(stacked) < len(vectors):
        return multiply_transposed(vectors, stacked[0]).view(-1, R, D)
    if _goes_at_once(matrices):
        return (stacked @ vectors.unsqueeze(-1)).view(len(vectors), R, D)
    pairs = zip(stacked, vectors, strict=True)
    products = [multiply_transposed(vector.unsqueeze(0), matrix) for matrix, vector in pairs]
    return torch.cat(products).view(len(vectors), R, D)


def _goes_at_once(matrices: Tensor) -> bool:
    """Whether a batched product is fast: on a CPU it takes three times as long as one by one."""
    return matrices.numel() < BATCHED_ENTRIES or matrices.device.type != "cpu"


def _multiply_shared(matrices: Tensor, vectors: Tensor) -> Tensor:
    """Multiply symmetric matrices (..., D, D) that all problems share by vectors (B, ..., D)."""
    if matrices.ndim == 2:
        return multiply_transposed(vectors, matrices)
    if _goes_at_once(matrices):
        return torch.bmm(vectors.transpose(0, 1), matrices).transpose(0, 1).contiguous()
    products = [multiply_transposed(vectors[:, r], matrix) for r, matrix in enumerate(matrices)]
    return torch.stack(products, dim=1)
