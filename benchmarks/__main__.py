"""Run the benchmarks: ``python -m benchmarks --help``."""

import argparse
import json
import sys
import time
from pathlib import Path

from tabulate import tabulate

from benchmarks.competitors import COMPETITORS, REFERENCE
from benchmarks.datasets import DATASETS
from benchmarks.runner import environment, run

HEADERS = {
    "dataset": "data set",
    "competitor": "competitor",
    "milliseconds": "time / ms",
    "times_reference": f"speed / {REFERENCE}",
    "suboptimality": "f - best f",
    "iterations": "iterations",
    "test_accuracy": "test accuracy",
}


def main():
    """Parse the command line, run, print the table, write the JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--datasets", nargs="+", choices=DATASETS, default=list(DATASETS))
    parser.add_argument("--competitors", nargs="+", choices=COMPETITORS, default=list(COMPETITORS))
    parser.add_argument("--C", type=float, default=1.0, help="inverse regularisation strength")
    parser.add_argument("--output", type=Path, help="JSON file (benchmarks/results/<time>.json)")
    options = parser.parse_args()
    records = []
    for dataset in options.datasets:
        print(f"{dataset} ...", file=sys.stderr, flush=True)
        try:
            records += run(dataset, options.competitors, options.C)
        except FileNotFoundError as error:
            print(f"{dataset} left out: {error}", file=sys.stderr)
    rows = [{**record, "milliseconds": 1e3 * record["seconds"]} for record in records]
    print(
        tabulate(
            [[row[key] for key in HEADERS] for row in rows],
            headers=list(HEADERS.values()),
            floatfmt=("", "", ".2f", ".2f", ".1e", "", ".4f"),
        )
    )
    results = {"environment": environment(), "C": options.C, "records": records}
    stamp = time.strftime("%Y-%m-%dT%H%M%S")
    output = options.output or Path(__file__).parent / "results" / f"{stamp}.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(results, indent=2) + "\n")
    print(f"\nwritten to {output}")


if __name__ == "__main__":
    main()
