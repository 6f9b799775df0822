"""Wide: 200 x 50,000, 2 classes, float32."""

from benchmarks.datasets.synthetic import clusters


def load():
    """Draw the data, the same every time."""
    return clusters(200, 50_000, 2)
