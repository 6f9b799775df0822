"""The penalty: value, gradient, proximal map, subdifferential, gauge; the translation of C."""

import pytest
import torch
from torch.testing import assert_close

from torchlogreg.problem.penalties import Penalty, make_penalty


def penalty_of(l1_ratio, C=0.5, n_problems=3):
    """Of three columns and an intercept; None for no penalty."""
    C = torch.full((n_problems,), torch.inf if l1_ratio is None else C, dtype=torch.float64)
    weight_sum = torch.arange(1, n_problems + 1, dtype=torch.float64)
    return make_penalty(C, weight_sum, 3, fit_intercept=True, l1_ratio=l1_ratio or 0.0)


over_ratios = pytest.mark.parametrize("l1_ratio", [0.0, 0.3, 1.0, None])


def coef_of(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(3, 2, 4, dtype=torch.float64, generator=generator)


@over_ratios
def test_gradient_is_that_of_the_value(l1_ratio):
    penalty = penalty_of(l1_ratio)
    weights = coef_of().requires_grad_()
    value = penalty.value(weights).sum()
    expected = torch.zeros_like(weights)
    if value.requires_grad:
        (expected,) = torch.autograd.grad(value, weights)
    start = torch.randn_like(expected)
    total = penalty.add_gradient_(start.clone(), weights.detach())
    assert_close(total - start, expected)


@over_ratios
def test_the_proximal_map_is_a_minimiser(l1_ratio):
    """0 lies in (W - coef) / step plus the subdifferential of the penalty at W."""
    penalty, coef, step = penalty_of(l1_ratio), coef_of(), torch.tensor(0.7, dtype=torch.float64)
    W = penalty.prox(coef, step)
    gradient = penalty.add_gradient_((W - coef) / step, W)
    assert penalty.distance(gradient, W).max() < 1e-12
    assert_close(W[..., 3], coef[..., 3])  # the intercept is free


def test_the_proximal_map_makes_zeros():
    penalty = penalty_of(1.0, C=0.1)
    W = penalty.prox(coef_of(), torch.tensor(1.0))
    assert (W[0, :, :3] == 0).all()


@over_ratios
def test_distance_is_that_to_the_subdifferential(l1_ratio):
    penalty, coef = penalty_of(l1_ratio), coef_of()
    gradient = coef_of(seed=1)
    l1 = torch.zeros_like(coef) if penalty.l1 is None else penalty.l1.expand_as(coef)
    assert_close(penalty.distance(gradient, coef), gradient.abs())
    zero = torch.zeros_like(coef)
    assert (penalty.distance(0.5 * l1, zero) == 0).all()
    assert_close(penalty.distance(l1 + 0.25, zero), torch.full_like(coef, 0.25))


def test_the_gauge_is_that_of_the_lowest_ridge_penalty():
    coef = coef_of()
    centred = penalty_of(0.0).fix_gauge(coef)
    assert centred.sum(1).abs().max() < 1e-14
    kept = penalty_of(0.5).fix_gauge(coef)
    assert torch.equal(kept[..., :3], coef[..., :3])
    assert_close(kept[..., 3], centred[..., 3])


def test_the_ratio_splits_the_strength():
    l2, weights = torch.full((1, 1, 2), 0.5), torch.tensor([[[1.0, -2.0]]])
    assert Penalty(l2).value(weights) == 0.5 * 0.5 * 5
    assert Penalty(0 * l2, l2).value(weights) == 0.5 * 3
    ones = torch.ones(1, dtype=torch.float64)
    half = make_penalty(2 * ones, ones, 2, fit_intercept=False, l1_ratio=0.5)
    assert half.value(weights.double()) == 0.25 * (0.5 * 5 + 3)


@over_ratios
def test_a_part_of_the_problems_has_a_part_of_the_penalty(l1_ratio):
    penalty, coef = penalty_of(l1_ratio), coef_of()
    some = penalty.take([2, 0])
    assert_close(some.value(coef[[2, 0]]), penalty.value(coef)[[2, 0]])


def test_another_precision_follows_from_the_widest():
    penalty = penalty_of(0.3)
    assert penalty.to(torch.float32).l2.dtype == torch.float32
    back = penalty.to(torch.float32).to(torch.float64)
    assert torch.equal(back.l2, penalty.l2)
    assert torch.equal(back.l1, penalty.l1)


@pytest.mark.parametrize("fit_intercept", [False, True])
def test_c_of_infinity_is_no_penalty_and_intercepts_have_none(fit_intercept):
    C, weight_sum = torch.tensor([0.5, torch.inf]), torch.tensor([10.0, 10.0])
    penalty = make_penalty(C, weight_sum, 2, fit_intercept=fit_intercept)
    assert_close(penalty.l2[..., :2], torch.tensor([[[0.2, 0.2]], [[0.0, 0.0]]]))
    assert penalty.l2.shape == (2, 1, 2 + fit_intercept)
    assert (penalty.l2[..., 2:] == 0).all()
    assert not penalty.is_zero
    assert make_penalty(C[1:], weight_sum[1:], 2, fit_intercept=True).is_zero
