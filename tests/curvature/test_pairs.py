"""The pairs of L-BFGS: the matrix that its updates give, in both directions."""

import pytest
import torch
from torch.testing import assert_close

from torchlogreg.curvature import Diagonal, Pairs

B, R, D = 2, 3, 4
SHAPE = (B, R, D)


def moves(n, seed=0):
    """Steps of a quadratic, and its gradient differences."""
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(B, R * D, R * D, dtype=torch.float64, generator=generator)
    hessian = root @ root.mT + torch.eye(R * D, dtype=torch.float64)
    steps = torch.randn(n, *SHAPE, dtype=torch.float64, generator=generator)
    changes = (hessian @ steps.flatten(2).unsqueeze(-1)).view(steps.shape)
    return steps, changes


def initial_matrix():
    generator = torch.Generator().manual_seed(1)
    return Diagonal(1 + torch.rand(B, 1, D, dtype=torch.float64, generator=generator))


def pairs_of(n, initial, most=10):
    pairs = Pairs.none(torch.zeros(SHAPE, dtype=torch.float64), initial)
    for step, change in zip(*moves(n), strict=True):
        pairs = pairs.add(step, change, pairs.initial_solve(change), most)
    return pairs


def by_updates(pairs, steps, changes):
    """B after the updates, one by one (Nocedal & Wright, eq. 6.19)."""
    eye = torch.eye(R * D, dtype=torch.float64)
    start = (
        eye
        if pairs.initial is None
        else torch.diag_embed(pairs.initial.diagonal.expand(SHAPE).flatten(1))
    )
    matrix = start / torch.as_tensor(pairs.scale)[:, None, None]
    for s, y in zip(steps.flatten(2), changes.flatten(2), strict=True):
        Bs = (matrix @ s.unsqueeze(-1)).squeeze(-1)
        matrix = (
            matrix
            - Bs.unsqueeze(-1) @ Bs.unsqueeze(-2) / (s * Bs).sum(-1)[:, None, None]
            + y.unsqueeze(-1) @ y.unsqueeze(-2) / (s * y).sum(-1)[:, None, None]
        )
    return matrix


over_initials = pytest.mark.parametrize("initial", [None, initial_matrix()], ids=["none", "other"])


@over_initials
@pytest.mark.parametrize("n", [0, 1, 5])
def test_both_directions_are_those_of_the_updates(n, initial):
    pairs, (steps, changes) = pairs_of(n, initial), moves(n)
    matrix = by_updates(pairs, steps, changes)
    v = torch.randn(SHAPE, dtype=torch.float64)
    product = (matrix @ v.flatten(1).unsqueeze(-1)).view(SHAPE)
    assert_close(pairs.multiply(v), product)
    assert_close(pairs.solve(product), v)


@over_initials
def test_the_oldest_pairs_are_forgotten(initial):
    steps, changes = moves(5)
    pairs = pairs_of(5, initial, most=2)
    assert len(pairs) == 2
    matrix = by_updates(pairs, steps[-2:], changes[-2:])
    v = torch.randn(SHAPE, dtype=torch.float64)
    assert_close(pairs.multiply(v).flatten(1), (matrix @ v.flatten(1).unsqueeze(-1)).squeeze(-1))


@over_initials
def test_the_last_step_has_the_curvature_that_was_seen(initial):
    steps, changes = moves(3)
    assert_close(pairs_of(3, initial).multiply(steps[-1]), changes[-1])


@over_initials
def test_spoilt_pairs_are_left_out(initial):
    steps, _ = moves(4)
    pairs = pairs_of(3, initial)
    more = pairs.add(steps[-1], -steps[-1], -pairs.initial_solve(steps[-1]), 10)
    v = torch.randn(SHAPE, dtype=torch.float64)
    assert len(more) == 4
    assert_close(more.multiply(v), pairs.multiply(v))
    assert_close(more.solve(v), pairs.solve(v))


def test_a_shift_keeps_the_pairs():
    """The gradient of f plus a ridge differs by the ridge times the step, too."""
    pairs, (steps, changes) = pairs_of(3, initial_matrix()), moves(3)
    ridge = torch.rand(B, 1, D, dtype=torch.float64)
    shifted = pairs.shifted(ridge)
    assert_close(shifted.multiply(steps[-1]), changes[-1] + ridge * steps[-1])
    v = torch.randn(SHAPE, dtype=torch.float64)
    assert_close(shifted.solve(shifted.multiply(v)), v)
    with pytest.raises(ValueError, match="give them an initial matrix"):
        pairs_of(3, None).shifted(ridge)


@over_initials
def test_some_of_the_problems_have_their_own_pairs(initial):
    pairs, v = pairs_of(3, initial), torch.randn(SHAPE, dtype=torch.float64)
    assert_close(pairs.take([1]).solve(v[[1]]), pairs.solve(v)[[1]])
    assert_close(pairs.take([1]).multiply(v[[1]]), pairs.multiply(v)[[1]])


def test_without_pairs_there_is_the_initial_matrix():
    pairs, v = pairs_of(3, initial_matrix()).cleared(), torch.randn(SHAPE, dtype=torch.float64)
    assert torch.equal(pairs.solve(v), v)


def test_where_the_initial_matrix_overflows_a_problem_has_the_identity():
    initial = initial_matrix()
    is_sound = torch.tensor([True, False])
    v = torch.randn(SHAPE, dtype=torch.float64)
    mixed = pairs_of(3, initial).on(initial, is_sound, torch.Size(SHAPE))
    for b, other in ((0, pairs_of(3, initial)), (1, pairs_of(3, None))):
        assert_close(mixed.solve(v)[b], other.solve(v)[b])
        assert_close(mixed.multiply(v)[b], other.multiply(v)[b])
        assert_close(mixed.take([b]).solve(v[[b]])[0], other.solve(v)[b])
