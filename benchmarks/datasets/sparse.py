"""Sparse: 20,000 x 50,000 CSR, 4 classes, 50 words a row, float64."""

from benchmarks.datasets.synthetic import words


def load():
    """Draw the data, the same every time."""
    return words(20_000, 50_000, 4)
