"""Whoever wants to know how a minimisation goes on, and may end it."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Watcher(Protocol):
    """Is told of the iterations on a batch of B problems, by the user's coefficients (B, R, D)."""

    def begin(self, coef: Tensor) -> None:
        """Note that an iteration begins."""

    def end(self, coef: Tensor) -> bool:
        """Note that it has ended, and return whether it shall be the last one."""

    def check(self, coef: Tensor) -> None:
        """Note that there is no other one, and that the result is being checked."""

    def close(self, coef: Tensor) -> None:
        """Note the result."""
