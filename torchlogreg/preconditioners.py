r"""Preconditioners: approximate inverses of the Hessian, estimated from a sample of the rows.

L-BFGS needs hundreds of iterations where the columns of X are correlated or of different
scales. It needs a few dozen if its initial matrix is close to the inverse of the Hessian.
:func:`sampled_inverse_hessian` chooses the form. Shapes follow the legend in
:mod:`torchlogreg.objective`, and m is the number of rows in the sample.

==================  ==================================  ========================================
form                when                                what it keeps
==================  ==================================  ========================================
:class:`Blocks`     it fits, and costs some passes      a D x D matrix for every output
:class:`Kronecker`  there are too many outputs for it   an R x R and a D x D matrix
none                D x D costs too much, or n < D      --
==================  ==================================  ========================================

Rows are drawn with probabilities proportional to their leverage in the Hessian and weighted by the
inverse: the estimate is unbiased, and the rows that matter are in it, such as those with rare
features. The diagonal is made exact, which costs one pass over the data.

References
----------
.. [1] Cohen, Lee, Musco, Musco, Peng & Sidford, Uniform sampling for matrix approximation,
   ITCS 2015: rows drawn by overestimates of their leverage approximate the whole matrix. The
   estimates here are those of a diagonal matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from torchlogreg.objective import Objective, Point
from torchlogreg.products import CHUNK_ENTRIES, chunks, multiply_transposed
from torchlogreg.rows import RowBlock, by_block

InverseHessian = Callable[[Tensor], Tensor]
"""Maps a gradient (B, R, D) to a step (B, R, D): linear, symmetric, positive on the gradients."""

ROWS_A_COLUMN = 8
"""Rows in the smallest sample for every column of a D x D matrix."""

MIN_ROWS = 2000
"""Fewest rows in a sample, where there are as many."""

MIN_COLUMNS = 256
"""Columns D up to which a D x D matrix is taken even if there are fewer rows."""

MAX_ENTRIES = 2**24
"""Most entries of the matrices of all outputs, unless the data itself is larger."""

PANEL = 200
"""Rows of a symmetric product that are computed at once: narrower panels waste less above the
diagonal, wider ones are faster. A quarter is saved for D = 800."""

PASSES = 100
"""A preconditioner may cost as many multiplications as so many passes over the data, which is
some tens of passes in time: products of matrices are faster than passes."""

SPARSE_FACTOR = 10
"""How much dearer a multiplication is with sparse data than with dense ones."""

MIN_BUDGET = 1e9
"""Multiplications that are always allowed: some milliseconds."""


def sampled_inverse_hessian(
    objective: Objective, point: Point, generator: torch.Generator, *, quality: int = 1
) -> InverseHessian | None:
    """Approximate the inverse Hessian at a point.

    Parameters
    ----------
    objective : Objective
        Data, family and penalty.
    point : Point
        Where.
    generator : torch.Generator
        Draws the rows, if there are more than the sample takes.
    quality : int, default=1
        0 for the form that is cheap to build, 1 for the better one; with each more the sample
        is twice as large, if that is not too dear.

    Returns
    -------
    inverse : callable or None
        Maps (B, R, D) to (B, R, D). None if D x D matrices cost too much, or if the rows do not
        determine them. With fewer rows than columns the steps of plain L-BFGS stay in the space
        that the rows span; those of a preconditioner estimated from some of them do not.
    """
    B, R, D = point.coef.shape
    n = objective.n_rows
    n_least = min(n, max(ROWS_A_COLUMN * D, MIN_ROWS))
    work_a_row, budget = B * D**2, _budget(objective, B * R)
    if work_a_row * (n_least + D) > budget or (n < D and D > MIN_COLUMNS):
        return None
    fits = max(MAX_ENTRIES, n * D // 4) >= B * R * D**2
    n_affordable = int(budget // (R * work_a_row)) - D
    if quality == 0 or not fits or n_affordable < n_least:
        return Kronecker(objective, point, generator, n_least)
    n_wanted = n_least * 2 ** (quality - 1)
    return Blocks(objective, point, generator, min(n, n_wanted, n_affordable))


def _budget(objective: Objective, n_outputs: int) -> float:
    """Multiplications that a preconditioner may cost."""
    factor = 1 if objective.blocks[0].is_dense else SPARSE_FACTOR
    n_entries = sum(block.n_entries for block in objective.blocks)
    return max(PASSES * 2 * factor * n_entries * n_outputs, MIN_BUDGET)


class Blocks:
    r"""The diagonal blocks of the Hessian, one for every output.

    The block of output r is :math:`\sum_i w_i p_{ir}(1 - p_{ir}) x_i x_i^\top` plus the
    penalty. Adding the same vector to the coefficients of all outputs changes no probability,
    which the blocks do not know. Their inverse is therefore restricted to the steps that sum to
    zero over the outputs: :math:`s_r = H_r^{-1}(g_r - \mu)` with the multiplier
    :math:`\mu = (\sum_r H_r^{-1})^{-1} \sum_r H_r^{-1} g_r` of that constraint.
    """

    def __init__(
        self, objective: Objective, point: Point, generator: torch.Generator, n_rows: int
    ) -> None:
        B, R, D = point.coef.shape
        row_curvature = objective.row_curvature(point)
        exact, score = _leverage(objective, row_curvature, objective.penalty.strength, n_rows)
        curvature = _joined(row_curvature)
        self.inverse = point.coef.new_empty(B, R, D, D)
        """Inverse of every block, shape (B, R, D, D)."""
        for b in range(B):
            for r in range(R):
                block = self.inverse[b, r]
                index, weight = _sample(curvature[b, r], score[b, r], n_rows, generator)
                _second_moments(objective.blocks, index, weight, out=block)
                if exact is not None:
                    _set_diagonal_(block, exact[b, r])
                block.diagonal().add_(objective.penalty.strength[b, 0])
                _invert_(block)
        self.multiplier = _invert_(self.inverse.sum(1)) if R > 1 else None
        """Inverse of the sum of the inverses, shape (B, D, D)."""

    def __call__(self, grad: Tensor) -> Tensor:
        """Apply the inverse."""
        step = _multiply(self.inverse, grad)
        if self.multiplier is not None:
            mu = _multiply(self.multiplier, step.sum(1))
            step -= _multiply(self.inverse, mu.unsqueeze(1).expand_as(step))
        return step


class Kronecker:
    r"""One matrix over the outputs times one over the columns.

    :math:`H \approx A \otimes G`, with the mean A of the rows' R x R Hessians in eta, of trace
    one, and the second moments G of the columns, weighted by the traces of those Hessians. At
    zero coefficients, where all classes are alike, this is exact. Along the gauge A vanishes, and
    the inverse is taken to vanish, too.

    References
    ----------
    .. [1] Martens & Grosse, Optimizing neural networks with Kronecker-factored approximate
       curvature, ICML 2015, of which this is the case of a single layer.
    """

    damping = 1.0
    """Added to the eigenvalues of A, in units of their mean: rare classes have next to none."""

    def __init__(
        self, objective: Objective, point: Point, generator: torch.Generator, n_rows: int
    ) -> None:
        B, R, D = point.coef.shape
        traces = [part.sum(1, keepdim=True) for part in objective.row_curvature(point)]
        n_free = max(R - objective.family.outputs_compete, 1)  # R - 1 but for the gauge
        strength = n_free * objective.penalty.strength
        exact, score = _leverage(objective, traces, strength, n_rows)
        curvature = _joined(traces).squeeze(1)
        self.outputs = point.coef.new_empty(B, R, R)
        """Pseudo-inverse of A, shape (B, R, R)."""
        self.columns = point.coef.new_empty(B, D, D)
        """Inverse of G and the penalty, shape (B, D, D)."""
        for b in range(B):
            index, weight = _sample(curvature[b], score[b, 0], n_rows, generator)
            eta = _joined([eta[b] for eta in point.eta])
            row = objective.family.curvature(eta if index is None else eta[:, index])
            trace = objective.family.curvature_diagonal(row).sum(0)
            tiny = torch.finfo(trace.dtype).tiny
            mean = objective.family.summed_hessian(row, weight / trace.clamp_min(tiny))
            self.outputs[b] = self._invert_outputs(mean, n_free)
            gram = _second_moments(objective.blocks, index, weight, out=self.columns[b])
            if exact is not None:
                _set_diagonal_(gram, exact[b, 0])
            gram.diagonal().add_(strength[b, 0])
            _invert_(gram)

    def _invert_outputs(self, mean: Tensor, n_free: int) -> Tensor:
        """Pseudo-inverse of A, computed in float64 on the host: it is small."""
        values, vectors = torch.linalg.eigh(mean.to("cpu", torch.float64))
        if not values[-1] > 0:  # every row is saturated: there is no curvature to know
            return torch.eye(len(values), dtype=mean.dtype, device=mean.device)
        values = values.clamp_min(0) / values.sum()
        is_flat = values < 1e-9
        damped = (values + self.damping / n_free) / (1 + self.damping)
        inverse = torch.where(is_flat, 0, 1 / damped)
        outputs: Tensor = (vectors * inverse) @ vectors.T
        return outputs.to(mean)

    def __call__(self, grad: Tensor) -> Tensor:
        """Apply the inverse."""
        step: Tensor = self.outputs @ grad @ self.columns
        return step


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """Join what the blocks have for their rows, without a copy of a single one."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=-1)


