"""Tall: 1,000,000 x 20, 2 classes, float32."""

from benchmarks.datasets.synthetic import clusters


def load():
    """Draw the data, the same every time."""
    return clusters(1_000_000, 20, 2)
