"""Line searches for convex functions with a cheap slope."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from torchlogreg.problem.line import Line
from torchlogreg.problem.points import Trial

C1 = 1e-4
"""Constant of sufficient decrease."""

NEWTON_C2 = 0.15
"""Constant of curvature for Newton's directions. Where the classes are nearly separable a full step
leaves a third of the slope, time and again: another trial costs less than another iteration."""


def wolfe_search(
    line: Line, first_step: float, *, c1: float = C1, c2: float = 0.9, max_trials: int = 40
) -> Trial:
    """Find step lengths that satisfy the Wolfe conditions, for B lines at once.

    They are the strong ones on a smooth line, and the weak ones on a line with kinks, where the
    slope jumps at the minimum. A line whose trial is accepted takes no part in the trials of the
    others.

    Parameters
    ----------
    line : Line
        The lines, with slopes that are negative, or zero where nothing should move.
    first_step : float
        First trial.
    c1, c2 : float
        Constants of sufficient decrease and of curvature, ``0 < c1 < c2 < 1``.
    max_trials : int
        Most trials.

    Returns
    -------
    trial : Trial
        The accepted trial. Where no trial was accepted its step is the lower end of the
        bracket, where the objective is not higher than at the start; it may be 0.

    Notes
    -----
    The brackets live on the host: a trial costs one transfer, whatever the device, and the
    rules are written for one line.

    References
    ----------
    .. [1] Nocedal & Wright, Numerical Optimization, 2nd ed., eqs. (3.6) and (3.7), and
       Algorithm 3.5.
    .. [2] Hager & Zhang, A new conjugate gradient method with guaranteed descent and an
       efficient line search, SIAM J. Optim. 16 (2005), Section 4.
    .. [3] Dowell & Jarratt, A modified regula falsi method for computing the root of an
       equation, BIT 11 (1971).
    """
    rounding = 4 * line.resolution
    searches = [
        _Search(value, slope, first_step, c1, c2, rounding * abs(value), line.has_kinks)
        for value, slope in zip(line.origin.value, line.slope, strict=True)
    ]
    left, part = list(range(len(searches))), line
    found: Trial | None = None
    for n_trials in range(max_trials + 1):
        is_last = n_trials == max_trials
        steps = [searches[i].low if is_last else searches[i].step for i in left]
        trial = part.at(tuple(steps))
        if found is None or len(left) == len(searches):
            found = trial
        else:
            found = found.put(left, trial, in_place=True)
        if is_last:
            break
        for i, value, slope in zip(left, trial.value, trial.slope, strict=True):
            searches[i].judge(value, slope)
        going = [i for i in left if not searches[i].is_accepted]
        if not going:
            break
        if len(going) < len(left):
            left, part = going, line.take(going)
    assert found is not None
    return found


def secant_search(
    line: Line, first_step: Tensor, *, c1: float = C1, c2: float = 0.9
) -> tuple[Trial, Tensor]:
    """Make two trials, whatever they show: nothing waits for the device.

    Parameters
    ----------
    line : Line
        The lines of an objective that is not attended.
    first_step : Tensor of shape (B,)
        First trial.
    c1, c2 : float
        As for :func:`wolfe_search`.

    Returns
    -------
    trial : Trial
        The second trial: the first one again where that satisfies the strong Wolfe conditions, or
        on a line with kinks decreases enough; otherwise the root of the secant of the slope,
        between a tenth and ten times the first.
    is_accepted : Tensor of shape (B,)
        Whether the objective has sufficiently decreased there.
    """
    rounding = 4 * line.resolution * line.origin.value.abs()

    def decreases(trial: Trial) -> Tensor:
        bound = line.origin.value + c1 * trial.step * line.slope + rounding
        verdict: Tensor = trial.value <= bound
        return verdict

    first = line.at(first_step)
    is_good = decreases(first)
    if not line.has_kinks:  # beyond the first trial there may be kinks that undo the step
        is_good &= first.slope.abs() <= -c2 * line.slope
    root = first_step * line.slope / (line.slope - first.slope)
    far = torch.where(first.slope < 0, 10.0, 0.1) * first_step
    root = torch.where((root > 0) & root.isfinite(), root, far)
    root = torch.minimum(torch.maximum(root, 0.1 * first_step), 10 * first_step)
    second = line.at(torch.where(is_good, first_step, root))
    return second, decreases(second)


@dataclass
class _Search:
    """The search along one line.

    On a convex function the slope rises along the line, so that its sign tells on which side
    of the minimum a trial lies. The bracket [low, high] has a negative slope at low. The next
    trial is the root of the secant of the slope, never closer than a tenth of the bracket to
    its ends; without an upper end it goes tenfold at most. An end that stays twice in a row
    loses half of its slope, so that the secant does not stick to it (the Illinois rule).

    The decrease is required only up to ``rounding``: close to the minimum the slope is far
    more exact than the value, as in the approximate Wolfe conditions.
    """

    value_0: float
    slope_0: float
    step: float
    c1: float
    c2: float
    rounding: float
    has_kinks: bool
    is_accepted: bool = False
    low: float = 0.0
    low_slope: float = field(init=False)
    high: float = math.inf
    high_slope: float = math.inf
    was_short: bool = True

    def __post_init__(self) -> None:
        self.low_slope = self.slope_0

    def judge(self, value: float, slope: float) -> None:
        """Accept the trial at ``step``, or move an end of the bracket to it."""
        if self.is_accepted:
            return
        bound = self.value_0 + self.c1 * self.step * self.slope_0 + self.rounding
        decreases = value <= bound
        least = self.c2 * self.slope_0
        most = math.inf if self.has_kinks else -least
        if decreases and least <= slope <= most:
            self.is_accepted = True
            return
        is_short = decreases and slope < 0
        kept = 0.5 if is_short == self.was_short else 1.0
        if is_short:
            self.low, self.low_slope, self.high_slope = self.step, slope, kept * self.high_slope
        else:
            self.high, self.high_slope, self.low_slope = self.step, slope, kept * self.low_slope
        self.was_short = is_short
        self.step = self._inside() if math.isfinite(self.high) else self._beyond()

    def _inside(self) -> float:
        """Root of the secant between the ends."""
        width = self.high - self.low
        rise = self.high_slope - self.low_slope
        root = self.low - self.low_slope * width / rise if rise > 0 else math.nan
        if not math.isfinite(root):
            root = self.low + 0.5 * width
        return min(max(root, self.low + 0.1 * width), self.high - 0.1 * width)

    def _beyond(self) -> float:
        """Root of the secant through the start and the lower end."""
        rise = self.low_slope - self.slope_0
        root = -self.low * self.slope_0 / rise if rise > 0 else math.inf
        return min(max(root, 1.5 * self.low), 10 * self.low)
