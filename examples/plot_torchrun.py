"""
Several processes, started by torchrun
======================================

``torchrun`` starts processes on one machine or on many and tells them of each other. Each reads
rows of its own and calls ``distributed.fit``; all of them end with the same model. On many machines
the call is::

    torchrun --nnodes 4 --nproc-per-node 2 --rdzv-backend c10d --rdzv-endpoint first:29400 script.py

This file starts itself in two processes.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch.distributed as dist

from torchlogreg import TorchLogisticRegression, distributed


def rows_of(rank):
    """Return the rows of a process: in earnest, from a file or a database of its own."""
    rng = np.random.default_rng(rank)
    X = rng.normal(size=(5_000 * (rank + 1), 10))
    return X, X[:, 0] + rng.logistic(size=len(X)) > 0


def work():
    """Fit, in one of the processes."""
    dist.init_process_group("gloo")  # "nccl" for GPUs
    X, y = rows_of(dist.get_rank())
    model = distributed.fit(TorchLogisticRegression(tol=1e-8), X, y)
    if dist.get_rank() == 0:
        size = dist.get_world_size()
        together = [np.concatenate(part) for part in zip(*map(rows_of, range(size)), strict=True)]
        alone = TorchLogisticRegression(tol=1e-8).fit(*together)
        print(f"{size} processes, {len(together[0])} rows, {model.n_iter_[0]} iterations")
        difference = np.abs(model.coef_ - alone.coef_).max()
        print(f"largest difference to one process with all of the rows: {difference:.0e}")
    dist.destroy_process_group()


if __name__ == "__main__":
    if "RANK" in os.environ:
        work()
    else:
        script = globals().get("__file__") or str(Path("plot_torchrun.py").resolve())
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        found = subprocess.run(
            [*torchrun, "--nproc-per-node", "2", script],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        )
        print(found.stdout)
