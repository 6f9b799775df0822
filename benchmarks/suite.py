"""What the documentation shows: ``python -m benchmarks.suite`` measures it anew.

    python -m benchmarks.suite             # everything: three hours
    python -m benchmarks.suite mnist small # a choice

Every entry of :data:`SUITE` is a run of ``python -m benchmarks``, in a process of its own, whose
JSON goes to ``published/<name>.json``. ``make docs`` makes the benchmark page from these files.
"""

import subprocess
import sys
from pathlib import Path

from benchmarks.datasets import wide_net

PUBLISHED = Path(__file__).parent / "published"

SUITE = {
    "mnist": ("table", "--datasets", "mnist"),
    "mnist_float64": ("table", "--datasets", "mnist_float64"),
    "small": (
        *("table", "--datasets", "iris", "iris_scaled", "wine", "wine_raw", "breast_cancer"),
        *("breast_cancer_raw", "digits", "digits_unit", "digits_scaled"),
    ),
    "tabular": ("table", "--datasets", "credit", "census", "letters"),
    "synthetic": ("table", "--datasets", "tall", "wide", "sparse", "many_classes"),
    "wide_net": ("table", "--datasets", *wide_net.DATASETS),
    "probe": ("table", "--datasets", "probe", "embeddings"),
    "lasso": ("lasso", "--datasets", "breast_cancer", "digits_unit", "census"),
    "lasso_sparse": ("lasso", "--datasets", "sparse_wide", "sparse_wide_20", "--C", "0.17"),
    "paths": ("paths", "--datasets", "digits_unit", "mnist_10k"),
    "lasso_curves": ("lasso_curves", "--datasets", "digits_unit", "mnist_10k"),
    "memory": ("memory", "--datasets", "mnist", "mnist_float64", "tall", "wide"),
    "grids": ("grids", "--datasets", "iris", "breast_cancer", "digits_unit"),
    "grids_large": ("grids", "--datasets", "letters", "mnist_10k", "mnist"),
    "growth": ("growth",),
    "curves": (
        *("curves", "--datasets", "mnist", "digits", "many_classes"),
        *("wide", "wine_raw", "breast_cancer_raw"),
    ),
    "epochs": ("epochs", "--datasets", "mnist", "iris"),
    "solvers": ("solvers",),
    "stream": ("stream",),
    "scale": ("scale",),
    "clusters": ("clusters",),
    "jobs": ("jobs", "--datasets", "digits_unit", "mnist_10k"),
    "load": ("load", "--datasets", "iris", "wine", "breast_cancer", "digits", "mnist"),
    "predictions": ("predictions", "--datasets", "iris", "credit", "census", "mnist", "sparse"),
}


def main(names):
    """Run these entries, or all of them."""
    unknown = set(names) - set(SUITE)
    if unknown:
        sys.exit(f"There is no {sorted(unknown)} in the suite; it has {list(SUITE)}.")
    for name in names or SUITE:
        print(f"\n== {name}", flush=True)
        output = PUBLISHED / f"{name}.json"
        command = [sys.executable, "-m", "benchmarks", *SUITE[name], "--output", str(output)]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
