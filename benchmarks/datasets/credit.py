"""Like credit scoring: 30,000 x 23, 2 classes, float64, columns as they come, 0.1 to 100,000."""

from benchmarks.datasets.synthetic import mixed


def load():
    """Draw the data, the same every time."""
    return mixed(30_000, 14, [2, 4, 3])
