"""Iris: 150 x 4, 3 classes, columns scaled."""

from sklearn.datasets import load_iris

from benchmarks.datasets.split import split


def load():
    """Return the data in float64."""
    return split(load_iris, scale=True)
