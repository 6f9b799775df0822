"""Quadratic functions, as far as an optimizer knows objectives: beyond logistic regression."""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import torch

from torchlogreg.curvature import Diagonal
from torchlogreg.problem.points import Point, Trial, compute, on_host


@dataclass(frozen=True)
class Quadratic:
    """f(W) = W H W / 2 - g W + 10 for B problems, with a minimum of 10 - g H^-1 g / 2."""

    hessian_: torch.Tensor
    """Shape (B, P, P)."""

    linear: torch.Tensor
    """The vector g, shape (B, 1, P)."""

    solution: torch.Tensor
    """A minimiser, shape (B, 1, P)."""

    is_attended: bool = True
    is_stored = False

    def agreed(self, tensor):
        return tensor

    def rounding(self, coef):
        return np.inf

    def predictor_rounding(self, coef):
        return np.inf

    @property
    def dtype(self):
        return self.linear.dtype

    @property
    def ridge(self):
        return torch.zeros_like(self.linear)

    def take(self, problems):
        parts = (part[problems] for part in (self.hessian_, self.linear, self.solution))
        return Quadratic(*parts, self.is_attended)

    def unattended(self):
        return replace(self, is_attended=False)

    def numbers(self, numbers):
        return tuple(map(on_host, numbers)) if self.is_attended else tuple(numbers)

    def at(self, coef):
        grad = (self.hessian_ @ coef.mT).mT - self.linear
        value = 0.5 * ((grad - self.linear) * coef).sum((-2, -1)) + 10
        (value,) = self.numbers([value])
        return Point(coef, value, compute(lambda v: 0 * v, value), grad, [], [])

    def along(self, point, direction):
        return QuadraticLine(self, point, direction)

    def hessian(self, point):
        return self.hessian_.clone()

    rows = SimpleNamespace(n_rows=0, n_columns=1, centre=None)

    def curvature(self, point):
        return []

    def hessian_product(self, curvature, v):
        return (self.hessian_ @ v.mT).mT

    def fix_gauge(self, coef):
        return coef

    inner = outer = outer_gradient = fix_gauge

    def kink_slope(self, point, direction):
        return torch.zeros_like(direction[:, 0, 0])

    def ascent(self, point):
        return point.grad

    least_subgradient = ascent

    def optimality(self, point):
        return point.grad.abs().amax((-2, -1))

    def recheck(self, coef):
        return self.at(coef)

    def minimum(self):
        return 10 - 0.5 * (self.linear * self.solution).sum((-2, -1))


class QuadraticLine:
    resolution = torch.finfo(torch.float64).eps

    has_kinks = False

    def __init__(self, objective, point, direction):
        self.objective, self.origin, self.direction = objective, point, direction
        (self.slope,) = objective.numbers([(point.grad * direction).sum((-2, -1))])

    def take(self, problems):
        part = self.objective.take(problems), self.origin.take(problems)
        return QuadraticLine(*part, self.direction[problems])

    def at(self, step):
        factor = torch.as_tensor(np.asarray(step))[:, None, None]
        point = self.objective.at(self.origin.coef + factor * self.direction)
        (slope,) = self.objective.numbers([(point.grad * self.direction).sum((-2, -1))])
        return Trial(step, point.value, point.penalty, slope, [], [])

    def point(self, trial):
        factor = torch.as_tensor(np.asarray(trial.step))[:, None, None]
        return self.objective.at(self.origin.coef + factor * self.direction)


def quadratic(values, seed=0):
    """With these eigenvalues (B, P), whose vectors are turned at random; g has no flat part."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.from_numpy(np.array(values))
    B, P = values.shape
    turned, _ = torch.linalg.qr(torch.randn(B, P, P, dtype=torch.float64, generator=generator))
    hessian = turned @ torch.diag_embed(values) @ turned.mT
    hessian = 0.5 * (hessian + hessian.mT)
    solution = torch.randn(B, 1, P, dtype=torch.float64, generator=generator)
    return Quadratic(hessian, (hessian @ solution.mT).mT, solution)


def scaled(n_decades, P=40):
    """Coordinates on scales that many decades apart."""
    plain = quadratic([np.linspace(1, 3, P)])
    scale = torch.logspace(0, n_decades / 2, P, dtype=torch.float64)
    hessian = scale[:, None] * plain.hessian_ * scale
    return Quadratic(hessian, plain.linear * scale, plain.solution / scale)


QUADRATICS = {
    "round": quadratic([np.ones(5)]),
    "long": quadratic([np.logspace(0, 4, 12)]),
    "badly scaled": scaled(3),
    "one flat direction": quadratic([np.r_[0, np.linspace(1, 5, 6)]]),
    "seven at once": quadratic(np.logspace(0, np.linspace(0, 3, 7), 6).T),
}


@dataclass(frozen=True)
class ExactDiagonal:
    """A ladder of one rung: the diagonal of the Hessian."""

    earliest = (0,)

    def cost(self, objective, point, quality):
        return 0.0

    def __call__(self, objective, point, generator, *, quality):
        return Diagonal(objective.hessian_.diagonal(dim1=-2, dim2=-1).unsqueeze(1))
