"""
Columns of different scales
===========================

The columns of the wine data range from 0.1 to 1700. scikit-learn's L-BFGS needs thousands of
iterations on them and by default stops after a hundred; the preconditioned L-BFGS takes a few, for
the same objective. Scaling the columns first would help scikit-learn, but it would change the
objective: the penalty acts on the coefficients.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from scipy.special import logsumexp
from sklearn.datasets import load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from torchlogreg import TorchLogisticRegression

X, y = load_wine(return_X_y=True)


def objective(model):
    """Mean log-loss plus penalty, for C = 1."""
    eta = X @ model.coef_.T + model.intercept_
    loss = logsumexp(eta, axis=1) - eta[np.arange(len(y)), y]
    return loss.mean() + np.sum(model.coef_**2) / (2 * len(y))


# %%
# Every iteration of our fit is in its history.

ours = TorchLogisticRegression(solver="lbfgs", tol=1e-7).fit(X, y)
losses = np.array(ours.history_[:, "train_loss"])
best = losses[-1]
print(f"ours: {ours.n_iter_[0]} iterations, gradient norm {ours.optimality_:.1e}")

# %%
# scikit-learn is stopped after more and more iterations.

budgets = [10, 30, 100, 300, 1000, 3000, 10_000]
theirs = []
with warnings.catch_warnings():
    warnings.simplefilter("ignore", ConvergenceWarning)
    for max_iter in budgets:
        model = LogisticRegression(tol=1e-7, max_iter=max_iter).fit(X, y)
        theirs.append(objective(model) - best)
        print(f"scikit-learn, {max_iter:6d} iterations: {theirs[-1]:.1e} above ours")

# %%

fig, ax = plt.subplots(layout="constrained")
ax.loglog(np.arange(1, len(losses)), losses[:-1] - best, marker="o", label="torchlogreg")
ax.loglog(budgets, np.maximum(theirs, 1e-13), marker="s", label="scikit-learn, lbfgs")
ax.set(
    xlabel="iterations", ylabel="objective above the minimum", title="Wine, columns as they come"
)
ax.legend()
plt.show()
