"""Digits: 1797 x 64, 10 classes, divided by 16 (0 to 1)."""

from benchmarks.datasets import digits


def load():
    """Return the data in float64."""
    data = digits.load()
    return data._replace(X_train=data.X_train / 16, X_test=data.X_test / 16)
