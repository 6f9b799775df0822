"""Fits over the rows of several processes: the same minimiser as if one of them had all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore

from torchlogreg.data.sharing import Share
from torchlogreg.distributed.processes import Processes
from torchlogreg.estimators.cross_validation import TorchLogisticRegressionCV
from torchlogreg.estimators.logistic import TorchLogisticRegression

__all__ = ["fit"]

_Estimator = TypeVar("_Estimator")

TIMEOUT = timedelta(minutes=30)
"""The longest that a process waits for the others, if its group does not say."""


def fit(
    estimator: _Estimator,
    X: Any,
    y: Any = None,
    sample_weight: Any = None,
    *,
    group: Any = None,
) -> _Estimator:
    """Fit an estimator to the rows of all processes of a group.

    Every process calls this with rows of its own, and with the same parameters. Each ends with the
    same fitted estimator: the one that a single process with all of the rows, in the order of the
    processes, would have. Rows do not travel. What does is small: sums of the size of the
    coefficients, or of the Hessians that a solver builds.

    Parameters
    ----------
    estimator : TorchLogisticRegression or TorchLogisticRegressionCV
        The estimator, with an exact solver.
    X : {array-like, sparse matrix, Tensor} of shape (n, d), or None
        Features of the rows of this process. None, or no rows, if it has none.
    y : array-like or Tensor of shape (n,), default=None
        Their labels. A process need not have rows of every class.
    sample_weight : array-like or Tensor of shape (n,), default=None
        Their weights; None for 1.
    group : torch.distributed.ProcessGroup, default=None
        The processes; None for all of an initialised ``torch.distributed``. Sums go through a
        group of their own, by gloo for CPUs and by NCCL for GPUs, with the timeout of this one.

    Returns
    -------
    estimator : TorchLogisticRegression or TorchLogisticRegressionCV
        The same estimator, fitted.

    Raises
    ------
    ValueError
        In all processes, if the data of one is unfit, or if they disagree on features or
        parameters. The estimator is then left as it was.
    RuntimeError
        If ``torch.distributed`` is not initialised. In all processes that are left, if one fails
        or disappears: the error says which.

    Examples
    --------
    Started by ``torchrun --nproc-per-node 2 script.py``, each process reads a file of its own::

        import numpy as np
        import torch.distributed as dist
        from torchlogreg import TorchLogisticRegression, distributed

        dist.init_process_group("gloo")
        data = np.load(f"rows-{dist.get_rank()}.npz")
        model = distributed.fit(TorchLogisticRegression(), data["X"], data["y"])
    """
    with processes_of(group) as processes:
        return fit_share(estimator, X, y, sample_weight, processes)


def fit_share(
    estimator: _Estimator, X: Any, y: Any, sample_weight: Any, processes: Processes
) -> _Estimator:
    """Fit an estimator to the rows of processes that have met."""
    with processes.together():
        if not isinstance(estimator, (TorchLogisticRegression, TorchLogisticRegressionCV)):
            raise TypeError(
                f"estimator={estimator!r} is fitted by one process only. Use "
                "TorchLogisticRegression or TorchLogisticRegressionCV, without a pipeline around "
                "it: transform the rows of each process before."
            )
    model: Any = estimator
    share = X if processes.size == 1 else Share(X, processes)
    fitted: _Estimator = model.fit(share, y, sample_weight=sample_weight)
    return fitted


@contextmanager
def processes_of(group: Any) -> Iterator[Processes]:
    """Let the processes of a group of torch meet; leave at the end."""
    if not (dist.is_available() and dist.is_initialized()):
        raise RuntimeError(
            "torch.distributed is not initialised: call torch.distributed.init_process_group() in "
            "every process before, and start the processes with torchrun."
        )
    group = dist.group.WORLD if group is None else group
    rank = dist.get_rank(group)
    if rank < 0:
        raise ValueError(f"group={group!r} does not have this process: only its members may fit.")
    store = _store_of(group)
    # Every process counts its own fits: all of them have the same number.
    number = store.add(f"torchlogreg/fits/{rank}", 1)
    store = PrefixStore(f"torchlogreg/{number}", store)
    with met(store, rank, dist.get_world_size(group), _timeout_of(group)) as processes:
        yield processes


@contextmanager
def met(
    store: Any, rank: int, size: int, timeout: timedelta = TIMEOUT, host: str | None = None
) -> Iterator[Processes]:
    """Let processes meet at a store that nobody has used; leave at the end."""
    processes, failure = Processes(store, rank, size, timeout, host), None
    try:
        yield processes
    except BaseException as error:
        failure = error
        raise
    finally:
        processes.close(failure)


def _store_of(group: Any) -> Any:
    """Return the store of a group: it has no public name in older versions of torch."""
    if hasattr(group, "get_group_store"):
        return group.get_group_store()
    return dist.distributed_c10d._get_process_group_store(group)


def _timeout_of(group: Any) -> timedelta:
    """Return the timeout of a group; the default one where torch does not tell."""
    try:
        timeout: timedelta = group._get_backend(torch.device("cpu")).options._timeout
    except (AttributeError, RuntimeError):
        return TIMEOUT
    return timeout