def _leverage(
    objective: Objective, weights: Sequence[Tensor], strength: Tensor, n_rows: int
) -> tuple[Tensor | None, Tensor]:
    """Diagonal of the Hessian's blocks, and what each row adds to it.

    Returns the diagonal (B, R, D) without the penalty, and the sum of what a row adds to its
    entries, in units of them, (B, R, n), from the rows' weights (B, R, n). None and the weights
    if all rows are taken.
    """
    joined = _joined(weights)
    if objective.n_rows <= n_rows:
        return None, joined
    pairs = list(zip(objective.blocks, weights, strict=True))
    squares = torch.stack([block.squares(weight.flatten(0, 1)) for block, weight in pairs]).sum(0)
    diagonal = squares.view(*joined.shape[:-1], -1)
    scale = torch.where(diagonal > 0, 1 / (diagonal + strength), 0).flatten(0, 1)
    norms = _joined([block.square_norms(scale) for block, _ in pairs])
    return diagonal, norms.view_as(joined).mul_(joined)


def _sample(
    weight: Tensor, score: Tensor, n_rows: int, generator: torch.Generator
) -> tuple[Tensor | None, Tensor]:
    """Draw ``n_rows`` rows at most, on average, half by weight (n,) and half by score (n,).

    Returns their index, None for all of them, and their weights over their probabilities.
    """
    if len(weight) <= n_rows:
        return None, weight
    probability = 0.5 * n_rows * (weight / weight.sum() + score / score.sum())
    draw = torch.rand(len(weight), generator=generator, device=generator.device, dtype=weight.dtype)
    index = (draw.to(weight.device) < probability).nonzero().squeeze(-1)
    return index, weight[index] / probability[index].clamp(max=1)


