"""What the documentation and the README show of the published runs.

    python -m benchmarks.report FOLDER     # tables and the picture for the documentation
    python -m benchmarks.report --readme   # the table and the picture of the README

Everything is made from ``published/*.json``, which ``python -m benchmarks.suite`` writes.
"""

import json
import math
import sys
from pathlib import Path

from tabulate import tabulate

from benchmarks import stream
from benchmarks.curves import first_as_good, plot
from benchmarks.runner import fastest_as_good, is_as_good
from benchmarks.suite import PUBLISHED

README = Path(__file__).parent.parent / "README.md"
PICTURE = README.parent / "docs" / "_static" / "mnist.png"
TABLE_BEGIN = "<!-- table: made by python -m benchmarks.report --readme -->\n"
TABLE_END = "<!-- end of table -->"

KINDS = {
    "loop": ["dataset", "loop", "batch_size", "milliseconds_epoch", "times_by_hand"],
    "peak": ["dataset", "competitor", "peak_mb", "peak_x"],
    "n_predicted": ["dataset", "n_predicted", "competitor", "milliseconds_call", "versus_ours"],
    "varied": ["varied", "n", "d", "n_classes", "competitor", "milliseconds", "objective"],
    "test_accuracy": [
        "dataset",
        "competitor",
        "milliseconds",
        "versus_ours",
        "excess",
        "iterations",
        "test_accuracy",
    ],
}
"""Columns of a table, by a key that only its records have."""

HEADERS = {
    "dataset": "data set",
    "milliseconds": "time / ms",
    "milliseconds_epoch": "epoch / ms",
    "milliseconds_call": "time / ms",
    "times_by_hand": "time / by hand, slices",
    "batch_size": "batch",
    "versus_ours": "time / ours",
    "excess": "f / ours - 1",
    "test_accuracy": "test accuracy",
    "peak_mb": "peak / MB",
    "peak_x": "peak / X",
    "n_classes": "K",
    "n_predicted": "rows",
    "objective": "f",
}

FORMATS = {
    "milliseconds": "{:,.1f}",
    "milliseconds_epoch": "{:,.3f}",
    "milliseconds_call": "{:,.3f}",
    "times_by_hand": "{:.2f}",
    "versus_ours": "{:.2f}",
    "excess": "{:.1e}",
    "test_accuracy": "{:.4f}",
    "peak_mb": "{:.0f}",
    "peak_x": "{:.2f}",
    "objective": "{:.6f}",
}

OURS = "torchlogreg"

COMPARED = ["small", "tabular", "synthetic", "mnist"]
"""Runs that the comparison is made of: of one version, on one machine."""


def published(name):
    """Results of a run of the suite."""
    return json.loads((PUBLISHED / f"{name}.json").read_text())


def table(records):
    """Table of records in reStructuredText."""
    columns = next(columns for key, columns in KINDS.items() if key in records[0])
    records = [record for record in records if "left_out" not in record]
    ours = {r.get("dataset"): r for r in records if _is_ours(r)}
    if "test_accuracy" in columns:
        records = _best_settings(records, ours)
    rows = []
    for record in records:
        cells = _derived(record, ours)
        rows.append([FORMATS.get(column, "{}").format(cells[column]) for column in columns])
    headers = [HEADERS.get(column, column) for column in columns]
    return tabulate(rows, headers, tablefmt="rst", disable_numparse=True)


def comparison(tablefmt):
    """Table of our time next to the fastest peer that solves the same problem as well.

    Wins and losses alike: what counts is whose objective is as good as ours, whatever its solver,
    tolerance and threads.
    """
    records = [record for name in COMPARED for record in published(name)["records"]]
    rows = []
    for dataset in dict.fromkeys(record["dataset"] for record in records):
        here = [record for record in records if record["dataset"] == dataset]
        ours, best = here[0], fastest_as_good(here)
        row = [dataset, f"{1e3 * ours['seconds']:,.1f}"]
        if best is None:
            row += ["none in time", "", ""]
        else:
            row += [best["competitor"], f"{1e3 * best['seconds']:,.1f}"]
            row.append(f"{best['seconds'] / ours['seconds']:.2f}")
        rows.append(row)
    headers = ["data set", "torchlogreg / ms", "fastest peer as good", "ms", "times ours"]
    align = ("left", "right", "left", "right", "right")
    return tabulate(rows, headers, tablefmt=tablefmt, disable_numparse=True, colalign=align)


def _best_settings(records, ours):
    """Of every competitor and solver the fastest setting that is as good as ours, or the best."""
    kinds = {}
    for record in records:
        kind = record["dataset"], record["competitor"].split(" tol=")[0]
        kinds.setdefault(kind, []).append(record)
    shown = []
    for (dataset, _), settings in kinds.items():
        good = [record for record in settings if is_as_good(record, ours[dataset])]
        if good:
            shown.append(min(good, key=lambda record: record["seconds"]))
        else:
            shown.append(min(settings, key=lambda record: record["objective"]))
    order = {dataset: place for place, dataset in enumerate(ours)}
    return sorted(shown, key=lambda r: (order[r["dataset"]], not _is_ours(r), r["seconds"]))


