"""Rows on disk next to rows in memory, and several processes next to one.

Every fit has a process of its own: what it held before is not counted as its memory.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.memory import peak, resident

N_FEATURES, CHUNK = 500, 100_000
"""Columns of the generated data, in single precision; rows that are generated at a time."""

SMALL, LARGE = 2.0, 20.0
"""GB of data that memory holds several times, and of data that it does not hold, or hardly."""

BUDGET_SMALL, BUDGET_LARGE = 2e8, 2e9
"""Bytes that fits may take for them."""

SPARE = 1.5
"""Room on the disk that is asked for, in units of the data: there is less data otherwise."""

TURNS = 3
"""Turns of each, alternating."""

PROCESSES = (1, 2, 4)
"""Processes that share the rows of MNIST, with two threads in all, or one each."""


def scale():
    """Return one record for each measurement."""
    with tempfile.TemporaryDirectory() as folder:
        return [*_small(Path(folder)), *_large(Path(folder)), *_processes()]


def _small(folder):
    """Measure data that the system has in memory: how much does reading cost."""
    _generate(folder, SMALL)
    kinds = ["memory", "npy", "npy, cold", "parquet", "parquet, scratch"]
    found = {kind: [] for kind in kinds}
    for _ in range(TURNS):
        for kind in kinds:
            found[kind].append(_fit(folder, kind, BUDGET_SMALL))
    records = [_median(some) for some in found.values()]
    return [{"gigabytes": SMALL, **record} for record in [*records, *_plain_reads(folder)]]


def _large(folder):
    """Data that is larger than what a fit may take by far."""
    statistics_of_disk = os.statvfs(folder)
    room = statistics_of_disk.f_bavail * statistics_of_disk.f_frsize / 1e9
    gigabytes = min(LARGE, room / SPARE)
    records = []
    for kind in ("npy", "parquet"):
        for file in folder.iterdir():
            file.unlink()
        _generate(folder, gigabytes, kinds=(kind,))
        records.append(_fit(folder, kind, BUDGET_LARGE))
        if kind == "npy":
            records += _plain_reads(folder)
    return [{"gigabytes": gigabytes, **record} for record in records]


def _generate(folder, gigabytes, kinds=("npy", "parquet")):
    """Write rows of correlated columns and labels of a logistic model."""
    n_rows = int(gigabytes * 1e9 / (4 * N_FEATURES))
    rng = np.random.default_rng(0)
    coef = 2 * rng.normal(size=N_FEATURES).astype(np.float32) / N_FEATURES**0.5
    names, labels, writer = [f"x{column}" for column in range(N_FEATURES)], [], None
    with open(folder / "X.npy", "wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (n_rows, N_FEATURES)}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, n_rows, CHUNK):
            X = rng.standard_normal((min(CHUNK, n_rows - start), N_FEATURES), dtype=np.float32)
            X[:, 1:] += 0.5 * X[:, :-1]
            labels.append(X @ coef + rng.logistic(size=len(X)) > 0)
            if "npy" in kinds:
                X.tofile(file)
            if "parquet" in kinds:
                columns = dict(zip(names, X.T, strict=True)) | {"y": labels[-1]}
                table = pa.table(columns)
                writer = writer or pq.ParquetWriter(
                    folder / "rows.parquet", table.schema, compression="none", use_dictionary=False
                )
                writer.write_table(table)
    if writer is not None:
        writer.close()
    np.save(folder / "y.npy", np.concatenate(labels))


def _plain_reads(folder):
    """Read the same file from one end to the other, as ``dd`` does: from the disk, and again."""
    records = []
    for rows in ("read only, cold", "read only"):
        if "cold" in rows:
            _evict(folder)
        start, buffer = time.perf_counter(), bytearray(2**24)
        with open(folder / "X.npy", "rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
        records.append({"rows": rows, "seconds": time.perf_counter() - start})
    return records


def _evict(folder):
    """Let the system forget what it has of the files in memory."""
    os.sync()
    for path in folder.iterdir():
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _fit(folder, kind, budget):
    """Fit in a new process."""
    if "cold" in kind:
        _evict(folder)
    command = [sys.executable, "-m", "benchmarks.scale", "fit", str(folder), kind, str(budget)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    print(done.stderr, end="", file=sys.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def _processes():
    """Let one, two and four processes fit MNIST."""
    found = {size: [] for size in PROCESSES}
    for _ in range(TURNS):
        for size in PROCESSES:
            command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
            command += ["--nproc-per-node", str(size), "-m", "benchmarks.scale", "share"]
            threads = {"OMP_NUM_THREADS": str(max(2 // size, 1))}
            done = subprocess.run(
                command, capture_output=True, text=True, check=True, env=os.environ | threads
            )
            found[size].append(json.loads(done.stdout.splitlines()[-1]))
    return [_median(some) for some in found.values()]


def _median(records):
    """The last record, with the median of the seconds of all."""
    seconds = [record["seconds"] for record in records]
    return {**records[-1], "seconds": statistics.median(seconds), "all_seconds": seconds}


def fit(folder, kind, budget):
    """Fit to rows in memory, or from files; print what it took."""
    from torchlogreg import TorchLogisticRegression, blocks
    from torchlogreg.data import store

    stores, made = [], store.Store.__init__

    def record(self, *args):
        stores.append(self)
        made(self, *args)

    store.Store.__init__ = record
    rng = np.random.default_rng(0)
    TorchLogisticRegression().fit(rng.normal(size=(300, 20)), np.arange(300) % 2)
    Path("/proc/self/clear_refs").write_text("5")
    before, folder = resident(), Path(folder)
    y = np.load(folder / "y.npy")
    if kind == "memory":
        given = np.load(folder / "X.npy"), y
    elif kind.startswith("npy"):
        given = (blocks.from_arrays(folder / "X.npy", y, budget=int(float(budget))),)
    else:
        options = {"budget": int(float(budget)), "scratch": folder if "scratch" in kind else None}
        given = (blocks.from_parquet(folder / "rows.parquet", target="y", **options),)
    start = time.perf_counter()
    model = TorchLogisticRegression().fit(*given)
    found = {
        "rows": kind,
        "budget": float(budget),
        "seconds": time.perf_counter() - start,
        "iterations": int(model.n_iter_[0]),
        "reads": stores[0].n_reads if stores else None,
        "peak": peak() - before,
        "held_before": before,
        "optimality": model.optimality_,
        "largest": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    print(json.dumps(found))


def share():
    """Fit to the share of MNIST of one of several processes; the first prints what it took."""
    import torch.distributed as dist

    from benchmarks.datasets import DATASETS
    from torchlogreg import TorchLogisticRegression
    from torchlogreg.distributed import fit_share, processes_of

    dist.init_process_group("gloo")
    rank, size = dist.get_rank(), dist.get_world_size()
    data = DATASETS["mnist"]()
    X, y = (np.array_split(part, size)[rank].copy() for part in (data.X_train, data.y_train))
    times = []
    for _ in range(TURNS):
        dist.barrier()
        start = time.perf_counter()
        with processes_of(None) as processes:
            model = fit_share(TorchLogisticRegression(), X, y, None, processes)
        times.append(time.perf_counter() - start)
    if rank == 0:
        n_iter = int(model.n_iter_[0])
        found = {
            "rows": f"MNIST in {size} process{'es' * (size > 1)}",
            "seconds": statistics.median(times),
            "iterations": n_iter,
            "bytes_per_iteration": processes.n_bytes / n_iter,
        }
        print(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    {"fit": fit, "share": share}[sys.argv[1]](*sys.argv[2:])
