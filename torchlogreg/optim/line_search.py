"""Line search for convex functions with a cheap slope."""

from __future__ import annotations

import torch
from torch import Tensor

from torchlogreg.optim.protocol import Line, Trial


def wolfe_search(
    line: Line, step: Tensor, *, c1: float = 1e-4, c2: float = 0.9, max_trials: int = 40
) -> Trial:
    """Find step lengths that satisfy the strong Wolfe conditions, for B lines in lockstep.

    On a convex function the slope rises along the line, so that its sign tells on which side
    of the minimum a trial lies. The search keeps a bracket [low, high] with a negative slope
    at low, moves by the Illinois variant of the secant rule on the slope, never closer than a
    tenth of the bracket to its ends, and grows tenfold at most while there is no upper end.

    Parameters
    ----------
    line : Line
        The lines, with slopes that are negative, or zero where nothing should move.
    step : Tensor of shape (B,)
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
    The decrease is required only up to rounding of the objective, as in the approximate Wolfe
    conditions: close to the minimum the slope is far more exact than the value.

    References
    ----------
    .. [1] Nocedal & Wright, Numerical Optimization, 2nd ed., eq. (3.7) and Algorithm 3.5.
    .. [2] Hager & Zhang, A new conjugate gradient method with guaranteed descent and an
       efficient line search, SIAM J. Optim. 16 (2005), Section 4.
    .. [3] Dowell & Jarratt, A modified regula falsi method for computing the root of an
       equation, BIT 11 (1971).
    """
    value_0, slope_0 = line.origin.value, line.slope
    rounding = 4 * torch.finfo(step.dtype).eps * value_0.abs()
    low, low_slope = torch.zeros_like(step), slope_0
    high, high_slope = torch.full_like(step, torch.inf), torch.full_like(step, torch.inf)
    was_short = torch.ones_like(step, dtype=torch.bool)
    for _ in range(max_trials):
        trial = line.at(step)
        decreases = trial.value <= value_0 + c1 * step * slope_0 + rounding
        accepted = decreases & (trial.slope.abs() <= -c2 * slope_0)
        if accepted.all():
            return trial
        is_short = decreases & (trial.slope < 0)
        # An end that is kept twice in a row loses half of its slope, lest the secant stick to it.
        kept = torch.where(is_short == was_short, 0.5, 1.0).to(step.dtype)
        low, low_slope = (
            torch.where(is_short, step, low),
            torch.where(is_short, trial.slope, kept * low_slope),
        )
        high, high_slope = (
            torch.where(is_short, high, step),
            torch.where(is_short, kept * high_slope, trial.slope),
        )
        was_short = is_short
        step = torch.where(accepted, step, _next_step(low, low_slope, high, high_slope, slope_0))
    return line.at(torch.where(accepted, step, low))


def _next_step(
    low: Tensor, low_slope: Tensor, high: Tensor, high_slope: Tensor, slope_0: Tensor
) -> Tensor:
    """Secant step inside the bracket, or beyond ``low`` while there is no upper end."""
    width = high - low
    inside = low - low_slope * width / (high_slope - low_slope)
    inside = torch.where(inside.isfinite(), inside, low + 0.5 * width)
    inside = torch.minimum(torch.maximum(inside, low + 0.1 * width), high - 0.1 * width)
    beyond = low * slope_0 / (slope_0 - low_slope)
    beyond = torch.minimum(torch.maximum(beyond, 1.5 * low), 10 * low)
    beyond = torch.where(beyond.isfinite(), beyond, 10 * low)
    return torch.where(high.isinf(), beyond, inside)
