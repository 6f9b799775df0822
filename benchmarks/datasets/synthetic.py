"""Synthetic data of the shapes that the small real data sets do not have."""

import numpy as np
from scipy import sparse

from torchlogreg.datasets import Split

SEED = 0


def clusters(n, d, n_classes, *, rank=50, noise=0.5, dtype=np.float32):
    """Correlated columns (low rank plus noise) and labels drawn from a softmax of them.

    A quarter as many test rows come from the same distribution.
    """
    rng = np.random.default_rng(SEED)
    rank = min(rank, d)
    n_all = n + n // 4
    mixing = rng.normal(size=(rank, d)).astype(dtype) / rank**0.5
    X = rng.normal(size=(n_all, rank)).astype(dtype) @ mixing
    X += noise * rng.normal(size=(n_all, d)).astype(dtype)
    return _labelled(X, n, n_classes, rng)


def independent(n, d, n_classes, *, dtype=np.float64):
    """Independent normal columns and labels drawn from a softmax of them."""
    rng = np.random.default_rng(SEED)
    return _labelled(rng.normal(size=(n + n // 4, d)).astype(dtype), n, n_classes, rng)


def mixed(n, n_numbers, n_levels, *, dtype=np.float64):
    """A table as it comes: numbers of very different sizes, and categories as one-hot columns.

    Two classes, of which the second has a quarter of the rows or so.
    """
    rng = np.random.default_rng(SEED)
    n_all = n + n // 4
    size = 10.0 ** rng.uniform(-1, 5, size=n_numbers)
    shared = rng.normal(size=(n_all, 3)) @ rng.normal(size=(3, n_numbers))
    standard = 0.6 * shared + rng.normal(size=(n_all, n_numbers))
    parts = [np.exp(0.5 * standard) * size]
    effects = [standard @ rng.normal(size=n_numbers) / max(n_numbers, 1) ** 0.5]
    for levels in n_levels:
        level = rng.choice(levels, size=n_all, p=rng.dirichlet(np.full(levels, 0.7)))
        parts.append(np.eye(levels)[level])
        effects.append(0.7 * rng.normal(size=levels)[level])
    score = sum(effects)
    score -= np.quantile(score, 0.75)
    y = (score + rng.logistic(size=n_all) > 0).astype(np.int64)
    X = np.hstack(parts).astype(dtype)
    return Split(X[:n], y[:n], X[n:], y[n:])


def counts(n, d, n_classes, *, dtype=np.float64):
    """Small whole numbers, 0 to 15, with labels that are nearly a function of them."""
    rng = np.random.default_rng(SEED)
    n_all = n + n // 4
    y = rng.integers(n_classes, size=n_all)
    centres = rng.uniform(2, 13, size=(n_classes, d))
    X = np.clip(np.rint(centres[y] + 2.5 * rng.normal(size=(n_all, d))), 0, 15).astype(dtype)
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
    return _labelled(sparse.csr_matrix(counts.log1p()), n, n_classes, rng)


def one_hot(n, d, *, n_fields=5):
    """Categories as one-hot columns, CSR: ``n_fields`` ones a row, two classes."""
    rng = np.random.default_rng(SEED)
    n_all, levels = n + n // 4, d // n_fields
    level = (levels * rng.uniform(size=(n_all, n_fields)) ** 2).astype(np.int64)
    columns = level + levels * np.arange(n_fields)
    rows = np.repeat(np.arange(n_all), n_fields)
    X = sparse.csr_matrix((np.ones(rows.size), (rows, columns.ravel())), shape=(n_all, d))
    return _labelled(X, n, 2, rng)


def few_useful(n, d, n_classes, *, density=1e-3, n_useful=500):
    """Normal numbers in random places, CSR; labels from a softmax of a few of the columns."""
    rng = np.random.default_rng(SEED)
    n_all = n + n // 4
    X = sparse.random_array((n_all, d), density=density, rng=rng, data_sampler=rng.standard_normal)
    weights = np.zeros((d, n_classes))
    weights[rng.choice(d, n_useful, replace=False)] = 5 * rng.normal(size=(n_useful, n_classes))
    return _labelled(sparse.csr_matrix(X), n, n_classes, rng, weights)


def _labelled(X, n, n_classes, rng, weights=None):
    """Draw labels from a softmax of a linear map; the first n rows are for training."""
    n_all, d = X.shape
    if weights is None:
        weights = rng.normal(size=(d, n_classes))
        if not sparse.issparse(X):
            weights = 3 * weights.astype(X.dtype) / d**0.5
    scores = X @ weights + rng.gumbel(size=(n_all, n_classes)).astype(X.dtype)
    # Of many classes some have no rows to train on.
    labels, rank = scores.argmax(axis=1), np.full(n_classes, -1)
    present = np.unique(labels[:n])
    rank[present] = np.arange(len(present))
    y = rank[labels]
    known = np.flatnonzero(y[n:] >= 0) + n
    return Split(X[:n], y[:n], X[known], y[known])
