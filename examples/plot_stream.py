"""
A stream: learning from data that is never there as a whole
===========================================================

Rows arrive in chunks and are gone after that. ``partial_fit`` makes a pass over each, with the
state of the optimizer kept in between, and the model can be asked at any time. The accuracy is
measured on each chunk before it is learnt from, and compared with that of a fit on all of it.
"""

import matplotlib.pyplot as plt
import numpy as np

from torchlogreg import TorchLogisticRegression

n_chunks, n_rows, n_features = 60, 500, 30
rng = np.random.default_rng(0)
truth = rng.normal(size=(3, n_features))


def stream(seed):
    """Yield chunks of rows of three classes."""
    rng = np.random.default_rng(seed)
    for _ in range(n_chunks):
        X = rng.normal(size=(n_rows, n_features))
        logits = X @ truth.T
        yield X, (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)


# %%
# ``classes`` names all labels that will ever come, as for every ``partial_fit`` of scikit-learn.
# ``C`` is that of the whole stream: the penalty is weighed by ``weight_seen_``, the rows so far.

model = TorchLogisticRegression(solver="adam", lr=0.01, batch_size=50)
accuracies = []
for X, y in stream(seed=1):
    if accuracies or hasattr(model, "coef_"):
        accuracies.append(model.score(X, y))
    model.partial_fit(X, y, classes=[0, 1, 2])
print(f"rows seen: {model.weight_seen_:.0f}")

# %%
# This stream is short enough to be kept for once: how good is the minimiser for all of its rows?

chunks = list(stream(seed=1))
exact = TorchLogisticRegression().fit(*(np.concatenate(part) for part in zip(*chunks, strict=True)))
X_new, y_new = map(np.concatenate, zip(*stream(seed=2), strict=True))
print(f"stream: accuracy on new rows {model.score(X_new, y_new):.4f}")
print(f"exact:  accuracy on new rows {exact.score(X_new, y_new):.4f}")

# %%

fig, ax = plt.subplots(layout="constrained")
ax.plot(np.arange(1, n_chunks) * n_rows, accuracies, label="each chunk, before it is learnt")
ax.axhline(exact.score(X_new, y_new), color="k", linestyle=":", label="exact, new rows")
ax.set(xlabel="rows seen", ylabel="accuracy", title="Learning from a stream")
ax.legend(loc="lower right")
plt.show()
