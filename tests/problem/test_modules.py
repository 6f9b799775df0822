"""The modules as users of torch see them."""

import pytest
import torch
from torch.testing import assert_close

from torchlogreg import BinaryLogistic, MultinomialLogistic


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("module_class", [BinaryLogistic, MultinomialLogistic])
def test_logits_are_those_of_a_linear_layer(module_class, bias):
    n_outputs = 1 if module_class is BinaryLogistic else 4
    module = module_class(3, n_outputs, bias=bias)
    torch.nn.init.normal_(module.coef)
    linear = torch.nn.Linear(3, n_outputs, bias=bias)
    with torch.no_grad():
        linear.weight.copy_(module.weight)
        if bias:
            linear.bias.copy_(module.bias)
    X = torch.randn(5, 3)
    assert_close(module(X), linear(X))
    assert (module.bias is None) == (not bias)


def test_problems_stacked_in_one_module_do_not_mix():
    module = MultinomialLogistic(3, 4, batch_shape=(2,))
    torch.nn.init.normal_(module.coef)
    X = torch.randn(5, 3)
    logits = module(X)
    assert logits.shape == (2, 5, 4)
    for b in range(2):
        single = MultinomialLogistic(3, 4)
        single.load_state_dict({name: part[b] for name, part in module.state_dict().items()})
        assert_close(logits[b], single(X))


def test_gradient_flows_to_features_and_coefficients():
    module = BinaryLogistic(3)
    torch.nn.init.normal_(module.coef)
    X = torch.randn(5, 3, requires_grad=True)
    module(X).sum().backward()
    assert_close(X.grad, module.weight.detach().expand(5, 3))
    assert_close(module.coef.grad[0, -1], torch.tensor(5.0))


def test_binary_has_one_logit():
    with pytest.raises(ValueError, match=r"n_outputs=3.*MultinomialLogistic"):
        BinaryLogistic(4, 3)


def test_repr_names_the_shape():
    assert repr(MultinomialLogistic(4, 3)) == (
        "MultinomialLogistic(n_features=4, n_outputs=3, bias=True)"
    )


@pytest.mark.parametrize("shape", [(5, 5), (5, 3), (4,), (2, 5, 4)])
def test_rows_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"X has the shape .*takes rows of 4 features"):
        MultinomialLogistic(4, 3)(torch.ones(shape))


def test_sizes_are_positive():
    with pytest.raises(ValueError, match="n_features=-1"):
        BinaryLogistic(-1)