def solver_table(records):
    """Table of the exact solvers, with the iterations in brackets and the choice of "auto"."""
    columns, rows = {}, {}
    for r in records:
        shape = {"data": r["dataset"], "n": f"{r['n']:,}", "P": f"{r['n_coef']:,}"}
        row = rows.setdefault(r["dataset"], {**shape, "n P²": f"{r['n'] * r['n_coef'] ** 2:.0e}"})
        mark = "**" if r["is_auto"] else ""
        threads = {1: ", 1 thread", "all": ", all threads"}.get(r.get("threads"), "")
        column = columns.setdefault((r["solver"], threads), f'"{r["solver"]}"{threads}')
        row[column] = f"{mark}{1e3 * r['seconds']:,.1f}{mark} ({r['iterations']})"
    headers = ["data", "n", "P", "n P²", *columns.values()]
    cells = [[row.get(header, "") for header in headers] for row in rows.values()]
    return tabulate(cells, headers, tablefmt="rst", disable_numparse=True)


def load_table(records):
    """Table of the times of fits beside other programs, and of how many times the quiet one."""
    rows = {}
    for r in records:
        row = rows.setdefault((r["dataset"], r["competitor"]), {})
        ratio = "" if r["neighbour"] == "none" else f" ({r['times_quiet']:.1f})"
        row[r["neighbour"]] = f"{1e3 * r['seconds']:,.1f}{ratio}"
    neighbours = list(dict.fromkeys(record["neighbour"] for record in records))
    cells = [[*key, *(row.get(n, "stopped") for n in neighbours)] for key, row in rows.items()]
    headers = ["data set", "competitor", "alone / ms", *(f"beside {n}" for n in neighbours[1:])]
    return tabulate(cells, headers, tablefmt="rst", disable_numparse=True)


def paths_table(records):
    """Table of the times of paths, and of objectives next to ours: of the worst and best model."""
    ours = {r["dataset"]: r["seconds"] for r in records if r["competitor"] == OURS}
    headers = ["data set", "competitor", "path / s", "time / ours", "f / ours - 1", "non-zero"]
    cells = [
        [
            r["dataset"],
            r["competitor"],
            f"{r['seconds']:.3f}",
            f"{r['seconds'] / ours[r['dataset']]:.2f}",
            f"{r['least_excess']:.1e} to {r['most_excess']:.1e}",
            r["n_nonzero"],
        ]
        for r in records
    ]
    return tabulate(cells, headers, tablefmt="rst", disable_numparse=True)


def grids_table(records):
    """Table of searches: of every kind the fastest, with the objectives of its models."""
    ours = {r["dataset"]: r["seconds"] for r in records if r["competitor"] == OURS}
    kinds = {}
    for r in records:
        kinds.setdefault((r["dataset"], r["competitor"].split(" ")[0]), []).append(r)
    headers = ["data set", "models", "competitor", "s", "time / ours", "f / ours - 1", "MB"]
    cells = []
    for (dataset, kind), settings in kinds.items():
        measured = [r for r in settings if "seconds" in r]
        if measured:
            best, mark = min(measured, key=lambda r: r["seconds"]), ""
            name, seconds = best["competitor"], best["seconds"]
        else:  # all were stopped
            best, mark, name = settings[0], "> ", kind
            seconds = min(r["at_least"] for r in settings if "at_least" in r)
        cells.append(
            [
                dataset,
                1 if name.endswith("single") else best["n_models"],
                name,
                f"{mark}{seconds:.3f}",
                f"{mark}{seconds / ours[dataset]:.2f}",
                f"{best['least_excess']:.0e} to {best['most_excess']:.0e}"
                if "most_excess" in best
                else "",
                f"{best['memory'] / 1e6:.0f}" if kind == OURS and "memory" in best else "",
            ]
        )
    return tabulate(cells, headers, tablefmt="rst", disable_numparse=True)


def closeness_table(records):
    """Table of the seconds that everyone takes to come within 0.01 % of the lowest objective."""
    ridge = {r["dataset"]: r["ridge_seconds"] for r in records}
    cells = [
        [dataset, name, f"{s:.3f}" if s < math.inf else "not reached", f"{s / ridge[dataset]:.1f}"]
        for dataset, name, s in first_as_good(records)
    ]
    headers = ["data set", "competitor", "time / s", "time / our ridge fit"]
    return tabulate(cells, headers, tablefmt="rst", disable_numparse=True)


