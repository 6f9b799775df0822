"""Peak memory of a fit above what its process held before: ``python -m benchmarks.memory``.

Every fit has a process of its own, in which a small fit has loaded all libraries before. Linux
only: the peak is reset through /proc.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks.competitors import COMPETITORS
from benchmarks.datasets import DATASETS
from benchmarks.runner import timed_fits

PROCESSES = 3
"""Processes that are measured, each with one fit."""


def peak_memory(dataset, competitor, n_processes=PROCESSES):
    """Peak of the resident memory of a fit in a new process, in bytes, and that of X.

    The median of some processes: what the allocator has at hand differs by some megabytes.
    """
    command = [sys.executable, "-m", "benchmarks.memory", dataset, competitor]
    results = [
        subprocess.run(command, capture_output=True, text=True, check=True)
        for _ in range(n_processes)
    ]
    measured = [json.loads(result.stdout.splitlines()[-1]) for result in results]
    return sorted(measured, key=lambda record: record["peak"])[n_processes // 2]


def _status(field):
    """Entry of /proc/self/status in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(field)


def resident():
    """Resident memory of this process in bytes."""
    return _status("VmRSS")


def peak():
    """Largest resident memory of this process in bytes, since that was reset."""
    return _status("VmHWM")


def _measure(dataset, competitor):
    fit, data = COMPETITORS[competitor], DATASETS[dataset]()
    rng = np.random.default_rng(0)
    fit(rng.normal(size=(300, 20)).astype(data.X_train.dtype), np.arange(300) % 3, 1.0)
    Path("/proc/self/clear_refs").write_text("5")
    before = resident()
    timed_fits(fit, data, 1.0)
    X = data.X_train
    size = X.nbytes if isinstance(X, np.ndarray) else X.data.nbytes + X.indices.nbytes
    print(json.dumps({"peak": peak() - before, "X": size}))


if __name__ == "__main__":
    _measure(*sys.argv[1:])