def _second_moments(
    blocks: Sequence[RowBlock], index: Tensor | None, weight: Tensor, *, out: Tensor
) -> Tensor:
    """Weighted second moments (D, D) of the columns over some rows."""
    out.zero_()
    pieces: list[tuple[RowBlock, slice | Tensor]]
    if index is None:
        pieces = [(block, part) for block in blocks for part in chunks(block.n_rows, len(out))]
    else:
        pieces = [
            (block, some[part])
            for block, some in by_block(blocks, index)
            for part in chunks(len(some), len(out))
        ]
    start = 0
    for block, rows in pieces:
        columns = block.design(rows)
        part = weight[start : start + columns.shape[1]]
        _add_lower_(out, columns * part, columns.T)
        start += columns.shape[1]
    out.copy_(out.tril() + out.tril(-1).T)
    return out


def _add_lower_(out: Tensor, left: Tensor, right: Tensor) -> None:
    """Add a product that is symmetric to ``out``, in panels of rows and only up to the diagonal."""
    for start in range(0, len(out), PANEL):
        stop = min(start + PANEL, len(out))
        out[start:stop, :stop].addmm_(left[start:stop], right[:, :stop])


def _set_diagonal_(matrix: Tensor, exact: Tensor) -> None:
    """Give a matrix (D, D) estimated from a sample its exact diagonal (D,), in place.

    Columns that the sample overrates are scaled; to the others the difference is added. Either
    keeps the matrix positive semi-definite.
    """
    ratio = (exact / matrix.diagonal()).clamp_(max=1).nan_to_num_(nan=1).sqrt_()
    matrix *= ratio.unsqueeze(-1)
    matrix *= ratio
    matrix.diagonal().copy_(exact)


def _invert_(matrices: Tensor) -> Tensor:
    """Invert positive semi-definite matrices (..., D, D) in place, in units of their diagonal.

    A multiple of the diagonal of the size of the rounding errors is added, and raised until all
    of them are positive definite.
    """
    resolution = torch.finfo(matrices.dtype)
    diagonal = matrices.diagonal(dim1=-2, dim2=-1)
    largest = diagonal.amax(-1, keepdim=True) + resolution.tiny
    # A column of zeros has no gradient either.
    scale = torch.where(diagonal <= resolution.tiny, largest, diagonal).rsqrt()
    matrices *= scale.unsqueeze(-1)
    matrices *= scale.unsqueeze(-2)
    damping = resolution.eps * matrices.shape[-1]
    while True:
        diagonal.fill_(1 + damping)
        factor, info = torch.linalg.cholesky_ex(matrices)
        if damping > 1 or not info.any():
            break
        damping *= 10
    torch.cholesky_inverse(factor, out=matrices)
    matrices *= scale.unsqueeze(-1)
    matrices *= scale.unsqueeze(-2)
    return matrices


def _multiply(matrices: Tensor, vectors: Tensor) -> Tensor:
    """Multiply symmetric matrices (..., D, D) by vectors (..., D)."""
    if matrices.numel() < CHUNK_ENTRIES or matrices.device.type != "cpu":
        return (matrices @ vectors.unsqueeze(-1)).squeeze(-1)
    # On a CPU the batched product takes four times as long as one after the other.
    pairs = zip(matrices.flatten(0, -3), vectors.flatten(0, -2), strict=True)
    products = [multiply_transposed(vector.unsqueeze(0), matrix) for matrix, vector in pairs]
    return torch.cat(products).view_as(vectors)
