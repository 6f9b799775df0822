"""Products with the data: the fast kernels give what the plain ones give."""

import pytest
import torch

from torchlogreg.problem import products
from torchlogreg.problem.products import (
    bfloat16_parts,
    chunks,
    is_multipliable,
    multiply_transposed,
    symmetric_product,
)


@pytest.mark.parametrize("R", [1, 3, 10])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_products_are_those_of_float64(R, transposed, dtype):
    large = torch.randn(2_000, 100, dtype=torch.float64)
    assert large.numel() >= products._ONEDNN_ENTRIES
    thin = torch.randn(R, 2_000 if transposed else 100, dtype=torch.float64)
    large, thin = large.to(dtype), thin.to(dtype)
    expected = thin.double() @ (large if transposed else large.T).double()
    product = multiply_transposed(thin, large.T if transposed else large)
    sizes = thin.abs() @ (large.abs() if transposed else large.abs().T)
    unit_roundoff = torch.finfo(dtype).eps / 2  # Higham's bound for a sum of k products
    assert ((product - expected).abs() <= thin.shape[1] * unit_roundoff * sizes).all()
    assert product.is_contiguous()


def test_large_single_precision_takes_the_fast_kernel(monkeypatch):
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this build of torch has no oneDNN")
    large = torch.randn(2_000, 100)
    assert products.suits_onednn(large)
    assert not products.suits_onednn(large.double())
    assert not products.suits_onednn(large[:, ::2])
    assert not products.suits_onednn(large[:100])
    monkeypatch.setattr(products, "_has_onednn_kernel", lambda: False)
    assert not products.suits_onednn(large)


def test_chunks_cover_the_rows_once():
    rows = [i for part in chunks(11, 3, 10) for i in range(part.start, part.stop)]
    assert rows == list(range(11))
    assert max(part.stop - part.start for part in chunks(11, 3, 10)) == 3
    assert [part.stop - part.start for part in chunks(2, 100, 10)] == [1, 1]
    assert list(chunks(0, 3)) == []


def test_three_bfloat16_parts_make_up_a_float32():
    thin = torch.randn(50, 40) * torch.logspace(-20, 20, 40)
    parts = bfloat16_parts(thin)
    assert all(part.dtype == torch.bfloat16 for part in parts)
    assert torch.equal(sum(part.double() for part in parts), thin.double())


def test_products_of_float32_with_bfloat16_are_those_of_float32(monkeypatch):
    """The kernel is CUDA's; the same arithmetic here."""

    def mm(one, other, out_dtype):
        assert one.dtype == other.dtype == torch.bfloat16
        return one.to(out_dtype) @ other.to(out_dtype)

    monkeypatch.setattr(torch, "mm", mm)
    thin, large = torch.randn(3, 100), torch.randn(2_000, 100).to(torch.bfloat16)
    expected = thin.double() @ large.double().T
    assert torch.allclose(multiply_transposed(thin, large).double(), expected, atol=2e-5)


def test_bfloat16_is_multiplied_where_the_device_can():
    low, single = torch.zeros(2, 2, dtype=torch.bfloat16), torch.zeros(2, 2)
    assert is_multipliable(single, torch.float32)
    assert is_multipliable(low, torch.bfloat16)
    assert not is_multipliable(low, torch.float32)  # no such kernel on a CPU
    assert not is_multipliable(low, torch.float64)


@pytest.mark.parametrize("n_rows", [3, 2 * products.PANEL + 5, 3 * products.PANEL])
@pytest.mark.parametrize("is_shared", [False, True])
def test_symmetric_products_are_whole_ones(n_rows, is_shared):
    right = torch.randn(1 if is_shared else 2, n_rows, 40, dtype=torch.float64)
    left = (right * torch.rand(2, 1, 40, dtype=torch.float64)).contiguous()
    product = symmetric_product(left, right[0] if is_shared else right)
    torch.testing.assert_close(product, left @ right.mT)
    torch.testing.assert_close(product, product.mT)
