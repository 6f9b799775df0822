"""Fits while another program computes on the same cores."""

import contextlib
import statistics
import subprocess
import sys

from benchmarks.competitors import PEERS
from benchmarks.competitors.not_applicable import NotApplicableError
from benchmarks.competitors.peer import time_limit
from benchmarks.runner import RIDGE, timed_fits

NEIGHBOURS = {
    "none": None,
    "a busy loop": "while True: pass",
    "torch on all cores": (
        "import torch; A = torch.randn(1500, 1500)\nwhile True: A = torch.tanh(A @ A)"
    ),
}
"""Programs that run meanwhile."""

NAMES = ["sklearn newton-cholesky tol=0.0001", "sklearn lbfgs tol=0.0001"]
"""Peers that take part, with one thread and with all."""

MIN_FITS, MAX_FITS, SECONDS = 3, 60, 4.0
"""Fits of a competitor beside a neighbour: as many as fit into the time, within these limits."""

PATIENCE = 30.0
"""Seconds of a first fit after which a competitor is stopped."""


def load(dataset, data, C=1.0):
    """Return one record a neighbour and competitor, with the median time of a fit."""
    records = []
    for neighbour, program in NEIGHBOURS.items():
        with _running(program):
            for peer in [RIDGE.ours, *(peer for peer in PEERS if peer.name in NAMES)]:
                with contextlib.suppress(NotApplicableError):
                    seconds = _median(peer, data, C)
                    quiet = next(
                        (r["seconds"] for r in records if r["competitor"] == str(peer)), seconds
                    )
                    records.append(
                        {
                            "dataset": dataset,
                            "neighbour": neighbour,
                            "competitor": str(peer),
                            "seconds": seconds,
                            "times_quiet": seconds / quiet,
                        }
                    )
    return records


def _median(peer, data, C):
    """Median time of a fit."""
    times = []
    with peer.threads():
        with time_limit(PATIENCE):
            timed_fits(peer.fit, data, C)
        while len(times) < MIN_FITS or (len(times) < MAX_FITS and sum(times) < SECONDS):
            times.append(timed_fits(peer.fit, data, C)[1])
    return statistics.median(times)


@contextlib.contextmanager
def _running(program):
    """Run a program of Python meanwhile."""
    if program is None:
        yield
        return
    command = [sys.executable, "-u", "-c", f"print('begins')\n{program}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        process.stdout.readline()
        yield
    finally:
        process.kill()
        process.wait()
