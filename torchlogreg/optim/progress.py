"""What decides that an iteration goes on: the progress of a single problem."""

from __future__ import annotations

import math
from typing import NamedTuple


class Progress(NamedTuple):
    """What is known of a problem after some steps; a plain tuple in torch's pickled state."""

    value: float = math.inf
    """Lowest objective so far."""

    norm: float = math.inf
    """Smallest gradient norm so far."""

    is_solved: bool = False
    """Whether the last step was good enough."""

    n_left: int = 0
    """Steps left without progress."""

    @property
    def is_done(self) -> bool:
        """Whether the problem is solved or stalled."""
        return self.is_solved or self.n_left <= 0

    def after(
        self,
        value: float,
        norm: float,
        *,
        is_solved: bool,
        patience: int,
        limit: float,
        resolution: float,
        gain: float,
    ) -> Progress:
        """Return the progress after one more step.

        An improvement is a lower value than ever, or a smaller gradient norm.

        Parameters
        ----------
        value, norm : float
            Objective and gradient norm after the step.
        is_solved : bool
            Whether they are good enough.
        patience : int
            Steps without progress that are granted by an improvement.
        limit : float
            Most steps that may be left.
        resolution : float
            By how much, relatively, a value must be lower.
        gain : float
            Part of the smallest norm that another one must be below.
        """
        is_lower = value + resolution * abs(value) < self.value
        n_left = patience if is_lower or norm < gain * self.norm else self.n_left
        return Progress(
            value if is_lower else self.value,
            min(norm, self.norm),
            is_solved,
            int(min(n_left, limit)) - (not is_solved),
        )
