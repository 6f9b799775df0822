"""
MNIST: mini-batches, a progress bar, and ten templates
======================================================

The classic first network without a hidden layer: ``torchvision`` with ``ToTensor``, mini-batches of
100, SGD with a learning rate of 0.1, one epoch. About 0.90 of the test digits are recognised; the
exact solver, on the same machine and in about two seconds, reaches 0.926.
"""

import matplotlib.pyplot as plt
from torchvision.datasets import MNIST
from torchvision.transforms import ToTensor

from torchlogreg import TorchLogisticRegression
from torchlogreg.datasets import data_root, load_mnist
from torchlogreg.plotting import CoefficientImageDisplay

data = load_mnist()  # finds or downloads it
digits = MNIST(data_root(), train=True, transform=ToTensor())

# %%
# The data set goes in as it is: rows are read and transformed batch by batch. ``verbose=1`` shows a
# progress bar.

from_dataset = TorchLogisticRegression(
    solver="sgd", lr=0.1, batch_size=100, max_iter=1, tol=None, verbose=1
).fit(digits)
print(f"from the data set: test accuracy {from_dataset.score(data.X_test, data.y_test):.4f}")

# %%
# Arrays are faster, since no row passes through Python, and no less accurate.

for seed in range(5):
    model = TorchLogisticRegression(
        solver="sgd", lr=0.1, batch_size=100, max_iter=1, tol=None, random_state=seed
    ).fit(data.X_train, data.y_train)
    seconds, accuracy = model.history_[-1, "seconds"], model.score(data.X_test, data.y_test)
    print(f"arrays, seed {seed}:  test accuracy {accuracy:.4f} after {seconds:.2f} s")

exact = TorchLogisticRegression().fit(data.X_train, data.y_train)
print(f"exact solver:      test accuracy {exact.score(data.X_test, data.y_test):.4f}")

# %%
# Each row of ``coef_`` is a picture of what speaks for its digit (red) and against it (blue).

CoefficientImageDisplay.from_estimator(model)
plt.show()
