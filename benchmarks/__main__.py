"""Run the benchmarks: ``python -m benchmarks --help``."""

import argparse
import json
import sys
import time
from pathlib import Path

from tabulate import tabulate

from benchmarks.competitors import COMPETITORS
from benchmarks.curves import curves, first_as_good, plot
from benchmarks.datasets import DATASETS
from benchmarks.epochs import CASES, epochs
from benchmarks.grids import SHAPES, grids
from benchmarks.growth import growth
from benchmarks.jobs import jobs
from benchmarks.load import load
from benchmarks.memory import PROCESSES, peak_memory
from benchmarks.paths import paths
from benchmarks.predictions import predictions
from benchmarks.runner import environment, run
from benchmarks.scale import scale
from benchmarks.solver_choice import solver_choice
from benchmarks.sparse_models import sparse_curves, sparse_models
from benchmarks.stream import stream, summary

HEADERS = {
    "competitor": "competitor",
    "milliseconds": "time / ms",
    "times_ours": "time / ours",
    "excess": "objective above ours",
    "iterations": "iterations",
    "test_accuracy": "test accuracy",
}


def main():
    """Parse the command line, run, print the table, write the JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("what", nargs="?", choices=PARTS, default="table")
    parser.add_argument("--datasets", nargs="+", choices=DATASETS, default=list(DATASETS))
    parser.add_argument("--C", type=float, default=1.0, help="inverse regularisation strength")
    parser.add_argument("--processes", type=int, default=PROCESSES, help="for memory")
    parser.add_argument("--output", type=Path, help="JSON file (benchmarks/results/<time>.json)")
    options = parser.parse_args()
    stamp = time.strftime("%Y-%m-%dT%H%M%S")
    output = options.output or Path(__file__).parent / "results" / f"{stamp}.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    records = PARTS[options.what](options, output)
    results = {"environment": environment(), "C": options.C, "records": records}
    output.write_text(json.dumps(results, indent=1) + "\n")
    print(f"\nwritten to {output}")


def table(options, output):
    """Our time and those of all peers in all settings, fastest first."""
    return _for_each_dataset(
        options, lambda name: _shown(name, run(name, DATASETS[name](), options.C))
    )


def lasso(options, output):
    """The same for sparse models."""

    def shown(name):
        compared = sparse_models(name, DATASETS[name](), options.C)
        return [record for pair in compared.items() for record in _shown(*pair)]

    return _for_each_dataset(options, shown)


def measure_paths(options, output):
    """Time of a path next to glmnet's."""
    records = _for_each_dataset(options, lambda name: paths(name, DATASETS[name](), options.C))
    keys = ["dataset", "competitor", "seconds", "least_excess", "most_excess", "n_nonzero"]
    print(tabulate([[record[key] for key in keys] for record in records], headers=keys))
    return records


def _shown(name, records):
    """Print the table of a data set, and return it."""
    ours = records[0]["seconds"]
    shown = sorted((r for r in records if "seconds" in r), key=lambda record: record["seconds"])
    rows = [
        {**r, "milliseconds": 1e3 * r["seconds"], "times_ours": r["seconds"] / ours} for r in shown
    ]
    print(f"\n{name}")
    print(
        tabulate(
            [[row[key] for key in HEADERS] for row in rows],
            headers=list(HEADERS.values()),
            floatfmt=("", ".2f", ".2f", ".1e", "", ".4f"),
        )
    )
    print(f"Ours is {records[0]['above_lowest']:.1e} above the lowest objective of all.")
    left_out = {r["competitor"]: r["left_out"] for r in records if "left_out" in r}
    print("Left out:", "; ".join(f"{name} ({why})" for name, why in left_out.items()), flush=True)
    return records


def draw_sparse_curves(options, output):
    """Objective of sparse models against seconds, and who comes close first."""
    records = _for_each_dataset(options, lambda name: sparse_curves(name, options.C))
    print(tabulate(first_as_good(records), headers=["dataset", "competitor", "seconds to 1e-4"]))
    plot(records, output.with_suffix(".png"))
    return records


def draw_curves(options, output):
    """Objective against seconds, as a picture next to the JSON file."""
    records = _for_each_dataset(options, lambda name: curves(name, options.C))
    plot(records, output.with_suffix(".png"))
    return records


