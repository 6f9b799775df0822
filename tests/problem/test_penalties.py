"""The penalty: value, gradient, subdifferential, gauge; the translation of C."""

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
    coef = weights.detach()
    total = penalty.subgradient(penalty.add_gradient_(start.clone(), coef), coef)
    assert_close(total - start, expected)


@over_ratios
def test_the_least_subgradient_is_the_steepest_ascent(l1_ratio):
    """Of all directions of length one, the slope along it is the largest: that is its length."""
    penalty, coef, gradient = penalty_of(l1_ratio), coef_of(), coef_of(seed=1)
    coef[..., ::2] = 0
    least = penalty.least_subgradient(gradient, coef)
    length = torch.linalg.vector_norm(least, dim=(-2, -1))

    def slope(direction):
        return (gradient * direction).sum((-2, -1)) + penalty.kink_slope(coef, direction)

    assert_close(slope(-least), -(length**2))
    for seed in range(2, 30):
        direction = coef_of(seed)
        assert (slope(direction) >= -length * direction.square().sum((-2, -1)).sqrt()).all()


@over_ratios
def test_slope_of_the_kinks_is_that_of_their_value(l1_ratio):
    penalty, coef, direction = penalty_of(l1_ratio), coef_of(), coef_of(seed=1)
    coef[..., ::2] = 0
    step = 1e-6
    change = penalty.kink(coef + step * direction) - penalty.kink(coef)
    assert_close(penalty.kink_slope(coef, direction), change / step, rtol=1e-5, atol=1e-5)


@over_ratios
def test_the_least_subgradient_is_zero_at_a_minimum(l1_ratio):
    penalty = penalty_of(l1_ratio)
    zero = torch.zeros(3, 2, 4, dtype=torch.float64)
    l1 = zero if penalty.l1 is None else penalty.l1.expand_as(zero)
    assert (penalty.least_subgradient(0.5 * l1, zero) == 0).all()
    assert_close(penalty.least_subgradient(l1 + 0.25, zero), torch.full_like(zero, 0.25))


@pytest.mark.parametrize("l1_ratio", [0.3, 1.0])
@pytest.mark.parametrize("n_outputs", [2, 3, 4])
def test_the_gauge_is_that_of_the_lowest_penalty(l1_ratio, n_outputs):
    penalty = penalty_of(l1_ratio)
    generator = torch.Generator().manual_seed(n_outputs)
    coef = torch.randn(3, n_outputs, 4, dtype=torch.float64, generator=generator)
    fixed = penalty.fix_kinked_gauge(coef)
    shift = fixed - coef
    assert_close(shift, shift[:, :1].expand_as(shift))  # the same for all outputs
    assert fixed[..., 3].sum(1).abs().max() < 1e-14  # intercepts are centred
    if l1_ratio == 1:
        assert (fixed[..., :3] == 0).any(1).all()
    for change in (-1e-3, 1e-3, 0.1, -0.1):
        for column in range(3):
            other = fixed.clone()
            other[..., column] += change
            assert (penalty.value(other) >= penalty.value(fixed) - 1e-15).all()


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
