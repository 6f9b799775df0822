"""Random problems that the tests of the mathematics share."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from torchlogreg.data.training_sets import ArrayRows
from torchlogreg.nets.base import PenalizedLoss
from torchlogreg.problem.families import family_of
from torchlogreg.problem.modules import module_class
from torchlogreg.problem.objective import Objective
from torchlogreg.problem.points import Point


@dataclass(frozen=True)
class Problem:
    """B problems over the same random rows; ``id`` names the case."""

    n_classes: int
    n_problems: int
    sparse: bool = False
    block_size: int | None = None
    fit_intercept: bool = True
    n_rows: int = 40
    n_features: int = 3
    far: float = 0.0
    """Distance of the columns from zero; those of the training set are then centred."""

    def __str__(self) -> str:
        parts = [f"K{self.n_classes}", f"B{self.n_problems}"]
        parts += ["sparse"] * self.sparse + ["no-intercept"] * (not self.fit_intercept)
        parts += [f"far-{self.far:g}"] * (self.far > 0)
        parts += [f"blocks-of-{self.block_size}"] * (self.block_size is not None)
        return "-".join(parts)

    def features(self) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        shape = (self.n_rows, self.n_features)
        return self.far + torch.randn(shape, dtype=torch.float64, generator=generator)

    def rows(self, **options: Any) -> ArrayRows:
        generator = torch.Generator().manual_seed(3)
        X = self.features()
        codes = torch.arange(self.n_rows) % self.n_classes
        weight = torch.rand(self.n_problems, self.n_rows, dtype=torch.float64, generator=generator)
        weight[:, ::7] = 0
        if self.sparse:
            X = X.to_sparse_csr()
        return ArrayRows(
            X,
            codes,
            weight,
            family_of(self.n_classes),
            fit_intercept=self.fit_intercept,
            block_size=self.block_size,
            is_centred=self.far > 0,
            **options,
        )

    def objective(self, **options: Any) -> Objective:
        rows = self.rows(**options)
        C = 1 / (self.strength * rows.weight_unit * rows.weight_sum)
        return PenalizedLoss(rows.family, rows.penalty(C)).objective(rows.rows)

    @property
    def strength(self) -> torch.Tensor:
        return torch.linspace(0.01, 0.1, self.n_problems, dtype=torch.float64)

    def coef(self, seed: int = 1) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        shape = self.module().coef.shape
        return torch.randn(shape, dtype=torch.float64, generator=generator)

    def module(self) -> torch.nn.Module:
        return module_class(self.n_classes)(
            self.n_features,
            family_of(self.n_classes).n_outputs(self.n_classes),
            bias=self.fit_intercept,
            batch_shape=(self.n_problems,),
            dtype=torch.float64,
        )

    def loss(self, coef: torch.Tensor) -> torch.Tensor:
        """The objective (B,) written with torch's own losses, for autograd."""
        weight = torch.cat([block.weight for block in self.rows().rows], dim=-1)
        codes = torch.arange(self.n_rows) % self.n_classes
        weights = coef[..., : self.n_features]
        eta = torch.einsum("nd,brd->bnr", self.features(), weights)
        eta = eta + coef[..., self.n_features :].sum(-1).unsqueeze(-2)
        losses = []
        for b in range(self.n_problems):
            if self.n_classes == 2:
                row_loss = torch.nn.functional.binary_cross_entropy_with_logits(
                    eta[b, :, 0], codes.to(torch.float64), reduction="none"
                )
            else:
                row_loss = torch.nn.functional.cross_entropy(eta[b], codes, reduction="none")
            losses.append((weight[b] * row_loss).sum())
        return torch.stack(losses) + 0.5 * self.strength * weights.square().sum((-2, -1))


def full_hessian(objective: Objective, point: Point) -> torch.Tensor:
    """Hessian (B, P, P) with the penalty."""
    hessian = objective.hessian(point)
    diagonal = hessian.diagonal(dim1=-2, dim2=-1)
    diagonal.unflatten(-1, (-1, objective.ridge.shape[-1])).add_(objective.ridge)
    return hessian


def seven_problems(n_classes):
    """Different C over four decades, weights with many zeros, and hence difficulty."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 6)) * np.logspace(0, 1.5, 6)
    scores = 0.3 * X @ rng.normal(size=(6, n_classes))
    codes = torch.from_numpy((scores + rng.gumbel(size=scores.shape)).argmax(axis=1))
    weight = torch.from_numpy(rng.exponential(size=(7, 300)) * (rng.random((7, 300)) < 0.8))
    rows = ArrayRows(torch.from_numpy(X), codes, weight, family_of(n_classes))
    penalty = rows.penalty(torch.logspace(-5, -1, 7, dtype=torch.float64))
    objective = PenalizedLoss(rows.family, penalty).objective(rows.rows)
    n_outputs = rows.family.n_outputs(n_classes)
    return objective, torch.zeros(7, n_outputs, 7, dtype=torch.float64)


CASES = [Problem(n_classes, n_problems) for n_classes in (2, 3, 5) for n_problems in (1, 7)] + [
    Problem(2, 7, sparse=True),
    Problem(3, 7, sparse=True),
    Problem(3, 1, block_size=7),
    Problem(3, 7, block_size=7, fit_intercept=False),
    Problem(2, 1, fit_intercept=False),
    Problem(3, 7, far=10),
    Problem(3, 7, sparse=True, far=10),
]

over_cases = pytest.mark.parametrize("problem", CASES, ids=str)
