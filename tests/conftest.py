"""Settings that must be made before the libraries under test are imported, and MNIST."""

import os

# Without it, SciPy makes scikit-learn skip its check of array API input.
os.environ.setdefault("SCIPY_ARRAY_API", "1")

import pytest


@pytest.fixture(scope="session")
def mnist():
    """The real MNIST; needs $TORCHLOGREG_DATA or a network."""
    from torchlogreg.datasets import load_mnist

    try:
        return load_mnist()
    except FileNotFoundError as error:
        pytest.skip(f"MNIST is not at hand: {error}")
