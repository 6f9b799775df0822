"""One task for each Dask worker that has rows, and what becomes of it."""

from __future__ import annotations

import copy
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import distributed
import numpy as np
import torch
from distributed.comm.addressing import get_address_host
from scipy import sparse
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from torchlogreg.distributed import fit_share, met
from torchlogreg.distributed.processes import PATIENCE
from torchlogreg.distributed.returned import first_of, shortfall_of
from torchlogreg.distributed.row_order import in_row_order

LOOK = 0.5
"""Seconds between two looks at whether all workers are there."""

Part = tuple[Any, ...]
"""Number of a partition; its rows of X and of y, and their weights if there are some."""


def fit_on_workers(
    client: Any, estimator: Any, shares: dict[str, list[Part]], timeout: float
) -> tuple[Any, str | None]:
    """Let every worker fit to its share.

    Returns the fitted estimator of the first, and why it has not reached ``tol``, if so.

    Raises
    ------
    RuntimeError
        If a worker leaves, or does not begin within ``timeout`` seconds.
    """
    addresses, name = list(shares), f"torchlogreg-{uuid.uuid4().hex}"
    with _nobody_else(client, addresses, timeout):
        begun, meeting = distributed.Queue(name, client), distributed.Variable(name, client)
        places = [(rank, len(shares), name, timeout) for rank in range(len(shares))]
        pinned = {"allow_other_workers": False, "pure": False, "retries": 0}
        tasks = []
        try:
            for place, (address, share) in zip(places, shares.items(), strict=True):
                given = estimator, share, place
                tasks.append(client.submit(_fit_to_share, *given, workers=[address], **pinned))
            meeting.set(_meeting_point(client, tasks, addresses, begun, timeout))
            while pending := [task for task in tasks if task.status == "pending"]:
                _check(client, tasks, addresses)
                with suppress(TimeoutError, CancelledError):
                    distributed.wait(pending, LOOK, "FIRST_COMPLETED")
            _check(client, tasks, addresses)
            result: tuple[Any, str | None] = tasks[0].result()
        except BaseException:
            meeting.set(None)  # which ends the tasks that wait for it
            raise
        finally:
            client.cancel(tasks)
            begun.close()
        meeting.delete()
    return result


@contextmanager
def _nobody_else(client: Any, addresses: list[str], timeout: float) -> Iterator[None]:
    """Keep others from fitting on these workers: two fits with half of them each wait for ever."""
    lock = distributed.MultiLock(addresses, client)
    if not lock.acquire(timeout=timeout):
        raise RuntimeError(
            f"Another fit has had the workers {addresses} for {timeout=} s. Give more time; if its "
            "client is gone without a word, client.restart() frees them."
        )
    try:
        yield
    finally:
        lock.release()


def _meeting_point(
    client: Any, tasks: list[Any], addresses: list[str], begun: Any, timeout: float
) -> Any:
    """Return host and port of the store of the first task, once all have begun."""
    points: dict[int, Any] = {}
    end = time.monotonic() + timeout
    while len(points) < len(tasks):
        _check(client, tasks, addresses)
        if time.monotonic() > end:
            idle = [address for rank, address in enumerate(addresses) if rank not in points]
            raise RuntimeError(
                f"The workers {idle} have not begun to fit within {timeout=} s: they may be busy "
                "with other tasks. Wait for these, or give more time."
            )
        with suppress(TimeoutError):
            rank, point = begun.get(timeout=LOOK)
            points[rank] = point
    return points[0]


def _check(client: Any, tasks: list[Any], addresses: list[str]) -> None:
    """Raise if a worker has left, for whose return its task would wait, or if a task has failed."""
    _check_workers(client, addresses)
    if all(task.status in ("pending", "finished") for task in tasks):
        return
    with suppress(TimeoutError, CancelledError):  # the others are being told
        distributed.wait(tasks, 2 * PATIENCE.total_seconds())
    _check_workers(client, addresses)
    errors = [task.exception() for task in tasks if task.status == "error"]
    if not errors:
        raise RuntimeError("The tasks of the fit were cancelled, or rows that they need are lost.")
    raise first_of(errors)


def _check_workers(client: Any, addresses: list[str]) -> None:
    there = client.nthreads(addresses)
    gone = [address for address in addresses if address not in there]
    if gone:
        raise RuntimeError(
            f"The workers {gone} have left the cluster in the middle of the fit: killed, perhaps "
            "for want of memory, or closed. Fit again: Dask computes their partitions elsewhere."
        )


def _fit_to_share(
    estimator: Any, share: list[Part], place: tuple[int, int, str, float]
) -> tuple[Any, str | None]:
    """Fit, on a worker, to its rows and those of the others."""
    rank, size, name, timeout = place
    longest, worker = timedelta(seconds=timeout), distributed.get_worker()
    store, point, own_host = None, None, get_address_host(worker.address)
    if rank == 0:
        store = TCPStore(own_host, 0, is_master=True, wait_for_workers=False, timeout=longest)
        point = own_host, store.port
    distributed.Queue(name).put((rank, point))
    # A little longer than the client, which says who has not come.
    point = distributed.Variable(name).get(timeout=timeout + 2 * PATIENCE.total_seconds())
    if point is None:
        raise RuntimeError(f"Process {rank} of {size} waits in vain: others have not begun.")
    if store is None:
        host, port = point
        store = TCPStore(host, port, is_master=False, timeout=longest)
    meeting = met(store, rank, size, longest, own_host)
    with _torch_threads(worker.state.nthreads), meeting as processes:
        with processes.together():
            X, y, sample_weight = (_joined(parts) for parts in _columns(share))
        lengths = {number: len(y) for number, _, y, *_ in share}
        model = in_row_order(copy.deepcopy(estimator), lengths, processes)
        fitted = fit_share(model, X, y, sample_weight, processes)
        return fitted, shortfall_of(fitted)


def _columns(share: list[Part]) -> Sequence[Sequence[Any]]:
    """Return the parts of X, of y, and of the weights, which fit to each other."""
    for number, X, *others in share:
        for name, part in zip(("y", "sample_weight"), others, strict=False):
            if part.shape[0] != X.shape[0]:
                raise ValueError(
                    f"Partition {number} has {X.shape[0]} rows of X and {part.shape[0]} of {name}: "
                    "all must be in the same partitions."
                )
    _, *columns = zip(*share, strict=True)
    return columns if len(columns) == 3 else [*columns, [None]]


def _joined(parts: Sequence[Any]) -> Any:
    """Put parts of a collection one below the other."""
    if len(parts) == 1:
        return parts[0]
    if sparse.issparse(parts[0]):
        return sparse.vstack(parts, format="csr")
    if hasattr(parts[0], "iloc"):
        import pandas as pd  # which is there if its frames are

        return pd.concat(parts)
    return np.concatenate(parts)


@contextmanager
def _torch_threads(number: int) -> Iterator[None]:
    """Let torch use so many threads; Dask's workers limit it to one."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
