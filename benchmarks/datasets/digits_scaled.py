"""Digits: 1797 x 64, 10 classes, columns scaled."""

from sklearn.datasets import load_digits

from benchmarks.datasets.split import split


def load():
    """Return the data in float64."""
    return split(load_digits, scale=True)
