"""Row blocks and the iterator of the full-batch solvers."""

import torch
from torch.testing import assert_close

from tests.problems import Problem
from torchlogreg.batches import RowBlocks, WholeBatch
from torchlogreg.families import Categorical


def test_blocks_are_views_of_the_data(monkeypatch):
    monkeypatch.setattr("torchlogreg.batches.SMALL_ENTRIES", 0)
    X = torch.randn(10, 3)
    codes, weight = torch.zeros(10, dtype=torch.int64), torch.ones(10)
    rows = RowBlocks(X, codes, weight, Categorical(), block_size=4)
    assert [len(block.targets) for block in rows.blocks] == [4, 4, 2]
    assert all(
        block.X.untyped_storage().data_ptr() == X.untyped_storage().data_ptr()
        for block in rows.blocks
    )
    assert len(rows) == 10


def test_weights_of_every_problem_sum_to_one():
    rows = Problem(3, 7, block_size=7).rows()
    total = sum(block.weight.sum(-1) for block in rows.blocks)
    assert_close(total, torch.ones(7, dtype=torch.float64))
    assert rows.weight_sum.shape == (7,)


def test_cutting_the_rows_changes_nothing():
    whole, cut = Problem(3, 7), Problem(3, 7, block_size=7)
    coef = whole.coef()
    assert_close(whole.objective().at(coef).grad, cut.objective().at(coef).grad)


def test_an_epoch_is_one_batch_the_data_set_itself():
    rows = Problem(2, 1).rows()
    ((batch, codes),) = WholeBatch(rows)
    assert batch is rows
    assert codes is rows.codes
