"""Where convergence is decided: when a problem is solved, and when going on is useless."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Standing:
    """How a single problem stands after some iterations."""

    n_iter: int = 0
    """Iterations made."""

    value: float = math.inf
    """Objective now."""

    optimality: float = math.inf
    """Gradient norm now: the largest absolute value."""

    gap: float = math.nan
    """Estimate of f - f*; nan before the gradient is small."""

    is_solved: bool = False
    """Whether that is good enough."""

    is_checked: bool = False
    """Whether it was evaluated as exactly as can be, at the coefficients that are returned."""

    lowest: float = math.inf
    """Lowest objective so far, up to what counts as an improvement."""

    smallest: float = math.inf
    """Smallest gradient norm so far."""

    n_left: int = 1
    """Iterations left without progress."""

    checked_norm: float = math.inf
    """Smallest gradient norm at a check; infinite before the first."""

    @property
    def is_done(self) -> bool:
        """Whether the problem is solved or stalled."""
        return self.is_solved or self.n_left <= 0

    @property
    def is_final(self) -> bool:
        """Whether it is done, and was checked."""
        return self.is_done and self.is_checked

    def status(self, tol: float) -> str:
        """One of "converged", "stalled" and "unfinished"."""
        if self.optimality <= tol:
            return "converged"
        return "stalled" if self.is_done else "unfinished"

    def afresh(self) -> Standing:
        """Return the standing at the beginning of another stage."""
        return Standing(n_iter=self.n_iter)


@dataclass(frozen=True)
class Stopping:
    r"""The rule by which problems are judged.

    A problem is solved when the largest absolute entry of its gradient is at most ``margin`` times
    ``tol``, and the estimate of :math:`f - f^*` at most ``excess`` times ``tol`` times the larger
    of f and 0.01: two solvers that meet the same ``tol`` then agree in f to six digits. It is
    stalled when it has made no progress for ``patience`` iterations: neither a lower objective nor
    a smaller gradient norm than ever.
    """

    tol: float
    """Largest gradient norm with which a problem has converged."""

    margin: float = 0.5
    """The part of ``tol`` that the gradient norm goes below before the problem is solved."""

    excess: float = 0.01
    """The same for the estimate of f - f*, in units of f, or of 0.01 if that is more."""

    patience: int = 100
    """Iterations without progress after which a problem counts as stalled."""

    stage_patience: int = 5
    """The same where waiting is not worth it: on a stand-in, or below ``tol``."""

    stage_gain: float = 0.9
    """Part of the gradient norm that an iteration on a stand-in may leave without being idle."""

    stage_decrease: float = 1e-5
    """The same for the part of the objective by which it must decrease."""

    @property
    def goal(self) -> float:
        """Gradient norm at which problems are solved."""
        return self.margin * self.tol

    def judge(
        self,
        standing: Standing,
        value: float,
        norm: float,
        gap: float,
        *,
        resolution: float,
        is_stand_in: bool = False,
        n_made: int = 1,
    ) -> Standing:
        """Return the standing of a problem with new numbers.

        Parameters
        ----------
        standing : Standing
            Before.
        value, norm, gap : float
            Objective, gradient norm and estimate of f - f* now.
        resolution : float
            Relative spacing of the numbers that they were computed with.
        is_stand_in : bool, default=False
            Whether they are those of a cheaper stand-in, which need not be solved.
        n_made : int, default=1
            Iterations since the last verdict.
        """
        decrease, gain = (
            (self.stage_decrease, self.stage_gain) if is_stand_in else (2 * resolution, 0.9)
        )
        is_lower = value + decrease * abs(value) < standing.lowest
        n_left = standing.n_left
        if is_lower or norm < gain * standing.smallest:
            n_left = self.stage_patience if is_stand_in else self.patience
        if norm <= self.tol:
            n_left = min(n_left, self.stage_patience)
        # Without an estimate, as where somebody has given the start, a small gradient is no proof.
        is_low = norm == 0 or gap <= self.excess * self.tol * max(abs(value), 0.01)
        is_solved = norm <= self.goal and is_low
        return Standing(
            standing.n_iter + n_made,
            value,
            norm,
            gap,
            is_solved,
            lowest=value if is_lower else standing.lowest,
            smallest=min(norm, standing.smallest),
            n_left=n_left - (not is_solved),
            checked_norm=standing.checked_norm,
        )

    def check(
        self, standing: Standing, value: float, norm: float, gap: float, *, resolution: float
    ) -> Standing:
        """Return the standing of a problem that seemed to be done, evaluated as exactly as can be.

        If it is not good enough, and going on has halved the gradient norm since the last such
        check, it goes on. Otherwise nothing will help.
        """
        judged = self.judge(standing, value, norm, gap, resolution=resolution, n_made=0)
        is_helped = norm < 0.5 * standing.checked_norm
        return replace(
            judged,
            is_checked=True,
            checked_norm=min(norm, standing.checked_norm),
            n_left=judged.n_left if is_helped else 0,
        )
