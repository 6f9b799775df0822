"""
MNIST: objective against time, next to scikit-learn
===================================================

Both minimise the same objective on the same machine. scikit-learn is stopped after more and more
iterations; one fit of ours has its whole way in its history. What is drawn is how far each is
above the minimum after how many seconds.
"""

import time
import warnings

import matplotlib.pyplot as plt
import numpy as np
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import ConfusionMatrixDisplay

from torchlogreg import TorchLogisticRegression
from torchlogreg.datasets import load_mnist
from torchlogreg.plotting import LossCurveDisplay

X, y, X_test, y_test = load_mnist()  # float32, pixels between 0 and 1


def objective(model):
    """Mean log-loss plus penalty, for C = 1."""
    eta = model.decision_function(X).astype(np.float64)
    loss = logsumexp(eta, axis=1) - eta[np.arange(len(y)), y]
    return loss.mean() + np.sum(np.square(model.coef_, dtype=np.float64)) / (2 * len(y))


# %%
# The minimum, to be subtracted, is that of a fit with a tolerance far below the default.

minimum = objective(TorchLogisticRegression(tol=1e-7).fit(X.astype(np.float64), y))

ours = TorchLogisticRegression().fit(X, y)
seconds = sum(ours.history_[:, "seconds"])
print(f"torchlogreg: {seconds:5.2f} s, {objective(ours) - minimum:.1e} above the minimum")

# %%

budgets, times, excess = [10, 30, 100], [], []
for max_iter in budgets:
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs = LogisticRegression(max_iter=max_iter).fit(X, y)
    times.append(time.perf_counter() - start)
    excess.append(objective(theirs) - minimum)
    print(f"scikit-learn, {max_iter:3d} iterations: {times[-1]:5.2f} s, {excess[-1]:.1e} above")

# %%

display = LossCurveDisplay.from_estimator(
    ours, x="seconds", minimum=minimum, name="torchlogreg", marker="o"
)
display.ax_.loglog(times, excess, marker="s", label="scikit-learn, lbfgs")
display.ax_.set(title="MNIST, C = 1", xlabel="seconds")
display.ax_.legend()

# %%
# What the better minimum is worth: the digits that are confused.

ConfusionMatrixDisplay.from_estimator(ours, X_test, y_test, cmap="Blues")
plt.title(f"test accuracy {ours.score(X_test, y_test):.4f}")
plt.show()
