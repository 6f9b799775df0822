"""Breast cancer: 569 x 30, 2 classes, columns as they come: 0.001 to 4000."""

from sklearn.datasets import load_breast_cancer

from benchmarks.datasets.split import split


def load():
    """Return the data in float64."""
    return split(load_breast_cancer)
