"""Which coefficients a model is in, its minimiser, and what it leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from torchlogreg.curvature.diagonal import Diagonal
from torchlogreg.curvature.working import WorkingHessian
from torchlogreg.curvature.working_blocks import WorkingBlocks
from torchlogreg.optim.quadratic import KinkedQuadratic
from torchlogreg.problem.batched import Batched
from torchlogreg.problem.objective import Objective
from torchlogreg.problem.points import Point

FLOOR, LEAST_FLOOR, MOST_FLOOR = 0.03, 1e-3, 0.25
"""What is added first to the curvature of rows, the least before that is nothing, and the most: the
curvature itself is 0.25 at most."""

FEW_VALUES, LAST_VALUES = 7, 5
"""Objectives that say how fast they decrease, and the last few of them, an odd number."""

SHORT, LONG, FACTOR = 0.5, 0.9, 4.0
"""Steps after which it is raised or lowered, and by which factor."""


@dataclass(frozen=True, eq=False)
class WorkingSet(Batched):
    """Some coefficients of problems, and the Hessian in these."""

    hessian: WorkingHessian
    """Hessian in these, penalty included."""

    index: Tensor | None = None
    """Their places (B, p) in the flattened coefficients; None for all of these."""

    def minimise(self, objective: Objective, point: Point) -> tuple[Tensor, Tensor]:
        """Return the direction (B, R, D) to the model's minimiser, and its value there (B,).

        It is looked for in the dtype of the Hessian.
        """
        flat = [point.grad, point.coef, kinks(objective, point.coef)]
        parts = [part.flatten(1) for part in flat]
        if self.index is not None:
            parts = [part.gather(1, self.index) for part in parts]
        parts = [part.to(self.hessian.diagonal.dtype) for part in parts]
        step, lowest = (
            part.to(point.coef) for part in KinkedQuadratic(self.hessian, *parts).minimise()
        )
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


def chosen(objective: Objective, point: Point, few: int, growth: float) -> list[Tensor]:
    """Return the coefficients of the model of each problem, as a rising index.

    These are all that are not zero or have no kink, and those with the largest violations of the
    condition of a minimum: at most ``few`` more than ``growth`` times as many as the former.
    """
    excess = objective.ascent(point).abs()
    is_sure = (point.coef != 0) | (kinks(objective, point.coef) == 0)
    # Those that are sure to be in it come first, then those with the largest violation.
    excess = torch.where(is_sure, torch.inf, excess).flatten(1)
    most = (few + growth * is_sure.flatten(1).sum(1)).long()
    sizes = torch.minimum(most, (excess > 0).sum(1)).clamp(min=1).tolist()
    order = excess.topk(max(sizes), dim=1).indices
    return [order[b, :size].sort().values for b, size in enumerate(sizes)]


def promised_outside(
    objective: Objective,
    point: Point,
    working: WorkingSet | tuple[WorkingSet, ...],
    blocks: Sequence[WorkingBlocks | None],
) -> Tensor:
    """Return the decrease (B,) that coefficients outside the model promise, each on its own.

    The diagonal of the Hessian is that of the estimates, if every problem has one: with penalty and
    floor. Otherwise it is that of the loss.
    """
    if not isinstance(working, tuple):
        return torch.zeros_like(point.coef[:, 0, 0])
    excess = objective.ascent(point).flatten(1).clone()
    for b, one in enumerate(working):
        assert one.index is not None
        excess[b, one.index[0]] = 0
    if not excess.any():
        return torch.zeros_like(excess[:, 0])
    known = [one.diagonal for one in blocks if one is not None]
    if len(known) == len(excess):
        diagonal = torch.stack(known)
    else:
        diagonal = Diagonal.at(objective, point).diagonal.flatten(1)
    return torch.where(excess == 0, 0, 0.5 * excess.square() / diagonal).sum(1)


def expected_decrease(values: Tensor) -> Tensor:
    """Return the decrease (B,) that the last objectives (B, m) suggest is to come.

    The decreases in both halves, of all and of the last few, are taken for terms of a geometric
    series: one that fades hides another one that goes on. It is at most as much as in all of them,
    and not less where these are few.
    """
    total = values[:, 0] - values[:, -1]
    if values.shape[1] < FEW_VALUES:
        return total
    expected = torch.zeros_like(total)
    for some in (values[:, 1 - values.shape[1] % 2 :], values[:, -LAST_VALUES:]):
        middle = some[:, some.shape[1] // 2]
        first, second = some[:, 0] - middle, middle - some[:, -1]
        series = torch.where(first > second, second.square() / (first - second), torch.inf)
        expected = torch.maximum(expected, torch.minimum(series, total))
    return expected


def kinks(objective: Objective, coef: Tensor) -> Tensor:
    """Penalty on the absolute value of every coefficient, shape (B, R, D)."""
    l1 = objective.penalty.l1
    return torch.zeros_like(coef) if l1 is None else l1.expand_as(coef)


def adapted_floor(
    floor: Tensor | None, step: Tensor, direction: Tensor | None, lr: float
) -> Tensor:
    """Raise the floor of problems whose step was short, and lower that of those with a long one.

    The length is that along the direction, in units of the first trial's, ``lr``. It is short, too,
    where the model's direction was not taken.
    """
    if floor is None:
        floor = torch.zeros_like(step[:, 0, 0])
    if direction is None:
        return floor
    length = (step * direction).sum((1, 2))
    whole = lr * direction.square().sum((1, 2))
    raised = (FACTOR * floor).clamp(FLOOR, MOST_FLOOR)
    lowered = torch.where(floor > LEAST_FLOOR, floor / FACTOR, 0)
    floor = torch.where(length < SHORT * whole, raised, floor)
    return torch.where(length > LONG * whole, lowered, floor)
