"""MNIST: 60,000 x 784, 10 classes, pixels in [0, 1]."""

from torchlogreg.datasets import load_mnist


def load():
    """Return the data in float32."""
    return load_mnist()
