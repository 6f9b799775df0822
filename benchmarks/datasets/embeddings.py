"""Embeddings: 30,000 x 1,024 highly correlated columns, 10 classes, float32."""

from benchmarks.datasets.synthetic import clusters


def load():
    """Draw the data, the same every time."""
    return clusters(30_000, 1024, 10, noise=0.1)
