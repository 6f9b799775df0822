"""How the time of a fit grows with rows, columns and classes."""

import statistics

from benchmarks.competitors import COMPETITORS
from benchmarks.datasets.synthetic import clusters
from benchmarks.judge import objective
from benchmarks.runner import timed_fits

BASE = {"n": 20_000, "d": 64, "n_classes": 5}
SCALES = {
    "n": [2_000, 20_000, 200_000],
    "d": [16, 64, 256, 1024],
    "n_classes": [2, 5, 20, 80],
}


def growth(competitors, C=1.0):
    """Vary one size at a time; return one record a size and competitor.

    The competitors must be installed: there is no use in half a comparison.
    """
    records = []
    for size, values in SCALES.items():
        for value in values:
            shape = {**BASE, size: value}
            data = clusters(**shape)
            for competitor in competitors:
                fit = COMPETITORS[competitor]
                timed_fits(fit, data, C)
                solution, _ = timed_fits(fit, data, C)
                times = [timed_fits(fit, data, C)[1] for _ in range(3)]
                records.append(
                    {
                        **shape,
                        "varied": size,
                        "competitor": competitor,
                        "seconds": statistics.median(times),
                        "objective": objective(*solution[:2], data.X_train, data.y_train, C),
                        "iterations": solution[2],
                    }
                )
    return records
