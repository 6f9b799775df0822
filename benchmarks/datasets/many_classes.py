"""Many classes: 20,000 x 64, 200 classes, float32."""

from benchmarks.datasets.synthetic import clusters


def load():
    """Draw the data, the same every time."""
    return clusters(20_000, 64, 200)
