"""Which form of preconditioner suits the data, and how many rows it is estimated from."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from torchlogreg.objective import Objective
from torchlogreg.points import Point
from torchlogreg.preconditioners.blocks import Blocks
from torchlogreg.preconditioners.kronecker import Kronecker

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
