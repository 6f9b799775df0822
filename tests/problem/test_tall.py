"""Products with tall matrices: by blocks of rows they are what they are at once."""

import pytest
import torch

from torchlogreg.problem import tall
from torchlogreg.problem.dense import DenseBlock
from torchlogreg.problem.products import logits, multiply_transposed
from torchlogreg.problem.tall import products_with_rows, suits_blocks, sum_of_rows

N_ROWS = 3 * tall.BLOCK + 2
"""Three blocks, and two rows that are in none."""


@pytest.fixture
def any_size(monkeypatch):
    """Let blocks pay however few entries there are."""
    if not torch.backends.mkl.is_available():
        pytest.skip("this build of torch has no MKL")
    monkeypatch.setattr(tall, "_ENTRIES", 0)
    monkeypatch.setattr(tall, "_ENTRIES_BEYOND_CACHES", 0)


@pytest.fixture
def n_batches(monkeypatch, any_size):
    """How many batches have been made, in a list."""
    count, bmm = [0], torch.bmm

    def counted(*args):
        count[0] += 1
        return bmm(*args)

    monkeypatch.setattr(torch, "bmm", counted)
    return count


@pytest.mark.parametrize("n_rows", [N_ROWS - 3, N_ROWS])
@pytest.mark.parametrize(
    ("R", "d", "in_batches"),
    [
        *((0, 70, 1), (1, 1, 2), (1, 20, 2), (1, 70, 2), (2, 20, 1), (2, 70, 2), (5, 70, 2)),
        *((9, 70, 1), (33, 70, 0), (33, 300, 1)),
    ],
)
def test_batches_give_the_same_products(n_rows, R, d, in_batches, n_batches):
    matrix = torch.randn(n_rows, d, dtype=torch.float64)
    coef = torch.randn(R, d + 1, dtype=torch.float64)[:, :d]
    weights = torch.randn(n_rows, R, dtype=torch.float64).T
    predictor, total = products_with_rows(coef, matrix), sum_of_rows(weights, matrix)
    assert n_batches[0] == in_batches
    torch.testing.assert_close(predictor, coef @ matrix.T, rtol=1e-12, atol=1e-11)
    torch.testing.assert_close(total, weights @ matrix, rtol=1e-12, atol=1e-11)
    assert predictor.is_contiguous()
    assert total.is_contiguous()


def test_blocks_are_for_many_rows_in_double_precision_row_by_row(any_size):
    matrix = torch.randn(N_ROWS, 4, dtype=torch.float64)
    assert suits_blocks(matrix)
    assert not suits_blocks(matrix.float())
    assert not suits_blocks(matrix[: 2 * tall.BLOCK - 1])
    assert not suits_blocks(matrix[:, :2])
    assert not suits_blocks(matrix.to("meta"))


def test_blocks_are_for_large_matrices():
    if not torch.backends.mkl.is_available():
        pytest.skip("this build of torch has no MKL")
    assert suits_blocks(torch.zeros(200_000, 10, dtype=torch.float64))
    assert not suits_blocks(torch.zeros(199_999, 10, dtype=torch.float64))


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
