"""Tables for the documentation: ``python -m benchmarks.report FILE.json ... > docs/tables.rst``.

The files are those that ``python -m benchmarks`` writes; every file gives a table. The environment
is that of the first.
"""

import json
import sys
from pathlib import Path

KINDS = {
    "loop": ["dataset", "loop", "batch_size", "milliseconds_epoch", "times_by_hand"],
    "peak": ["dataset", "competitor", "peak_mb", "peak_x"],
    "varied": ["varied", "n", "d", "n_classes", "competitor", "milliseconds", "objective"],
    "suboptimality": [
        "dataset",
        "competitor",
        "milliseconds",
        "versus_ours",
        "suboptimality",
        "iterations",
        "test_accuracy",
    ],
}
"""Columns of a table, by a key that only its records have."""

HEADERS = {
    "dataset": "data set",
    "milliseconds": "time / ms",
    "milliseconds_epoch": "epoch / ms",
    "times_by_hand": "time / by hand, slices",
    "batch_size": "batch",
    "versus_ours": "time / ours",
    "suboptimality": "f - best f",
    "test_accuracy": "test accuracy",
    "peak_mb": "peak / MB",
    "peak_x": "peak / X",
    "n_classes": "K",
    "objective": "f",
}

FORMATS = {
    "milliseconds": "{:,.1f}",
    "milliseconds_epoch": "{:,.3f}",
    "times_by_hand": "{:.2f}",
    "versus_ours": "{:.2f}",
    "suboptimality": "{:.1e}",
    "test_accuracy": "{:.4f}",
    "peak_mb": "{:.0f}",
    "peak_x": "{:.2f}",
    "objective": "{:.6f}",
}


def table(records):
    """Return a list-table of reStructuredText."""
    columns = next(columns for key, columns in KINDS.items() if key in records[0])
    ours = {r["dataset"]: r["seconds"] for r in records if _is_ours(r) and "dataset" in r}
    lines = [".. list-table::", "    :header-rows: 1", ""]
    lines += _row([HEADERS.get(column, column) for column in columns])
    for record in records:
        cells = _derived(record, ours)
        lines += _row([FORMATS.get(c, "{}").format(cells[c]) for c in columns])
    return "\n".join(lines)


def environment_line(environment):
    """Versions and hardware in a sentence."""
    packages = [f"{name} {version}" for name, version in environment["packages"].items()]
    system = (
        f"{environment['processor']}, {environment['threads']} threads; {environment['system']}"
    )
    return f"Python {environment['python']}, {', '.join(packages)}; {system}."


def _is_ours(record):
    return record.get("competitor") == "torchlogreg" and "seconds" in record


def _derived(record, ours):
    cells = dict(record)
    if "seconds" in record:
        cells["milliseconds"] = cells["milliseconds_epoch"] = 1e3 * record["seconds"]
        cells["versus_ours"] = record["seconds"] / ours.get(record.get("dataset"), float("nan"))
    if "peak" in record:
        cells["peak_mb"] = record["peak"] / 1e6
        cells["peak_x"] = record["peak"] / record["X"]
    return cells


def _row(cells):
    return [f"    {'* -' if i == 0 else '  -'} {cell}" for i, cell in enumerate(cells)]


def main(paths):
    """Print the tables of some files."""
    results = [json.loads(Path(path).read_text()) for path in paths]
    print(environment_line(results[0]["environment"]))
    for result in results:
        print("\n" + table(result["records"]))


if __name__ == "__main__":
    main(sys.argv[1:])
