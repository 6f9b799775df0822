"""Breast cancer: 569 x 30, 2 classes, columns scaled."""

from sklearn.datasets import load_breast_cancer

from benchmarks.datasets.split import split


def load():
    """Return the data in float64."""
    return split(load_breast_cancer, scale=True)
