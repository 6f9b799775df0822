"""The two families at the limits of floating point."""

import pytest
import torch
from torch.testing import assert_close

from torchlogreg.problem import families
from torchlogreg.problem.families import Bernoulli, Categorical, inverse

EXTREME = [-1e4, -700.0, -30.0, 0.0, 30.0, 700.0, 1e4]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bernoulli_is_finite_and_exact_for_extreme_logits(dtype):
    family = Bernoulli()
    eta = torch.tensor(EXTREME, dtype=dtype).reshape(1, 1, -1)
    targets = family.encode(torch.ones(len(EXTREME), dtype=torch.int64), dtype)
    loss = family.losses(eta, targets)
    _, residual = family.evaluate(eta, targets, torch.ones_like(eta))
    exact = torch.log1p(torch.exp(-eta.double().abs())) + (-eta.double()).clamp_min(0)
    assert_close(loss.double(), exact.squeeze(-2), rtol=4 * torch.finfo(dtype).eps, atol=1e-44)
    assert residual.isfinite().all()
    assert family.log_proba(eta.mT).isfinite().all()


def test_well_classified_rows_keep_a_residual():
    """Its residual is sigmoid(-40) ~ 4e-18, not 1 - 1 = 0."""
    family = Bernoulli()
    targets = family.encode(torch.tensor([1]), torch.float64)
    eta = torch.full((1, 1, 1), 40.0, dtype=torch.float64)
    _, residual = family.evaluate(eta, targets, torch.ones_like(eta))
    assert_close(residual, -torch.exp(-eta), rtol=1e-12, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_categorical_is_finite_for_extreme_logits(dtype):
    family = Categorical()
    eta = torch.tensor([EXTREME, EXTREME[::-1]], dtype=dtype).mT.unsqueeze(0)
    targets = family.encode(torch.tensor([0, 3]), dtype)
    loss, residual = family.evaluate(eta, targets, torch.ones_like(eta[:, :1]))
    assert loss.isfinite().all()
    assert residual.isfinite().all()
    assert family.log_proba(eta.mT).isfinite().all()
    assert_close(residual.sum(-2), torch.zeros(1, 2, dtype=dtype), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("family", "n_classes"), [(Bernoulli(), 2), (Categorical(), 4)])
def test_probabilities_agree_with_each_other_and_with_the_class(family, n_classes):
    eta = torch.randn(50, family.n_outputs(n_classes), dtype=torch.float64)
    proba = family.proba(eta)
    assert proba.shape == (50, n_classes)
    assert_close(proba.sum(1), torch.ones(50, dtype=torch.float64))
    assert_close(family.log_proba(eta), proba.log())
    assert torch.equal(family.classify(eta), proba.argmax(1))


@pytest.mark.parametrize(("family", "n_classes"), [(Bernoulli(), 2), (Categorical(), 4)])
def test_curvature_follows_from_the_weighted_residual(family, n_classes):
    """Also that of a row without weight, which has none."""
    R = family.n_outputs(n_classes)
    eta = torch.randn(1, R, 30, dtype=torch.float64)
    weight = torch.rand(1, 1, 30, dtype=torch.float64)
    weight[..., 3] = 0
    targets = family.encode(torch.arange(30) % n_classes, torch.float64)
    loss, residual = family.evaluate(eta, targets, weight)
    assert_close(loss, (family.losses(eta, targets) * weight[:, 0]).sum(-1))
    curvature = family.curvature(residual, targets, weight, -inverse(weight))
    rows = []
    for i in range(30):

        def row_loss(row, i=i):
            return weight[0, 0, i] * family.losses(row[None, :, None], targets[i : i + 1]).sum()

        rows.append(torch.autograd.functional.hessian(row_loss, eta[0, :, i]))
    assert_close(family.summed_hessian(curvature, weight)[0], sum(rows))
    diagonals = torch.stack([row.diagonal() for row in rows], dim=-1)
    assert_close(family.curvature_diagonal(curvature, weight)[0], diagonals)


@pytest.mark.parametrize("shape", [(4, 50), (1, 4, 50), (3, 4, 50)])
def test_many_residuals_are_those_of_few(monkeypatch, shape):
    """A flat index picks the entries that an index for each problem picks."""
    family = Categorical()
    eta = torch.randn(shape, dtype=torch.float64)
    weight = torch.rand(*shape[:-2], 1, 50, dtype=torch.float64)
    targets = torch.randint(4, (50,)).view(*[1] * (len(shape) - 1), 50)
    few = family.evaluate(eta, targets, weight)
    monkeypatch.setattr(families, "LARGE", 0)
    for many, known in zip(family.evaluate(eta, targets, weight), few, strict=True):
        assert torch.equal(many, known)
