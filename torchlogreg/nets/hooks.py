"""A skorch callback that tells others of the epochs of a net."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from skorch.callbacks import Callback


class EpochHooks(Callback):
    """Call a function before every epoch, and another one after it, which may end the fit.

    Parameters
    ----------
    begin : callable
        Is given the coefficients (R, D).
    end : callable
        The same; returns whether the fit shall end.
    last : callable
        The same, after the last epoch.
    """

    def __init__(
        self,
        begin: Callable[[torch.Tensor], object],
        end: Callable[[torch.Tensor], bool],
        last: Callable[[torch.Tensor], object],
    ) -> None:
        self.begin = begin
        self.end = end
        self.last = last

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Tell that an epoch begins."""
        self.begin(net.coef[0].clone())

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Tell that an epoch has ended."""
        if self.end(net.coef[0].clone()):
            raise KeyboardInterrupt  # skorch's way to end a fit

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Tell so, and let go of the functions, which hold what a fit has: the net is kept."""
        last, self.begin, self.end, self.last = self.last, _ignore, _ignore, _ignore
        last(net.coef[0].clone())


def _ignore(*coef: torch.Tensor) -> Any:
    """Do nothing."""
    return False
