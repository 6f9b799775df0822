"""Like letter recognition: 20,000 x 16 whole numbers, 26 classes, float64, as they come."""

from benchmarks.datasets.synthetic import counts


def load():
    """Draw the data, the same every time."""
    return counts(20_000, 16, 26)
