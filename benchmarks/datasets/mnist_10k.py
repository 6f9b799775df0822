"""The first 10,000 rows of MNIST."""

from torchlogreg.datasets import Split, load_mnist

N_ROWS = 10_000


def load():
    """Return the data in float32."""
    whole = load_mnist()
    return Split(whole.X_train[:N_ROWS], whole.y_train[:N_ROWS], whole.X_test, whole.y_test)
