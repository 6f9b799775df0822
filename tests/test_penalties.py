"""The penalty and the translation of C."""

import torch
from torch.testing import assert_close

from torchlogreg.penalties import L2, l2_strength


def test_gradient_is_that_of_the_value():
    penalty = L2(torch.tensor([0.0, 0.5, 2.0], dtype=torch.float64))
    weights = torch.randn(3, 2, 4, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(penalty.value(weights).sum(), weights)
    assert_close(penalty.gradient(weights.detach()), gradient)


def test_c_of_infinity_is_no_penalty():
    C = torch.tensor([0.5, torch.inf])
    assert_close(l2_strength(C, torch.tensor([10.0, 10.0])), torch.tensor([0.2, 0.0]))
