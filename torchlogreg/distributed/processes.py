"""Processes that add up what each of them has, over a process group of torch."""

from __future__ import annotations

import io
import pickle
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore

from torchlogreg.problem.group import Group

PATIENCE = timedelta(seconds=5)
"""How long the others have to report once one of them has failed."""


class Processes(Group):
    """Processes that meet at a store of torch, and talk by a process group of their own.

    With that, nothing of it gets between what the user sends by theirs, and one process that fails
    can end the others: it lets go of its connections.

    Parameters
    ----------
    store : torch.distributed.Store
        Where they meet. Nobody else may have used it, or its prefix.
    rank, size : int
        Number of this process, and of all.
    timeout : timedelta
        The longest that a process waits for the others.
    host : str, optional
        Address under which the others reach this process; by default what gloo takes, which is that
        of the host's name, or of ``GLOO_SOCKET_IFNAME``.
    """

    def __init__(
        self, store: Any, rank: int, size: int, timeout: timedelta, host: str | None = None
    ) -> None:
        self.rank, self.size, self._host = rank, size, host
        self.n_bytes = 0
        """Bytes that this process has put into sums."""
        self._store, self._timeout = store, timeout
        self._backends: dict[str, Any] = {}
        with self._explained():
            self._backend("cpu")

    def total(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Add up tensors of the same shapes over all processes; these may be overwritten.

        Those of a dtype travel together. All processes get the same numbers, bit by bit.
        """
        totals: list[Tensor] = list(tensors)
        for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
            places = [place for place, tensor in enumerate(tensors) if tensor.dtype == dtype]
            flat = torch.cat([tensors[place].reshape(-1) for place in places])
            self._reduce(flat, dist.ReduceOp.SUM)
            parts = flat.split([tensors[place].numel() for place in places])
            for place, part in zip(places, parts, strict=True):
                totals[place] = part.view(tensors[place].shape)
        return tuple(totals)

    def largest(self, tensor: Tensor) -> Tensor:
        """Return the largest entries that a process has; those of this one may be overwritten."""
        self._reduce(tensor, dist.ReduceOp.MAX)
        return tensor

    def agreed(self, tensor: Tensor) -> Tensor:
        """Return the first process' numbers, which may differ from the others' by rounding."""
        tensor = tensor.contiguous()
        with self._explained():
            self._backend(tensor.device.type).broadcast(tensor, 0).wait()
        return tensor

    def gathered(self, value: Any) -> list[Any]:
        """Return what every process gives, in their order."""
        own = torch.frombuffer(bytearray(pickle.dumps(value)), dtype=torch.uint8)
        length = torch.tensor([len(own)], device="cpu")
        longest = int(self.largest(length.clone()))
        padded = torch.zeros(longest, dtype=torch.uint8, device="cpu")
        padded[: len(own)] = own
        lengths, parts = self._all(length), self._all(padded)
        return [
            pickle.load(io.BytesIO(part[: int(length)].numpy().tobytes()))
            for length, part in zip(lengths, parts, strict=True)
        ]

    @contextmanager
    def together(self) -> Iterator[None]:
        """Raise an error of one process in all of them; within, nothing may be asked of others."""
        failure: Exception | None = None
        try:
            yield
        except Exception as error:
            failure = error
        told = None if failure is None else (_kind(failure), str(failure))
        every = self.gathered(told)
        if failure is not None:
            raise failure
        for rank, other in enumerate(every):
            if other is not None:
                kind, message = other
                raise kind(f"Process {rank} of {self.size}: {message}")

    def close(self, failure: BaseException | None = None) -> None:
        """Leave. If something has failed, the others learn of it."""
        if failure is not None:
            with suppress(Exception):
                self._report(f"{type(failure).__name__}: {failure}")
        self._backends.clear()  # which closes the connections

    def _reduce(self, tensor: Tensor, operation: Any) -> None:
        options = dist.AllreduceOptions()
        options.reduceOp = operation
        self.n_bytes += tensor.numel() * tensor.element_size()
        with self._explained():
            self._backend(tensor.device.type).allreduce([tensor], options).wait()

    def _all(self, tensor: Tensor) -> list[Tensor]:
        """Return the tensors of all processes, of the same shape on the CPU."""
        parts = [torch.empty_like(tensor) for _ in range(self.size)]
        with self._explained():
            self._backend("cpu").allgather([parts], [tensor]).wait()
        return parts

    def _backend(self, device: str) -> Any:
        """Return the process group for tensors on a kind of device."""
        if device not in self._backends:
            store = PrefixStore(device, self._store)
            if device == "cuda":
                options = dist.ProcessGroupNCCL.Options()
                options._timeout = self._timeout
                backend: Any = dist.ProcessGroupNCCL(store, self.rank, self.size, options)
            else:
                backend = self._gloo(store)
            self._backends[device] = backend
        return self._backends[device]

    def _gloo(self, store: Any) -> Any:
        """Return a process group for CPUs."""
        kind: Any = dist.ProcessGroupGloo
        if self._host is None:
            return kind(store, self.rank, self.size, self._timeout)
        options = kind._Options()
        options._devices = [kind.create_device(hostname=self._host)]
        options._timeout = self._timeout
        return kind(store, self.rank, self.size, options)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Say which process has failed, if a connection breaks or time runs out."""
        try:
            yield
        except RuntimeError as error:
            self._backends.clear()  # at once: others may be waiting for this one
            reports = self._reports()
            raise RuntimeError(
                f"Process {self.rank} of {self.size} waits for others in vain. "
                f"{' '.join(reports)} ({str(error).splitlines()[0]})"
            ) from error

    def _report(self, message: str) -> None:
        """Leave word for the others, once."""
        key = f"left/{self.rank}"
        if not self._store.check([key]):
            self._store.set(key, message)

    def _reports(self) -> list[str]:
        """Return what the others say of themselves; who does not is gone."""
        try:
            self._report("")
            missing = [rank for rank in range(self.size) if rank != self.rank]
            end = time.monotonic() + PATIENCE.total_seconds()
            while missing and time.monotonic() < end:
                missing = [rank for rank in missing if not self._store.check([f"left/{rank}"])]
                time.sleep(0.05)
            said = {
                rank: self._store.get(f"left/{rank}").decode()
                for rank in range(self.size)
                if rank not in missing
            }
        except Exception:
            return ["Nor can the process be reached that holds the store where they meet."]
        failed = [f"Process {rank} has failed: {word}." for rank, word in said.items() if word]
        return failed + [f"Process {rank} has disappeared, or hangs." for rank in missing]


def _kind(error: Exception) -> type[Exception]:
    """Return a type that others can raise with a message."""
    for kind in (TypeError, MemoryError, OSError, ValueError):
        if isinstance(error, kind):
            return kind
    return RuntimeError