def measure_memory(options, output):
    """Peak memory of a fit, in units of X."""
    records = _for_each_dataset(
        options,
        lambda dataset: [
            {
                "dataset": dataset,
                "competitor": name,
                **peak_memory(dataset, name, options.processes),
            }
            for name in COMPETITORS
        ],
    )
    rows = [[r["dataset"], r["competitor"], r["peak"] / 1e6, r["peak"] / r["X"]] for r in records]
    print(tabulate(rows, headers=["data set", "competitor", "peak / MB", "peak / X"]))
    return records


def measure_growth(options, output):
    """Time against n, d and K."""
    records = growth(options.C)
    keys = ["varied", "n", "d", "n_classes", "competitor", "seconds", "objective", "iterations"]
    print(tabulate([[record[key] for key in keys] for record in records], headers=keys))
    return records


def measure_epochs(options, output):
    """Time of an epoch next to loops written by hand."""
    options.datasets = [name for name in CASES if name in options.datasets]
    records = _for_each_dataset(options, epochs)
    rows = [[r["dataset"], r["loop"], 1e3 * r["seconds"], r["times_by_hand"]] for r in records]
    print(tabulate(rows, headers=["data set", "loop", "ms an epoch", "times by hand, slices"]))
    return records


def measure_grids(options, output):
    """Time of cross-validations next to scikit-learn's."""
    options.datasets = [name for name in SHAPES if name in options.datasets]
    records = _for_each_dataset(options, grids)
    keys = ["dataset", "competitor", "seconds", "C", "least_excess", "most_excess", "left_out"]
    print(tabulate([[record.get(key) for key in keys] for record in records], headers=keys))
    return records


def measure_load(options, output):
    """Time of a fit beside other programs."""
    records = _for_each_dataset(options, lambda name: load(name, DATASETS[name](), options.C))
    keys = ["dataset", "neighbour", "competitor", "seconds", "times_quiet"]
    print(tabulate([[record[key] for key in keys] for record in records], headers=keys))
    return records


def measure_predictions(options, output):
    """Time of the probabilities of all rows."""
    records = _for_each_dataset(
        options, lambda name: predictions(name, DATASETS[name](), options.C)
    )
    keys = ["dataset", "n_predicted", "competitor", "seconds"]
    print(tabulate([[record[key] for key in keys] for record in records], headers=keys))
    return records


def measure_solvers(options, output):
    """Time of the exact solvers on data of all shapes."""
    records = solver_choice(options.C)
    keys = ["dataset", "n", "n_coef", "solver", "threads", "is_auto", "seconds", "iterations"]
    print(tabulate([[record[key] for key in keys] for record in records], headers=keys))
    return records


def measure_stream(options, output):
    """Memory after every chunk of a stream of 10 GB."""
    records = stream()
    keys = ["chunk", "megabytes", "resident", "seconds", "accuracy"]
    print(tabulate([[record[key] for key in keys] for record in records[::10]], headers=keys))
    print(summary(records))
    return records


def measure_scale(options, output):
    """Rows on disk and in several processes."""
    records = scale()
    keys = ["rows", "gigabytes", "seconds", "iterations", "reads", "peak", "bytes_per_iteration"]
    print(tabulate([[record.get(key) for key in keys] for record in records], headers=keys))
    return records


def measure_jobs(options, output):
    """Time of a grid search with two jobs."""
    records = _for_each_dataset(options, jobs)
    keys = ["dataset", "backend", "seconds", "times_ideal"]
    print(tabulate([[record[key] for key in keys] for record in records], headers=keys))
    return records


def measure_clusters(options, output):
    """Fits on a local cluster, next to others'."""
    from benchmarks.clusters import clusters  # which needs Dask

    records = clusters(options.C)
    keys = ["n", "d", "n_classes", "competitor", "seconds", "times_ours", "excess", "left_out"]
    print(tabulate([[record.get(key) for key in keys] for record in records], headers=keys))
    return records


PARTS = {
    "table": table,
    "lasso": lasso,
    "paths": measure_paths,
    "curves": draw_curves,
    "lasso_curves": draw_sparse_curves,
    "memory": measure_memory,
    "grids": measure_grids,
    "growth": measure_growth,
    "epochs": measure_epochs,
    "load": measure_load,
    "predictions": measure_predictions,
    "solvers": measure_solvers,
    "stream": measure_stream,
    "scale": measure_scale,
    "clusters": measure_clusters,
    "jobs": measure_jobs,
}


def _for_each_dataset(options, measure):
    records = []
    for dataset in options.datasets:
        print(f"{dataset} ...", file=sys.stderr, flush=True)
        try:
            records += measure(dataset)
        except FileNotFoundError as error:
            print(f"{dataset} left out: {error}", file=sys.stderr)
    return records


if __name__ == "__main__":
    main()
