"""A fit as scikit-learn's callbacks know it: a task, which has others for every iteration."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from torchlogreg.estimators.scikit_learn import HAS_CALLBACKS, with_callbacks
from torchlogreg.problem.group import ALONE, Group

LISTENERS = ("_skl_callbacks", "_parent_callback_ctx")
"""Where scikit-learn keeps the callbacks of an estimator, and of meta-estimators around it."""

Attributes = Callable[[Tensor], dict[str, Any]]
"""Makes the attributes of a fitted estimator from coefficients."""


class FitTask:
    """A task that has iterations, and the check of their result; or tasks that have these.

    Of several processes with the same fit, all have the tasks, and those with callbacks tell them.

    Parameters
    ----------
    context : CallbackContext or None
        scikit-learn's; None for nobody to tell.
    estimator : estimator
        Has the callbacks.
    heard : dict
        ``X``, ``y`` and ``metadata``, as hooks are given them.
    attributes_of : callable
        Makes the attributes of a fitted estimator from coefficients: (R, D), or for a batch of
        problems (B, R, D).
    group : Group
        The processes.
    """

    def __init__(
        self,
        context: Any,
        estimator: Any,
        heard: dict[str, Any],
        attributes_of: Attributes,
        group: Group,
    ) -> None:
        self._context = context
        self._estimator = estimator
        self._heard = heard
        self._attributes_of = attributes_of
        self._group = group
        self._part: Any = None
        if context is not None:
            context.call_on_fit_task_begin(estimator=estimator, **heard)

    @classmethod
    def of(
        cls,
        estimator: Any,
        heard: dict[str, Any],
        max_subtasks: int,
        attributes_of: Attributes,
        group: Group = ALONE,
    ) -> FitTask | None:
        """Begin the fit of an estimator, with so many tasks at most; None if nobody listens."""
        is_heard = has_listeners(estimator)
        if not group.any(is_heard):
            return None
        context = estimator._init_callback_context(max_subtasks=max_subtasks) if is_heard else None
        return cls(context, estimator, heard, attributes_of, group)

    def batch(self, max_subtasks: int) -> FitTask:
        """Begin the task of a batch of problems; the fitted estimator is that of the last."""
        context = self._context
        if context is not None:
            context = context.subcontext(task_name="solve", max_subtasks=max_subtasks)

        def of_last(coef: Tensor) -> dict[str, Any]:
            return self._attributes_of(coef[-1])

        return FitTask(context, self._estimator, self._heard, of_last, self._group)

    def begin(self, coef: Tensor) -> None:
        """Tell that an iteration begins, at these coefficients."""
        self._begin("iteration", coef)

    def end(self, coef: Tensor) -> bool:
        """Tell that it has ended; return whether a callback wants them to end."""
        return self._group.any(self._end(coef))

    def check(self, coef: Tensor) -> None:
        """Tell that there is no other iteration: the result is being checked."""
        self._end(coef)  # if another callback has ended the fit
        self._begin("check", coef)

    def close(self, coef: Tensor | None = None) -> None:
        """Tell that the task has ended; without coefficients, that the estimator has them."""
        self._end(coef)
        self._tell(self._context, "call_on_fit_task_end", coef)

    def _begin(self, name: str, coef: Tensor) -> None:
        if self._context is not None:
            self._part = self._context.subcontext(task_name=name)
        self._tell(self._part, "call_on_fit_task_begin", coef)

    def _end(self, coef: Tensor | None) -> bool:
        part, self._part = self._part, None
        return self._tell(part, "call_on_fit_task_end", coef)

    def _tell(self, context: Any, method: str, coef: Tensor | None) -> bool:
        """Call the hooks; an estimator is made only for one that asks for it."""

        def attributes() -> dict[str, Any]:
            return {} if coef is None else self._attributes_of(coef.clone())

        if context is None:
            return False
        with torch.inference_mode(mode=False):  # hooks may do as they like
            return bool(
                getattr(context, method)(
                    estimator=self._estimator, reconstruction_attributes=attributes, **self._heard
                )
            )


def has_listeners(estimator: Any) -> bool:
    """Whether a callback of scikit-learn, or a meta-estimator that has some, listens to a fit."""
    return HAS_CALLBACKS and any(name in estimator.__dict__ for name in LISTENERS)


@contextmanager
def heard_by_those_of(source: Any, target: Any) -> Iterator[None]:
    """Let those who listen to one estimator listen to another one, too, which does its work."""
    own = {name: target.__dict__[name] for name in LISTENERS if name in target.__dict__}
    given = {name: source.__dict__[name] for name in LISTENERS if name in source.__dict__}
    target.__dict__.update(given)
    callbacks, _ = LISTENERS
    if callbacks in own and callbacks in given:
        more = [call for call in given[callbacks] if call not in own[callbacks]]
        target.__dict__[callbacks] = own[callbacks] + more
    try:
        yield
    finally:
        for name in LISTENERS:
            target.__dict__.pop(name, None)
        target.__dict__.update(own)


@with_callbacks
def tell_of_fitted(estimator: Any, heard: dict[str, Any]) -> None:
    """Tell those who listen of a fit that is done already."""
    task = FitTask.of(estimator, heard, 0, lambda coef: {})
    if task is not None:
        task.close()


def told(X: Any, y: Any, sample_weight: Any = None) -> dict[str, Any]:
    """Return the data of a fit as listeners are told of it."""
    metadata = None if sample_weight is None else {"sample_weight": sample_weight}
    return {"X": X, "y": y, "metadata": metadata}
