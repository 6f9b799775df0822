"""
Callbacks and early stopping
============================

A small training set, hardly a penalty: a long training learns the noise. Three ways to watch it
and to end it: ``early_stopping`` holds rows out by itself, skorch's callbacks record what you like
at every epoch, and a callback of your own stops when you say so.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import make_classification
from sklearn.model_selection import train_test_split
from skorch.callbacks import Callback, EpochScoring, LRScheduler

from torchlogreg import TorchLogisticRegression
from torchlogreg.plotting import LossCurveDisplay

X, y = make_classification(
    1200,
    n_features=200,
    n_informative=20,
    n_redundant=0,
    n_clusters_per_class=1,
    flip_y=0.1,
    random_state=0,
)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.5, random_state=0)
params = {"C": 1e3, "solver": "adam", "lr": 0.005, "batch_size": 50, "max_iter": 150}

# %%
# ``early_stopping`` ends training when the accuracy on rows held out has not improved for
# ``n_iter_no_change`` epochs, and returns to the best epoch. ``tol=None`` goes on to the end.

early = TorchLogisticRegression(**params, early_stopping=True, n_iter_no_change=15)
early.fit(X_train, y_train)
long = TorchLogisticRegression(**params, tol=None).fit(X_train, y_train)
for name, model in [("early stopping", early), ("all epochs", long)]:
    print(f"{name:15} {model.n_iter_[0]:4d} epochs, test {model.score(X_test, y_test):.3f}")

# %%
# Callbacks of skorch: a score at every epoch, a decaying learning rate. And one of our own: to
# stop, it raises ``KeyboardInterrupt``, as callbacks of skorch do.


class StopAtAccuracy(Callback):
    """End training when the accuracy on the training rows is good enough."""

    def on_epoch_end(self, net, **kwargs):
        """Look at the score of the epoch."""
        if net.history[-1, "accuracy"] >= 0.9:
            raise KeyboardInterrupt


scoring = EpochScoring("accuracy", lower_is_better=False, on_train=True, name="accuracy")
decay = LRScheduler("CosineAnnealingLR", T_max=150)
watched = TorchLogisticRegression(**params, tol=None, callbacks=[scoring, decay, StopAtAccuracy()])
watched.fit(X_train, y_train)
accuracy, epochs = watched.history_[-1, "accuracy"], watched.n_iter_[0]
print(f"stopped after {epochs} epochs at {accuracy:.3f} on the training rows")

# %%

fig, ax = plt.subplots(layout="constrained")
LossCurveDisplay.from_estimator(long, ax=ax, name="training, all epochs", color="C1")
curve = LossCurveDisplay.from_estimator(early, ax=ax, name="training", color="C0")
curve.plot(ax, y="valid_loss", name="rows held out", color="C0", linestyle="--")
ax.set(title="Training loss falls on and on", ylabel="loss")
plt.show()
