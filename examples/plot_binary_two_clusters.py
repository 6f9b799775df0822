"""
Two clusters: binary logistic regression with a sigmoid and BCE
===============================================================

The tutorial by which many meet PyTorch: two clusters in the plane, a linear layer with a sigmoid,
binary cross-entropy, and gradient descent with a learning rate of 0.01 over the whole training
set. It makes 200,000 epochs; 20,000 show where they lead, and the exact solver goes there at once.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import make_blobs
from sklearn.inspection import DecisionBoundaryDisplay
from sklearn.model_selection import train_test_split

from torchlogreg import TorchLogisticRegression
from torchlogreg.plotting import LossCurveDisplay

X, y = make_blobs(300, centers=[(-2, -1), (2.5, 2)], cluster_std=0.8, random_state=0)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=1 / 3, random_state=0)

# %%
# ``batch_size`` is the whole training set, ``tol=None`` makes all epochs.

sgd = TorchLogisticRegression(
    solver="sgd", lr=0.01, batch_size=len(X_train), max_iter=20_000, tol=None
).fit(X_train, y_train)
exact = TorchLogisticRegression().fit(X_train, y_train)

# %%
# The module returns logits. With a sigmoid and BCE it is the tutorial's model, and its loss, with
# the penalty that ``C=1`` stands for, is the one that was minimised.

module = exact.module_
proba = torch.sigmoid(module(torch.from_numpy(X_train))).squeeze(-1)
bce = torch.nn.BCELoss()(proba, torch.from_numpy(y_train).double()).item()
penalty = 0.5 * np.sum(exact.coef_**2) / len(X_train)
print(f"BCE {bce:.6f} + penalty {penalty:.6f} = {bce + penalty:.6f}")
print(f"minimised:                     {exact.history_[-1, 'train_loss']:.6f}")

for name, model in [("SGD", sgd), ("exact", exact)]:
    loss, epochs = model.history_[-1, "train_loss"], model.n_iter_[0]
    accuracy, new = model.score(X_test, y_test), model.predict([[1, 1]])[0]
    print(f"{name:5} {epochs:6d} epochs, loss {loss:.6f}, test {accuracy:.3f}, (1, 1) is {new}")

# %%

fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
LossCurveDisplay.from_estimator(sgd, ax=left, name="SGD, lr 0.01")
left.axhline(exact.history_[-1, "train_loss"], color="k", linestyle=":", label="the minimum")
left.set(xscale="log", yscale="log", title="Loss curve")
left.legend()

DecisionBoundaryDisplay.from_estimator(
    exact, X, response_method="predict_proba", cmap="RdBu_r", alpha=0.4, ax=right
)
for points, labels, marker in [(X_train, y_train, "o"), (X_test, y_test, "^")]:
    right.scatter(*points.T, c=labels, cmap="RdBu_r", marker=marker, edgecolor="k", s=25)
right.scatter(1, 1, marker="*", s=200, color="gold", edgecolor="k", label="the new point (1, 1)")
right.set(title="Decision boundary; training (circles) and test")
right.legend()
plt.show()
