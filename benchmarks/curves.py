"""Objective against time: every competitor stopped early, and earlier."""

import math
import statistics
import sys
from pathlib import Path

from benchmarks.competitors import SWEEPS
from benchmarks.competitors.not_applicable import NotApplicableError
from benchmarks.datasets import DATASETS
from benchmarks.judge import objective
from benchmarks.runner import timed_fits

PATIENCE = 15.0
"""Seconds of a fit after which a competitor is not asked for a longer one."""


def curves(dataset, C=1.0, sweeps=SWEEPS, judge=objective, patience=PATIENCE):
    """Fit with ever more iterations, or to ever smaller tolerances.

    Returns one record a competitor and parameter, with the median time of three fits and the
    objective above the lowest one of all.
    """
    data = DATASETS[dataset]()
    records = []
    for competitor, (fit, sweep) in sweeps.items():
        ((parameter, values),) = sweep.items()
        try:
            for value in values:
                seconds, solution = _median_fit(fit, data, C, {parameter: value})
                record = {"dataset": dataset, "competitor": competitor, parameter: value}
                record["seconds"] = seconds
                record["objective"] = judge(*solution[:2], data.X_train, data.y_train, C)
                records.append(record)
                if seconds > patience:
                    break
        except NotApplicableError as error:
            print(f"{competitor} is left out on {dataset}: {error}", file=sys.stderr)
    best = min(record["objective"] for record in records)
    for record in records:
        record["suboptimality"] = record["objective"] - best
    return records


def _median_fit(fit, data, C, params):
    """Median time of three fits, of one if that is long, and the solution."""
    times = []
    while len(times) < 3 and sum(times) < 1:
        solution, elapsed = timed_fits(fit, data, C, **params)
        times.append(elapsed)
    return statistics.median(times), solution


def first_as_good(records, excess=1e-4):
    """Return the shortest time of each competitor to within this of the lowest, relatively.

    One row a data set and competitor, with ours first and infinity for who did not come so close.
    """
    rows = {}
    for record in records:
        lowest = record["objective"] - record["suboptimality"]
        is_close = record["suboptimality"] <= excess * lowest
        key = record["dataset"], record["competitor"]
        rows[key] = min(rows.get(key, math.inf), record["seconds"] if is_close else math.inf)
    return [(*key, seconds) for key, seconds in rows.items()]


def plot(records, path):
    """Draw f - f* against seconds, both logarithmic, one panel a data set, three in a row."""
    import matplotlib.pyplot as plt

    datasets = list(dict.fromkeys(record["dataset"] for record in records))
    n_columns = min(len(datasets), 3)
    n_rows = -(-len(datasets) // n_columns)
    figure, axes = plt.subplots(
        n_rows,
        n_columns,
        figsize=(4 * n_columns if n_columns > 1 else 6.4, 3.4 * n_rows),
        squeeze=False,
        layout="constrained",
    )
    for ax in axes.flat[len(datasets) :]:
        ax.set_axis_off()
    for ax, dataset in zip(axes.flat, datasets, strict=False):
        here = [record for record in records if record["dataset"] == dataset]
        for competitor in dict.fromkeys(record["competitor"] for record in here):
            points = [
                (record["seconds"], record["suboptimality"])
                for record in here
                if record["competitor"] == competitor and record["suboptimality"] > 0
            ]
            ax.loglog(*zip(*points, strict=True), marker="o", markersize=3, label=competitor)
        ax.set(title=dataset, xlabel="seconds")
        ax.grid(alpha=0.3)
    for ax in axes[:, 0]:
        ax.set_ylabel("objective above the lowest")
    axes[0, 0].legend(fontsize="small")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    plt.close(figure)
