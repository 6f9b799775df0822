"""Wine: 178 x 13, 3 classes, columns as they come: 0.1 to 1700."""

from sklearn.datasets import load_wine

from benchmarks.datasets.split import split


def load():
    """Return the data in float64."""
    return split(load_wine)
