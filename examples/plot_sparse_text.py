"""
A sparse model of sparse data
=============================

Counts of words make a matrix with a hundred thousand columns, nearly all of whose entries are zero.
A penalty on the absolute values finds the few words that matter. The matrix stays sparse, and the
solver works with the words that have a weight; all others cost two products per iteration.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy import sparse

from torchlogreg import TorchLogisticRegression, logistic_regression_path

N_TEXTS, N_WORDS, N_TELLING = 5_000, 100_000, 40


def texts(seed):
    """Counts of words, 60 in a text; of two topics that forty common words tell apart."""
    rng = np.random.default_rng(seed)
    topic = rng.integers(2, size=N_TEXTS)
    frequency = 1 / np.arange(5, N_WORDS + 5)
    counts = []
    for k in range(2):
        chosen = frequency.copy()
        chosen[:N_TELLING] *= np.where(np.arange(N_TELLING) % 2 == k, 1.5, 0.7)
        counts.append(rng.choice(N_WORDS, p=chosen / chosen.sum(), size=(N_TEXTS, 60)))
    words = np.where(topic[:, None] == 1, counts[1], counts[0]).ravel()
    rows = np.repeat(np.arange(N_TEXTS), 60)
    X = sparse.csr_matrix((np.ones(len(words)), (rows, words)), shape=(N_TEXTS, N_WORDS))
    X.sum_duplicates()
    return X, topic


X, y = texts(seed=0)
X_new, y_new = texts(seed=1)

# %%
# How many words does it take?

path = logistic_regression_path(X, y, n_Cs=15, eps=0.05)
accuracies = []
for coef, intercept in zip(path.coefs, path.intercepts, strict=True):
    accuracies.append(np.mean((X_new @ coef[0] + intercept > 0) == y_new))

fig, ax = plt.subplots(layout="constrained")
ax.plot(path.n_nonzero, accuracies, marker="o")
ax.set(xlabel="words with a weight", ylabel="accuracy on new texts", xscale="symlog")
ax.set_title(f"{N_WORDS:,} words, of which {N_TELLING} matter")
plt.show()

# %%
# The best of these models, with its weights as a sparse matrix.

C = path.Cs[np.argmax(accuracies)]
model = TorchLogisticRegression(C=C, l1_ratio=1.0).fit(X, y)
size = model.coef_.nbytes
model.sparsify()
telling = np.mean(model.coef_.indices < N_TELLING)
print(f"C={C:.3f}: {model.coef_.nnz} words, {telling:.0%} of them among the {N_TELLING}")
print(f"weights: {size:,} bytes as an array, {model.coef_.data.nbytes:,} as a sparse matrix")
print(f"accuracy on new texts: {model.score(X_new, y_new):.3f}")
