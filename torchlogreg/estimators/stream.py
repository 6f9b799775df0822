"""Fitting a stream of arrays, some rows at a time."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any, Self

import numpy as np
import torch
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from torchlogreg.data.containers import as_numpy
from torchlogreg.data.sharing import Share
from torchlogreg.data.sources import BlockSource
from torchlogreg.data.validation import check_training_data
from torchlogreg.estimators.base import (
    Decorator,
    LogisticEstimator,
    checks_parameters,
    unchanged_on_error,
)
from torchlogreg.estimators.solvers import takes_batches
from torchlogreg.estimators.training_net import make_net, net_to_go_on
from torchlogreg.estimators.training_rows import all_rows, work
from torchlogreg.nets.callbacks import check_callbacks
from torchlogreg.problem.products import full_precision
from torchlogreg.problem.threads import threads_for


def _takes_batches(estimator: StreamEstimator) -> bool:
    """Whether there is a partial_fit; the error that hasattr takes for a no."""
    if not takes_batches(estimator.solver):
        raise AttributeError(
            f"partial_fit is there for the mini-batch solvers only, not for "
            f"solver={estimator.solver!r}. Use 'sgd', 'adam', 'adamw' or a class of torch.optim."
        )
    return True


_for_batches: Decorator = available_if(_takes_batches)


class StreamEstimator(LogisticEstimator):
    """An estimator with ``partial_fit``, for the mini-batch solvers."""

    early_stopping: bool
    callbacks: list[Any] | tuple[Any, ...] | None
    random_state: int | np.random.RandomState | None

    def __copy__(self) -> Self:
        """Return an estimator that shares nothing that ``partial_fit`` changes."""
        twin = self.__class__.__new__(self.__class__)
        twin.__dict__.update(self.__dict__)
        twin.random_state = copy.deepcopy(self.random_state)
        if "net_" in twin.__dict__ and takes_batches(self.solver):
            twin.net_ = self.net_.twin()
        return twin

    @_for_batches
    @checks_parameters
    @torch.inference_mode(False)
    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Make one pass over some more rows, from where the last call stopped.

        Only with mini-batch solvers. The penalty is that of all rows given so far: ``C`` weighs
        the sum of their losses, and a row that is given twice counts twice. Hold ``C`` against
        the whole stream, not against a part of it.

        Later calls heed new values of ``C``, ``l1_ratio``, ``lr`` and ``batch_size``; what else
        the net was given (``callbacks``, ``net_params``, ``random_state``) stays as in the first.
        ``max_iter`` and ``tol`` are for :meth:`fit` only.

        Parameters
        ----------
        X : {array-like, sparse matrix, Tensor} of shape (n, d)
            Features of these rows.
        y : array-like or Tensor of shape (n,)
            Their labels.
        classes : array-like of shape (K,), default=None
            All labels that will ever come; needed in the first call.
        sample_weight : array-like or Tensor of shape (n,), default=None
            Weights of the rows, non-negative; None for 1.

        Returns
        -------
        self : TorchLogisticRegression
            The estimator.

        Raises
        ------
        ValueError
            As for :meth:`fit`, and if a label is not among the classes. The estimator is then
            left as it was.
        """
        with unchanged_on_error(self, self.__dict__.get("net_")):
            return self._partial_fit(X, y, classes, sample_weight)

    def _partial_fit(self, X: Any, y: Any, classes: Any, sample_weight: Any) -> Self:
        """Validate, train for an epoch, and write the results."""
        self._check_partial(X)
        classes = as_numpy(classes)
        is_first = _check_partial_fit_first_call(self, classes)
        data = check_training_data(
            self,
            X,
            y,
            sample_weight,
            self.class_weight,
            self.device,
            classes=self.classes_,
            reset=is_first,
        )
        solver = self._resolve(len(self.classes_), *data.X.shape)
        if not is_first:
            assert isinstance(data.X, Tensor)
            data = replace(data, X=data.X.to(self._coef(data.X.device).dtype))
        with threads_for(work(self, data, solver), data.X.device):
            rows = all_rows(self, data)
        weight_before = 0.0 if is_first else getattr(self, "weight_seen_", 0.0)
        (weight,) = (rows.weight_unit * rows.weight_sum).tolist()
        weight_seen = weight_before + weight
        if not np.isfinite(weight_seen):
            raise ValueError(
                f"The sum of the weights seen so far, sample_weight included, is {weight_seen}. "
                "Divide all weights by a constant, and multiply C by it."
            )
        with threads_for(work(self, data, solver), rows.device), full_precision(rows.device):
            net = None if is_first else net_to_go_on(self, solver)
            if net is None:
                net = make_net(self, solver, rows, len(self.classes_))
            net.criterion_.penalty = rows.penalty(self.C, self.l1_ratio, weight_before)
            if not is_first:
                net.start_at(self._starting_coef(self.classes_, rows))
            net.partial_fit(rows, epochs=1)
        self._write(net, solver, data.container)
        self.weight_seen_ = weight_seen
        return self

    def _check_partial(self, X: Any) -> None:
        """Refuse what needs all rows at once."""
        if isinstance(X, (Dataset, DataLoader, BlockSource, Share)):
            raise ValueError(
                f"X={X!r}: partial_fit takes arrays and tensors. Loop over the batches of a "
                "loader, or use fit."
            )
        if self.early_stopping:
            raise ValueError(
                "early_stopping=True: that is for fit, not for partial_fit, which sees a part."
            )
        if isinstance(self.class_weight, str):
            raise ValueError(
                f"class_weight={self.class_weight!r} needs all rows at once. Give partial_fit "
                "the weights as a dict, such as those of compute_class_weight for a sample."
            )
        check_callbacks(self.callbacks, resumes=False)
