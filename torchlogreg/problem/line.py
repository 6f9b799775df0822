"""The objective along a line, on which a trial reads no data."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from torchlogreg.problem.batched import Places
from torchlogreg.problem.points import Numbers, Point, Trial, compute
from torchlogreg.problem.row_block import RowBlock
from torchlogreg.problem.rows import kept
from torchlogreg.problem.sums import RowSums


class Line:
    """The objective along ``point.coef + step * direction``.

    The linear predictor is linear in the step, so that a trial costs a pass over eta, not
    over X: a line search is nearly free.

    Of rows that are not in memory, X is read with the first trial, whose gradient is computed at
    the same time: if it is accepted, an iteration reads X once.
    """

    has_kinks: ClassVar[bool] = False
    """Whether the slope jumps."""

    def __init__(
        self, objective: RowSums, point: Point, direction: Tensor, eta: Sequence[Tensor] | None
    ) -> None:
        self.objective = objective
        self.origin = point
        self.direction = direction
        self._eta = eta
        smooth = objective.penalty.smooth_gradient
        gradients = torch.stack([point.grad, smooth(point.coef), smooth(direction)])
        self.slope, *penalty = objective.numbers((gradients * direction).sum((-2, -1)))
        """Derivative at step 0 of each problem."""
        self._penalty = (point.penalty, *penalty)
        self._first: tuple[list[Tensor], Tensor] | None = None
        """Residual of the first trial, and the gradient of the mean loss there, if it is known."""
        self._add_kink()

    @property
    def resolution(self) -> float:
        """Relative spacing of the numbers that values are computed with."""
        return torch.finfo(self.direction.dtype).eps

    def take(self, problems: Sequence[int]) -> Line:
        """Return the lines of some of the problems."""
        places = Places.of(problems)
        origin = self.origin.evolved(residual=[]).take(places)  # which no trial asks for
        eta = None if self._eta is None else [places.pick(eta) for eta in self._eta]
        return type(self)(self.objective.take(places), origin, places.pick(self.direction), eta)

    def at(self, step: Numbers) -> Trial:
        """Evaluate value and slope at the step lengths ``step`` (B,)."""
        if self._eta is None:
            eta, residual, loss, data_slope = self._read(step)
        else:
            starts = zip(self.origin.eta, self._eta, strict=True)
            eta = [self._move(start, along, step) for start, along in starts]
            residual, (loss, data_slope) = self.objective.loss(eta, self._eta)
        loss, slope = self.objective.fetched((loss, data_slope))
        penalty = compute(_parabola, step, *self._penalty)
        slope = compute(_with_penalty, slope, step, *self._penalty[1:])
        penalty, slope = self._with_kink(step, penalty, slope)
        value = compute(operator.add, loss, penalty)
        return Trial(step, value, penalty, slope, eta, residual)

    def point(self, trial: Trial) -> Point:
        """Complete a trial to a point with its gradient: X is read once, unless that is known."""
        coef = self._move(self.origin.coef, self.direction, trial.step)
        if self._first is not None and trial.residual is self._first[0]:
            gradient = self.objective.penalty.add_gradient_(self._first[1], coef)
            self._first = None
        else:
            gradient = self.objective.gradient(coef, trial.residual)
        return Point(coef, trial.value, trial.penalty, gradient, trial.eta, trial.residual)

    def _read(self, step: Numbers) -> tuple[list[Tensor], list[Tensor], Tensor, Tensor]:
        """Read X for the first trial: its predictor and residual, loss and slope; and gradient."""
        family, direction = self.objective.family, self.direction
        rows, along, moved, residuals = self.objective.rows, [], [], []

        def part(
            block: RowBlock, start: Tensor, *slots: Tensor | None
        ) -> tuple[Tensor, Tensor, Tensor]:
            change = block.predictor(direction)
            eta = self._move(start, change, step)
            loss, residual = family.evaluate(eta, block.wide_targets, block.wide_weight)
            along.append(kept(change, slots[0]))
            moved.append(kept(eta, slots[1]))
            residuals.append(kept(residual, slots[2]))
            return loss, (residual * change).sum((-2, -1)), block.adjoint(residual)

        slots = [rows.slots(direction) for _ in range(3)]
        loss, slope, gradient = rows.sum(part, self.origin.eta, *slots)
        self._eta, self._first = along, (residuals, gradient)
        return moved, residuals, loss, slope

    def _add_kink(self) -> None:
        """Account for the kinks of the penalty at the start of the line: there are none."""

    def _with_kink(self, step: Numbers, penalty: Numbers, slope: Numbers) -> tuple[Numbers, ...]:
        """Add to the penalty and the slope of a trial those of the kinks: there are none."""
        return penalty, slope

    @staticmethod
    def _move(start: Tensor, along: Tensor, step: Numbers) -> Tensor:
        """Go from ``start`` (B, ...) along a direction by the step of each problem."""
        if len(step) == 1 and not isinstance(step, Tensor):
            return torch.add(start, along, alpha=step[0])
        factor = torch.as_tensor(step, dtype=start.dtype, device=start.device)
        return torch.addcmul(start, along, factor[:, None, None])


class KinkedLine(Line):
    """The same with a penalty on the absolute values, which is no parabola.

    Slopes are those to the right.
    """

    has_kinks = True

    def _add_kink(self) -> None:
        """Take the kinks out of the parabola, and add their slope."""
        kink, slope = self._kink(self.origin.coef)
        self.slope = compute(operator.add, self.slope, slope)
        smooth = compute(operator.sub, self._penalty[0], kink)
        self._penalty = (smooth, *self._penalty[1:])

    def _with_kink(self, step: Numbers, penalty: Numbers, slope: Numbers) -> tuple[Numbers, ...]:
        """Add the kinks at a trial."""
        kink, kink_slope = self._kink(self._move(self.origin.coef, self.direction, step))
        return compute(operator.add, penalty, kink), compute(operator.add, slope, kink_slope)

    def _kink(self, coef: Tensor) -> tuple[Numbers, ...]:
        """Value and slope of the penalty on the absolute values."""
        penalty = self.objective.penalty
        return self.objective.numbers(
            (penalty.kink(coef), penalty.kink_slope(coef, self.direction))
        )


def _parabola(step: Any, start: Any, slope: Any, curvature: Any) -> Any:
    """Value of the penalty along the line."""
    return start + step * (slope + 0.5 * step * curvature)


def _with_penalty(slope: Any, step: Any, start_slope: Any, curvature: Any) -> Any:
    """Slope of the objective along the line, from that of the loss."""
    return slope + start_slope + step * curvature
