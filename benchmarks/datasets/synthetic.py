"""Synthetic data of the shapes that the small real data sets do not have."""

import numpy as np
from scipy import sparse

from torchlogreg.datasets import Split

SEED = 0


def clusters(n, d, n_classes, *, rank=50, dtype=np.float32):
    """Correlated columns (low rank plus noise) and labels drawn from a softmax of them.

    A quarter as many test rows come from the same distribution.
    """
    rng = np.random.default_rng(SEED)
    rank = min(rank, d)
    n_all = n + n // 4
    mixing = rng.normal(size=(rank, d)).astype(dtype) / rank**0.5
    X = rng.normal(size=(n_all, rank)).astype(dtype) @ mixing
    X += 0.5 * rng.normal(size=(n_all, d)).astype(dtype)
    weights = 3 * rng.normal(size=(d, n_classes)).astype(dtype) / d**0.5
    y = (X @ weights + rng.gumbel(size=(n_all, n_classes)).astype(dtype)).argmax(axis=1)
    return Split(X[:n], y[:n], X[n:], y[n:])


def words(n, d, n_classes, *, n_words=50):
    """Counts of words, CSR: a few frequent columns and very many rare ones."""
    rng = np.random.default_rng(SEED)
    n_all = n + n // 4
    frequency = 1 / np.arange(1, d + 1)
    frequency /= frequency.sum()
    columns = rng.choice(d, size=n_all * n_words, p=frequency)
    rows = np.repeat(np.arange(n_all), n_words)
    counts = sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=(n_all, d))
    X = sparse.csr_matrix(counts.log1p())
    scores = X @ rng.normal(size=(d, n_classes)) + rng.gumbel(size=(n_all, n_classes))
    y = scores.argmax(axis=1)
    return Split(X[:n], y[:n], X[n:], y[n:])
