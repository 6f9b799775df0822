"""Linear probe: 20,000 x 512 embeddings, 100 classes, float32."""

from benchmarks.datasets.synthetic import clusters


def load():
    """Draw the data, the same every time."""
    return clusters(20_000, 512, 100)
