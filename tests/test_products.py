"""Products with the data: the fast kernels give what the plain ones give."""

import pytest
import torch

from torchlogreg import products
from torchlogreg.products import chunks, multiply_transposed


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
    assert products._suits_onednn(large[:3], large)
    assert not products._suits_onednn(large[:3], large.double())
    assert not products._suits_onednn(large[:3], large[:, ::2])
    assert not products._suits_onednn(large[:3], large[:100])
    monkeypatch.setattr(products, "_has_onednn_kernel", lambda: False)
    assert not products._suits_onednn(large[:3], large)


def test_chunks_cover_the_rows_once(monkeypatch):
    monkeypatch.setattr(products, "CHUNK_ENTRIES", 10)
    rows = [i for part in chunks(11, 3) for i in range(part.start, part.stop)]
    assert rows == list(range(11))
    assert max(part.stop - part.start for part in chunks(11, 3)) == 3
    assert [part.stop - part.start for part in chunks(2, 100)] == [1, 1]
    assert list(chunks(0, 3)) == []