def environment_line(environment):
    """Versions and hardware in a sentence."""
    packages = [f"{name} {version}" for name, version in environment["packages"].items() if version]
    blas = dict.fromkeys(
        f"{pool['internal_api']} {pool.get('version')} ({pool.get('architecture')})"
        for pool in environment.get("pools", [])
        if pool["user_api"] == "blas"
    )
    parts = [
        f"Python {environment['python']}, {', '.join(packages)}",
        f"{environment['processor']}, {environment['threads']} threads, {environment['system']}",
    ]
    if blas:
        parts.append(f"kernels of torch: {environment['torch_kernels']}; BLAS: {', '.join(blas)}")
    return f"{'; '.join(parts)}."


def write(folder):
    """Write a table for every published run, the comparison, and the picture of the curves."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(PUBLISHED.glob("*.json")):
        results = json.loads(path.read_text())
        if path.stem in PICTURES:
            plot(results["records"], folder / f"{path.stem}.png")
        if path.stem in PAGES:
            text = PAGES[path.stem](results["records"]) + "\n\n"
        else:
            text = table(results["records"]) + "\n\n"
        text += f"*{environment_line(results['environment'])}*\n"
        (folder / f"{path.stem}.inc").write_text(text)
    (folder / "comparison.inc").write_text(comparison("rst") + "\n")


def scale_table(records):
    """Rows on disk and in several processes."""
    headers = ["rows", "GB", "seconds", "iterations", "reads", "GB above before", "kB an iteration"]
    cells = [
        [
            record["rows"],
            _shown(record.get("gigabytes"), ".0f"),
            _shown(record["seconds"], ".2f"),
            _shown(record.get("iterations"), "d"),
            _shown(record.get("reads"), ".1f"),
            _shown(record.get("peak"), ".2f", 1e-9),
            _shown(record.get("bytes_per_iteration"), ".0f", 1e-3),
        ]
        for record in records
    ]
    return tabulate(cells, headers, tablefmt="rst", disable_numparse=True)


def clusters_table(records):
    """Fits on a local cluster, and Spark's."""
    headers = ["rows", "columns", "classes", "competitor", "seconds", "times ours"]
    cells = [
        [
            f"{record['n']:,}",
            str(record["d"]),
            str(record["n_classes"]),
            record["competitor"],
            _shown(record["seconds"], ".2f"),
            _shown(record["times_ours"], ".1f"),
        ]
        for record in records
        if "seconds" in record
    ]
    return tabulate(cells, headers, tablefmt="rst", disable_numparse=True)


def jobs_table(records):
    """Grid searches with two jobs."""
    headers = ["data", "backend", "seconds", "times the ideal"]
    cells = [
        [
            record["dataset"],
            record["backend"],
            _shown(record["seconds"], ".2f"),
            _shown(record["times_ideal"], ".2f"),
        ]
        for record in records
    ]
    return tabulate(cells, headers, tablefmt="rst", disable_numparse=True)


def _shown(number, form, unit=1):
    return "" if number is None else format(number if unit == 1 else number * unit, form)


PICTURES = ["curves", "lasso_curves"]
"""Runs of which a picture is drawn."""

PAGES = {
    "curves": lambda records: "",
    "lasso_curves": closeness_table,
    "grids": grids_table,
    "grids_large": grids_table,
    "paths": paths_table,
    "stream": stream.summary,
    "solvers": solver_table,
    "load": load_table,
    "scale": scale_table,
    "clusters": clusters_table,
    "jobs": jobs_table,
}
"""How runs are shown that are not a table of records."""


def readme_table():
    """Table of times for the README."""
    return comparison("github")


def write_readme():
    """Bring the README up to date."""
    text = README.read_text()
    before, rest = text.split(TABLE_BEGIN)
    _, after = rest.split(TABLE_END)
    README.write_text(f"{before}{TABLE_BEGIN}\n{readme_table()}\n\n{TABLE_END}{after}")
    mnist = [record for record in published("curves")["records"] if record["dataset"] == "mnist"]
    plot(mnist, PICTURE)


def _is_ours(record):
    return record.get("competitor", "").startswith(OURS)


def _derived(record, ours):
    cells = dict(record)
    if "seconds" in record:
        cells["milliseconds"] = 1e3 * record["seconds"]
        cells["milliseconds_epoch"] = cells["milliseconds_call"] = cells["milliseconds"]
        own = ours.get(record.get("dataset"), {})
        cells["versus_ours"] = record["seconds"] / own.get("seconds", math.nan)
        cells["excess"] = record.get("objective", math.nan) / own.get("objective", math.nan) - 1
    if "peak" in record:
        cells["peak_mb"] = record["peak"] / 1e6
        cells["peak_x"] = record["peak"] / record["X"]
    return cells


if __name__ == "__main__":
    if sys.argv[1:] == ["--readme"]:
        write_readme()
    else:
        write(*sys.argv[1:])
