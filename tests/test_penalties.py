"""The penalty and the translation of C."""

import pytest
import torch
from torch.testing import assert_close

from torchlogreg.penalties import L2, l2_strength


def test_gradient_is_that_of_the_value():
    penalty = L2(torch.rand(3, 1, 4, dtype=torch.float64))
    weights = torch.randn(3, 2, 4, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(penalty.value(weights).sum(), weights)
    assert_close(penalty.gradient(weights.detach()), gradient)


@pytest.mark.parametrize("fit_intercept", [False, True])
def test_c_of_infinity_is_no_penalty_and_intercepts_have_none(fit_intercept):
    C, weight_sum = torch.tensor([0.5, torch.inf]), torch.tensor([10.0, 10.0])
    strength = l2_strength(C, weight_sum, 2, fit_intercept)
    expected = torch.tensor([[[0.2, 0.2]], [[0.0, 0.0]]])
    assert_close(strength[..., :2], expected)
    assert strength.shape == (2, 1, 2 + fit_intercept)
    assert (strength[..., 2:] == 0).all()
