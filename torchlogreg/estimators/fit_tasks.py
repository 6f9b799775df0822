"""A fit as scikit-learn's callbacks know it: a task, which has others for every iteration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from torchlogreg.estimators.scikit_learn import HAS_CALLBACKS


class FitTask:
    """The tasks of a fit.

    Parameters
    ----------
    estimator : estimator
        Has the callbacks.
    data : dict
        ``X``, ``y`` and ``metadata``, as hooks are given them.
    max_subtasks : int, default=0
        Most tasks that it has: iterations, and the check of the result.
    attributes_of : callable, optional
        Makes the attributes of a fitted estimator from coefficients (R, D).
    """

    def __init__(
        self,
        estimator: Any,
        data: dict[str, Any],
        max_subtasks: int = 0,
        attributes_of: Callable[[Tensor], dict[str, Any]] = lambda coef: {},
    ) -> None:
        self._estimator = estimator
        self._data = data
        self._attributes_of = attributes_of
        self._iteration: Any = None
        self._check: Any = None
        self._root = estimator._init_callback_context(max_subtasks=max_subtasks)
        self._root.call_on_fit_task_begin(estimator=estimator, **data)

    def begin(self, coef: Tensor) -> None:
        """Tell that an iteration begins, at coefficients (R, D)."""
        self._iteration = self._root.subcontext(task_name="iteration")
        self._iteration.call_on_fit_task_begin(**self._told(coef))

    def end(self, coef: Tensor) -> bool:
        """Tell that it has ended; return whether a callback wants the fit to end, too."""
        iteration, self._iteration = self._iteration, None
        return bool(iteration.call_on_fit_task_end(**self._told(coef)))

    def check(self, coef: Tensor) -> None:
        """Tell that there is no other iteration: the result is being checked."""
        if self._iteration is not None:  # another callback has ended the fit
            self.end(coef)
        self._check = self._root.subcontext(task_name="check")
        self._check.call_on_fit_task_begin(**self._told(coef))

    def close(self) -> None:
        """Tell that the fit has ended: the estimator has its attributes."""
        if self._check is not None:
            self._check.call_on_fit_task_end(
                estimator=self._estimator, reconstruction_attributes={}, **self._data
            )
        self._root.call_on_fit_task_end(
            estimator=self._estimator, reconstruction_attributes={}, **self._data
        )

    def _told(self, coef: Tensor) -> dict[str, Any]:
        """Return what hooks are told; an estimator is made only for one that asks for it."""
        return {
            "estimator": self._estimator,
            "reconstruction_attributes": lambda: self._attributes_of(coef),
            **self._data,
        }


LISTENERS = ("_skl_callbacks", "_parent_callback_ctx")
"""Where scikit-learn keeps the callbacks of an estimator, and of meta-estimators around it."""


def has_listeners(estimator: Any) -> bool:
    """Whether a callback of scikit-learn, or a meta-estimator that has some, listens to a fit."""
    return HAS_CALLBACKS and any(name in estimator.__dict__ for name in LISTENERS)


def pass_on_listeners(source: Any, target: Any) -> None:
    """Let those who listen to one estimator listen to another one, which does its work."""
    target.__dict__.update({n: source.__dict__[n] for n in LISTENERS if n in source.__dict__})


def told(X: Any, y: Any, sample_weight: Any = None) -> dict[str, Any]:
    """Return the data of a fit as listeners are told of it."""
    metadata = None if sample_weight is None else {"sample_weight": sample_weight}
    return {"X": X, "y": y, "metadata": metadata}
