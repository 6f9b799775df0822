"""Digits: 1797 x 64, 10 classes, as it comes (0 to 16)."""

from sklearn.datasets import load_digits

from benchmarks.datasets.split import split


def load():
    """Return the data in float64."""
    return split(load_digits)
