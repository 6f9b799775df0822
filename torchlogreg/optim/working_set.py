"""Some of the coefficients, and the minimiser of a model in them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from torchlogreg.curvature.working import WorkingHessian
from torchlogreg.optim.quadratic import KinkedQuadratic
from torchlogreg.problem.batched import Batched
from torchlogreg.problem.objective import Objective
from torchlogreg.problem.points import Point


@dataclass(frozen=True, eq=False)
class WorkingSet(Batched):
    """Some coefficients of problems, and the Hessian in these."""

    hessian: WorkingHessian
    """Hessian in these, penalty included."""

    index: Tensor | None = None
    """Their places (B, p) in the flattened coefficients; None for all of these."""

    def minimise(self, objective: Objective, point: Point) -> tuple[Tensor, Tensor]:
        """Return the direction (B, R, D) to the model's minimiser, and its value there (B,)."""
        flat = [point.grad, point.coef, kinks(objective, point.coef)]
        parts = [part.flatten(1) for part in flat]
        if self.index is not None:
            parts = [part.gather(1, self.index) for part in parts]
        step, lowest = KinkedQuadratic(self.hessian, *parts).minimise()
        if self.index is not None:
            step = torch.zeros_like(point.coef).flatten(1).scatter_(1, self.index, step)
        return step.view_as(point.coef), lowest


def minimiser(
    objective: Objective, point: Point, working: WorkingSet | tuple[WorkingSet, ...]
) -> tuple[Tensor, Tensor]:
    """Return the direction (B, R, D) to the minimiser of the model, and its value there (B,).

    The working set is that of all problems, or there is one for each. Where the outputs compete,
    the columns are then shifted to where their penalty is lowest.
    """
    if isinstance(working, tuple):
        parts = [
            one.minimise(objective.take([b]), point.take([b])) for b, one in enumerate(working)
        ]
        direction, lowest = (torch.cat(part) for part in zip(*parts, strict=True))
    else:
        direction, lowest = working.minimise(objective, point)
    if not objective.family.outputs_compete:
        return direction, lowest
    end = point.coef + direction
    fixed = objective.penalty.fix_kinked_gauge(end)
    lowest = lowest + objective.penalty.value(fixed) - objective.penalty.value(end)
    return torch.where(fixed == end, direction, fixed - point.coef), lowest


def kinks(objective: Objective, coef: Tensor) -> Tensor:
    """Penalty on the absolute value of every coefficient, shape (B, R, D)."""
    l1 = objective.penalty.l1
    return torch.zeros_like(coef) if l1 is None else l1.expand_as(coef)
