"""How the time of a fit grows with rows, columns and classes, next to the fastest peer."""

from benchmarks.datasets.synthetic import clusters
from benchmarks.runner import fastest_as_good, run

BASE = {"n": 20_000, "d": 64, "n_classes": 5}
SCALES = {
    "n": [2_000, 20_000, 200_000],
    "d": [16, 64, 256, 1024],
    "n_classes": [2, 5, 20, 80],
}


def growth(C=1.0):
    """Vary one size at a time; return our record of each size and that of the fastest peer."""
    records = []
    for size, values in SCALES.items():
        for value in values:
            shape = {**BASE, size: value}
            every = run(f"{size}={value}", clusters(**shape), C)
            for record in (every[0], fastest_as_good(every)):
                if record is not None:
                    records.append({**shape, "varied": size, **record})
    return records
