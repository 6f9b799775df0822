"""Row blocks and the iterator of the full-batch solvers."""

import pytest
import torch
from torch.testing import assert_close

from tests.problems import Problem
from torchlogreg.data.training_sets import ArrayRows
from torchlogreg.problem.centring import Centre, centre_of
from torchlogreg.problem.families import Categorical


def test_blocks_are_views_of_the_data():
    X = torch.randn(10, 3)
    codes, weight = torch.zeros(10, dtype=torch.int64), torch.ones(10)
    rows = ArrayRows(X, codes, weight, Categorical(), block_size=4, small_entries=0)
    assert [len(block.targets) for block in rows.rows] == [4, 4, 2]
    assert all(
        block.X.untyped_storage().data_ptr() == X.untyped_storage().data_ptr()
        for block in rows.rows
    )
    assert len(rows) == 10


def test_weights_of_every_problem_sum_to_one():
    rows = Problem(3, 7, block_size=7).rows()
    total = sum(block.weight.sum(-1) for block in rows.rows)
    assert_close(total, torch.ones(7, dtype=torch.float64))
    assert rows.weight_sum.shape == (7,)


def test_cutting_the_rows_changes_nothing():
    whole, cut = Problem(3, 7), Problem(3, 7, block_size=7)
    coef = whole.coef()
    assert_close(whole.objective().at(coef).grad, cut.objective().at(coef).grad)


@pytest.fixture(params=["dense", "copy", "sparse", "float32"])
def far_rows(request):
    """Rows of all kinds, and their features less the centre."""
    problem = Problem(3, 7, far=1000, sparse=request.param == "sparse")
    rows = problem.rows() if request.param == "copy" else problem.rows(small_entries=0)
    X = Problem(3, 7, far=1000).features() - rows.rows.centre.location
    (block,) = rows.rows
    return (block.to(torch.float32) if request.param == "float32" else block), X


def test_centred_rows_are_those_of_a_shifted_matrix(far_rows):
    block, X = far_rows
    ones = torch.ones(len(X), 1, dtype=torch.float64)
    dtype = block.weight.dtype
    near = {"rtol": 1e-9, "atol": 1e-9} if dtype == torch.float64 else {"rtol": 1e-5, "atol": 1e-5}
    X = torch.cat([X, ones], dim=1)
    generator = torch.Generator().manual_seed(0)
    coef, residual = (
        torch.randn(*s, generator=generator, dtype=dtype) for s in ((7, 3, 4), (7, 3, 40))
    )
    weight, scale = (torch.rand(*s, generator=generator, dtype=dtype) for s in ((2, 40), (2, 4)))
    for result, expected in (
        (block.predictor(coef), coef.double() @ X.T),
        (block.adjoint(residual), residual.double() @ X),
        (block.squares(weight), weight.double() @ X.square()),
        (block.square_norms(scale), scale.double() @ X.square().T),
        (block.design(slice(5, 9)), X[5:9].T),
        (block.take_rows(torch.tensor([3, 1])).predictor(coef), coef.double() @ X[[3, 1]].T),
        (
            torch.cat([p.predictor(coef.double()) for p in block.pieces(torch.float64)], -1),
            coef.double() @ X.T,
        ),
    ):
        assert_close(result.double(), expected, **near)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("chunk_entries", [10, 2**21])
def test_low_precision_is_multiplied_as_float32_chunk_by_chunk(dtype, chunk_entries):
    X, codes = torch.randn(50, 3).to(dtype), torch.arange(50) % 3
    options = {"small_entries": 0, "chunk_entries": chunk_entries}
    low, single = (
        ArrayRows(features, codes, torch.ones(50), Categorical(), **options).rows.blocks[0]
        for features in (X, X.float())
    )
    assert low.X.data_ptr() == X.data_ptr()
    coef, residual = torch.randn(2, 3, 4), torch.randn(2, 3, 50)
    assert_close(low.predictor(coef), single.predictor(coef))
    assert_close(low.adjoint(residual), single.adjoint(residual))
    assert_close(low.design(slice(5, 9)), single.design(slice(5, 9)))


@pytest.mark.parametrize("sparse", [False, True])
def test_the_centre_is_the_median_of_the_columns_that_lie_far_from_zero(sparse):
    X = torch.randn(501, 4, dtype=torch.float64)
    X[:, 1] += 1000
    X[::7, 2] = 0
    X[:, 3] = -5
    X[3, 1] = 1e12  # one outlier does not move it
    centre = centre_of(X[::5].to_sparse_csr() if sparse else X[::5])
    assert centre.location[0] == centre.location[2] == 0
    assert centre.location[1] == X[::5, 1].median()
    assert centre.location[3] == -5


def test_the_rounding_of_intercepts_is_that_of_terms_that_cancel():
    """Weights of opposite signs: their sum is small, its rounding errors are not."""
    centre = Centre(torch.tensor([3e7, 3e7], dtype=torch.float64))
    coef = torch.tensor([[[1.0, -1.0, 0.0]]], dtype=torch.float64)
    assert centre.rounding(coef) > 6e7 * 3e7 * torch.finfo(torch.float64).eps


@pytest.mark.parametrize("sparse", [False, True])
def test_columns_around_zero_are_left_where_they_are(sparse):
    X = torch.randn(501, 4)
    assert centre_of(X.to_sparse_csr() if sparse else X[::5]) is None


def test_weights_are_scaled_before_they_are_added():
    X, codes = torch.randn(10, 3), torch.arange(10) % 2
    plain, huge = (
        ArrayRows(X, codes, torch.full((10,), weight, dtype=torch.float64), Categorical())
        for weight in (1.0, 1e308)
    )
    assert_close(plain.rows.blocks[0].weight, huge.rows.blocks[0].weight)
    assert plain.weight_sum == huge.weight_sum == 10
