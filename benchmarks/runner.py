"""The run: our time next to that of every peer at its best.

1. Every peer fits once, in every setting, and is judged. Who takes much longer than the fastest one
   whose objective is as good as ours is stopped: it cannot win, nor can it at a tighter tolerance.
2. We and the fastest of those that are as good take turns, so that a drift of the machine meets
   all of them.
"""

import contextlib
import math
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch
from scipy import sparse
from threadpoolctl import threadpool_info

from benchmarks.competitors import PEERS, ours
from benchmarks.competitors.not_applicable import NotApplicableError
from benchmarks.competitors.peer import Peer, time_limit
from benchmarks.judge import accuracy, objective
from torchlogreg.datasets import Split


@dataclass(frozen=True)
class Contest:
    """Who takes part, and what counts."""

    ours: Peer
    """Ours, with all defaults, in float32 or float64 as the data is."""

    peers: list[Peer]
    """The others in all their settings, in the order in which they are tried."""

    objective: Callable[..., float]
    """Judges weights and intercepts: the lower the better."""


RIDGE = Contest(Peer("torchlogreg", ours.fit), PEERS, objective)
"""Logistic regression with a ridge penalty."""

AS_GOOD = 1e-4
"""Who comes as close to our objective, relatively, has solved the same problem."""

MIN_ROUNDS, MAX_ROUNDS, SECONDS = 3, 30, 6.0
"""Rounds on a data set: as many as fit into the time, within these limits."""

TURN = 0.2
"""Seconds that a competitor's turn lasts at least: short fits are repeated and averaged, so
that none of them is charged for the caches and the thread pool that the last one left behind."""

PAUSE = 0.15
"""Seconds before a turn: the threads of the last competitor's BLAS spin for a while, on the cores
that the next one computes with."""

PATIENCE, SLOWER, N_CONTENDERS = 120.0, 1.6, 3
"""Seconds of the longest fit; how much slower than the fastest one a peer may be at its first
fit; and how many of them take turns with us."""


def run(dataset, data, C=1.0, contest=RIDGE):
    """Compare with all peers on a data set. Returns one record a setting, ours first.

    ``seconds`` is the median time of a fit over the turns, or that of the first fit if there were
    none; ``excess`` is what the objective has above ours, relative to it.
    """
    n_classes = min(int(np.max(data.y_train)) + 1, 3)
    _warm_up(contest, n_classes, is_sparse=sparse.issparse(data.X_train))
    records = [_first_fit(contest.ours, data, C, PATIENCE, contest)]
    limit, stopped = PATIENCE, set()
    for peer in contest.peers:
        kind = peer.function, peer.n_threads
        try:
            if kind in stopped:
                raise NotApplicableError("was stopped at a looser tolerance")
            record = _first_fit(peer, data, C, limit, contest)
        except NotApplicableError as error:
            stopped.add(kind)
            records.append({"competitor": str(peer), "left_out": str(error)})
            continue
        records.append(record)
        if is_as_good(record, records[0]):
            limit = min(limit, max(SLOWER * record["seconds"], 2 * TURN))
    rivals = [r for r in records[1:] if "seconds" in r and is_as_good(r, records[0])]
    rivals.sort(key=lambda record: record["seconds"])
    lowest = min(record["objective"] for record in records if "objective" in record)
    records[0]["above_lowest"] = records[0]["objective"] / lowest - 1
    _take_turns([records[0], *rivals[:N_CONTENDERS]], data, C, contest)
    for record in records:
        record["dataset"] = dataset
        if "objective" in record:
            record["excess"] = record["objective"] / records[0]["objective"] - 1
    return records


_warm = set()
"""Who has fitted once."""


def _warm_up(contest, n_classes, *, is_sparse):
    """Let every library load or compile what it does at its first fit: that is nobody's time."""
    X = np.random.default_rng(0).normal(size=(200, 5))
    data = Split(sparse.csr_matrix(X) if is_sparse else X, np.arange(200) % n_classes, None, None)
    for peer in [contest.ours, *contest.peers]:
        kind = peer.function, peer.name, is_sparse, n_classes
        if kind not in _warm:
            _warm.add(kind)
            with contextlib.suppress(NotApplicableError), peer.threads():
                timed_fits(peer.fit, data, 1.0)


def is_as_good(record, reference):
    """Whether an objective is not above ours by more than :data:`AS_GOOD`, relatively."""
    return record["objective"] <= (1 + AS_GOOD) * reference["objective"]


def fastest_as_good(records):
    """Return the record of the fastest peer whose objective is as good as ours, which is first."""
    rivals = [r for r in records[1:] if "seconds" in r and is_as_good(r, records[0])]
    return min(rivals, key=lambda record: record["seconds"], default=None)


def _first_fit(peer, data, C, limit, contest):
    """Fit and judge; again, warm, if it was short."""
    with peer.threads():
        with time_limit(limit):
            (coef, intercept, n_iter), elapsed = timed_fits(peer.fit, data, C)
        if elapsed < TURN:
            _, elapsed = timed_fits(peer.fit, data, C, 3)
    return {
        "competitor": str(peer),
        "seconds": elapsed,
        "objective": contest.objective(coef, intercept, data.X_train, data.y_train, C),
        "n_nonzero": int(np.count_nonzero(coef)),
        "iterations": n_iter,
        "test_accuracy": float(accuracy(coef, intercept, data.X_test, data.y_test)),
    }


def _take_turns(records, data, C, contest):
    """Replace the times of some records by medians over many turns."""
    peers = {str(peer): peer for peer in [contest.ours, *contest.peers]}
    times = [[] for _ in records]
    n_fits = [math.ceil(TURN / record["seconds"]) for record in records]
    start = time.perf_counter()
    while _wants_more(len(times[0]), time.perf_counter() - start):
        for place, record in enumerate(records):
            peer = peers[record["competitor"]]
            time.sleep(PAUSE)
            with peer.threads():
                times[place].append(timed_fits(peer.fit, data, C, n_fits[place])[1])
    for record, some in zip(records, times, strict=True):
        record["seconds"] = statistics.median(some)
        record["all_seconds"] = [float(f"{seconds:.3g}") for seconds in some]


def timed_fits(fit, data, C, n_fits=1, **params):
    """Fit so many times; return the last solution and the mean time in seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # who stops short is seen in the objective
        start = time.perf_counter()
        for _ in range(n_fits):
            solution = fit(data.X_train, data.y_train, C, **params)
        return solution, (time.perf_counter() - start) / n_fits


def environment():
    """Versions, hardware, and the BLAS of every library, for the record."""
    packages = ("torchlogreg", "torch", "scikit-learn", "scikit-learn-intelex", "skorch", "numpy")
    on_clusters = ("dask", "distributed", "dask-ml", "pyspark", "pyarrow")
    keys = ("user_api", "internal_api", "version", "architecture", "num_threads", "threading_layer")
    pools = [{key: pool[key] for key in keys if key in pool} for pool in threadpool_info()]
    pools.sort(key=str)  # they are listed in the order in which they were loaded
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in (*packages, "scipy")}
        | {name: number for name in on_clusters if (number := _version(name))},
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "pools": pools,
        "torch_kernels": torch.backends.cpu.get_cpu_capability(),
        "torch_has_mkl": torch.backends.mkl.is_available(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _version(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _wants_more(rounds, elapsed):
    return rounds < MIN_ROUNDS or (rounds < MAX_ROUNDS and elapsed < SECONDS)


def _processor():
    """Name of the processor; Python's own answer is often empty on Linux."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
