"""MNIST in float64."""

from benchmarks.datasets import mnist
from torchlogreg.datasets import Split


def load():
    """Return the data in float64."""
    data = mnist.load()
    return Split(data.X_train.astype("f8"), data.y_train, data.X_test.astype("f8"), data.y_test)
