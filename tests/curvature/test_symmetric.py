"""Factors and inverses of matrices that are singular to rounding."""

import pytest
import torch
from torch.testing import assert_close

from torchlogreg.curvature.symmetric import damped_cholesky_, invert_, set_diagonal_


def matrix_of(values, dtype=torch.float64):
    """Symmetric matrices (B, D, D) with these eigenvalues."""
    values = torch.tensor(values, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    turned = torch.randn(*values.shape, values.shape[-1], dtype=torch.float64, generator=generator)
    turned, _ = torch.linalg.qr(turned)
    return (turned @ torch.diag_embed(values) @ turned.mT).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_more_is_added_than_a_matrix_needs(dtype):
    """A slightly negative one needs ten or a hundred times the rounding, its neighbour nothing."""
    eps = torch.finfo(dtype).eps
    matrices = matrix_of([[1.0, 2.0, 3.0], [-50 * eps, 2.0, 3.0]], dtype)
    factor = damped_cholesky_(matrices.clone())
    added = (factor @ factor.mT - matrices).diagonal(dim1=-2, dim2=-1)
    assert added[0].abs().max() <= 20 * eps
    assert 10 * eps < added[1].max() <= 5e3 * eps


def test_a_matrix_that_is_far_from_semi_definite_has_no_factor():
    sound, hopeless = [1.0, 2.0, 3.0], [-100.0, 0.1, 1.0]
    factor = damped_cholesky_(matrix_of([sound, hopeless]))
    assert factor[0].isfinite().all()
    assert factor[1].isnan().all()
    assert damped_cholesky_(torch.full((1, 2, 2), torch.nan)).isnan().all()
    assert invert_(torch.full((1, 2, 2), torch.nan)).isnan().all()


def test_matrices_of_any_scale_are_inverted():
    scale = torch.tensor([1e-8, 1.0, 1e8], dtype=torch.float64)
    matrices = scale[:, None] * matrix_of([[1.0, 2.0, 3.0]]) * scale
    product = (matrices @ invert_(matrices.clone()))[0]
    in_units = product / scale[:, None] * scale
    assert_close(in_units, torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-12)


def test_the_exact_diagonal_keeps_a_matrix_semi_definite():
    matrix = matrix_of([[0.0, 1.0, 2.0]])[0]
    exact = matrix.diagonal() * torch.tensor([1.2, 3.0, 0.9])
    set_diagonal_(matrix, exact)
    assert_close(matrix.diagonal(), exact)
    assert torch.linalg.eigvalsh(matrix).min() > -1e-14
