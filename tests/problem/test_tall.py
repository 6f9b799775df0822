"""Products with tall matrices: by blocks of rows they are what they are at once."""

import pytest
import torch

from torchlogreg.problem import tall
from torchlogreg.problem.dense import DenseBlock
from torchlogreg.problem.products import logits, multiply_transposed
from torchlogreg.problem.tall import is_tall, products_with_rows, sum_of_rows

N_ROWS = 2 * tall.BLOCK + 3
"""Two blocks, and a row that is in neither."""


@pytest.fixture
def any_size(monkeypatch):
    """Let blocks pay however few entries there are."""
    if not torch.backends.mkl.is_available():
        pytest.skip("this build of torch has no MKL")
    monkeypatch.setattr(tall, "_ENTRIES", 0)
    monkeypatch.setattr(tall, "_ENTRIES_BEYOND_CACHES", 0)


@pytest.mark.parametrize("n_rows", [N_ROWS - 1, N_ROWS])
@pytest.mark.parametrize("d", [1, 20, 70])
@pytest.mark.parametrize("R", [1, 2, 5, 33])
def test_blocks_give_the_same_products(n_rows, d, R, any_size):
    matrix = torch.randn(n_rows, d, dtype=torch.float64)
    coef = torch.randn(R, d, dtype=torch.float64)
    weights = torch.randn(R, n_rows, dtype=torch.float64)
    predictor, total = products_with_rows(coef, matrix), sum_of_rows(weights, matrix)
    torch.testing.assert_close(predictor, coef @ matrix.T, rtol=1e-12, atol=1e-11)
    torch.testing.assert_close(total, weights @ matrix, rtol=1e-12, atol=1e-11)
    assert predictor.is_contiguous()
    assert total.is_contiguous()


def test_tall_matrices_are_large_in_double_precision_and_row_by_row(any_size):
    matrix = torch.randn(N_ROWS, 4, dtype=torch.float64)
    assert is_tall(matrix)
    assert not is_tall(matrix.float())
    assert not is_tall(matrix[: 2 * tall.BLOCK - 1])
    assert not is_tall(matrix[:, :2])
    assert not is_tall(matrix.to("meta"))


def test_small_matrices_are_not_tall():
    assert not is_tall(torch.zeros(N_ROWS, 4, dtype=torch.float64))


@pytest.fixture
def calls(monkeypatch, any_size):
    """Names of the products that were taken by blocks."""
    called = []

    def told(name, product):
        def call(*args):
            called.append(name)
            return product(*args)

        return call

    for name in ("products_with_rows", "sum_of_rows"):
        product = told(name, getattr(tall, name))
        monkeypatch.setattr(f"torchlogreg.problem.products.{name}", product)
    return called


def test_fits_and_predictions_take_blocks(calls):
    X = torch.randn(N_ROWS, 3, dtype=torch.float64)
    weight = torch.ones(1, N_ROWS, dtype=torch.float64)
    rows = DenseBlock(X, torch.zeros(N_ROWS, dtype=torch.int64), weight, has_intercept=False)
    eta = rows.predictor(torch.ones(1, 1, 3, dtype=torch.float64))
    torch.testing.assert_close(eta[0, 0], X.sum(1))
    torch.testing.assert_close(rows.adjoint(torch.ones_like(eta))[0, 0], X.sum(0))
    assert calls == ["products_with_rows", "sum_of_rows"]
    coef = torch.ones(1, 3, dtype=torch.float64)
    torch.testing.assert_close(logits(X, coef, torch.ones(1).double()), X.sum(1, True) + 1)
    assert calls.count("products_with_rows") == 2


def test_blocks_are_left_to_torch_where_it_wants_gradients(calls):
    X = torch.randn(N_ROWS, 3, dtype=torch.float64)
    thin = torch.ones(1, 3, dtype=torch.float64, requires_grad=True)
    multiply_transposed(thin, X).sum().backward()
    torch.testing.assert_close(thin.grad[0], X.sum(0))
    assert calls == []
