"""The penalty and the translation of C."""

import pytest
import torch
from torch.testing import assert_close

from torchlogreg.problem.penalties import L2, NoPenalty, elastic_net, l2_strength


@pytest.mark.parametrize("l1_ratio", [0.0, 0.3, 1.0, None])
def test_gradient_is_that_of_the_value(l1_ratio):
    strength = torch.rand(3, 1, 4, dtype=torch.float64)
    penalty = NoPenalty(strength) if l1_ratio is None else elastic_net(strength, l1_ratio)
    weights = torch.randn(3, 2, 4, dtype=torch.float64, requires_grad=True)
    value = penalty.value(weights).sum()
    expected = torch.zeros_like(weights)
    if value.requires_grad:
        (expected,) = torch.autograd.grad(value, weights)
    start = torch.randn_like(expected)
    total = penalty.add_gradient_(start.clone(), weights.detach())
    assert_close(total - start, expected)


def test_the_ratio_splits_the_strength():
    strength, weights = torch.full((1, 1, 2), 0.5), torch.tensor([[[1.0, -2.0]]])
    assert elastic_net(strength, 0.0).value(weights) == 0.5 * 0.5 * 5
    assert elastic_net(strength, 1.0).value(weights) == 0.5 * 3
    assert elastic_net(strength, 0.5).value(weights) == 0.25 * (0.5 * 5 + 3)
    assert L2(strength).value(weights) == elastic_net(strength, 0.0).value(weights)


@pytest.mark.parametrize("fit_intercept", [False, True])
def test_c_of_infinity_is_no_penalty_and_intercepts_have_none(fit_intercept):
    C, weight_sum = torch.tensor([0.5, torch.inf]), torch.tensor([10.0, 10.0])
    strength = l2_strength(C, weight_sum, 2, fit_intercept)
    expected = torch.tensor([[[0.2, 0.2]], [[0.0, 0.0]]])
    assert_close(strength[..., :2], expected)
    assert strength.shape == (2, 1, 2 + fit_intercept)
    assert (strength[..., 2:] == 0).all()
