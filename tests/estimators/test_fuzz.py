"""Random problems of all kinds: whatever comes, no wrong answer without a warning.

What fails is printed with its seed: ``pytest tests/test_fuzz.py -k "[17]"`` runs it alone.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from tests.judge import judge
from torchlogreg import TorchLogisticRegression

N_PROBLEMS = 300


@dataclass(frozen=True)
class Case:
    """A random problem; its representation tells what it is."""

    seed: int
    kind: str
    dtype: str
    sparse: bool
    weights: str
    params: dict

    def __str__(self):
        return f"{self.__dict__}"


def random_case(seed):
    """Draw shape, scales, offsets, dtype, weights, balance, sparsity and parameters."""
    rng = np.random.default_rng(seed)
    n = int(np.exp(rng.uniform(np.log(10), np.log(400))))
    d = int(np.exp(rng.uniform(0, np.log(50))))
    n_classes = min(int(rng.choice([2, 2, 3, 5, 10])), n // 2)
    X = rng.normal(size=(n, d))
    if rng.random() < 0.3:
        X = X @ rng.normal(size=(d, d))
    scores = X @ rng.normal(size=(d, n_classes)) * rng.choice([0, 0.3, 1, 5]) / np.sqrt(d)
    y = (scores + rng.gumbel(size=scores.shape) * rng.choice([0, 1, 1])).argmax(axis=1)
    if rng.random() < 0.3:
        y[rng.random(n) < 0.9] = 0
    y[:n_classes] = np.arange(n_classes)
    kind = str(rng.choice(["plain", "scales", "far", "far and scales", "heavy tails"]))
    if "scales" in kind:
        X *= 10 ** rng.uniform(-3, 3, d)
    if "far" in kind:
        X += 10 ** rng.uniform(0, 4) * np.abs(X).max(axis=0) * rng.choice([-1, 1], d)
    if kind == "heavy tails":
        X = rng.standard_cauchy(size=(n, d))
    is_sparse = bool(rng.random() < 0.25)
    if is_sparse:
        X *= rng.random((n, d)) < 0.3
    dtype = str(rng.choice(["float32", "float64"]))
    weights = str(rng.choice(["none", "uniform", "four orders", "integer"]))
    weight = {
        "none": None,
        "uniform": rng.random(n),
        "four orders": 10 ** rng.uniform(-2, 2, n),
        "integer": np.maximum(rng.integers(0, 3, n), np.arange(n) < n_classes).astype(float),
    }[weights]
    params = {
        "C": float(10 ** rng.uniform(-4, 4)),
        "fit_intercept": bool(rng.random() < 0.8),
        "tol": float(rng.choice([1e-4, 1e-4, 1e-6])),
        "solver": str(rng.choice(["auto", "lbfgs", "newton-cholesky"])),
    }
    X = np.ascontiguousarray(X, dtype=dtype)
    case = Case(seed, kind, dtype, is_sparse, weights, params)
    return case, sparse.csr_array(X) if is_sparse else X, y, weight


def fitted(estimator, X, y, weight):
    """Fit, and tell whether there was a warning; any other than of convergence is an error."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        estimator.fit(X, y, sample_weight=weight)
    return estimator, bool(caught)


@pytest.mark.usefixtures("one_blas_thread")
@pytest.mark.parametrize("seed", range(N_PROBLEMS))
def test_no_wrong_answer_without_a_warning(seed):
    case, X, y, weight = random_case(seed)
    before = X.copy(), y.copy(), None if weight is None else weight.copy()
    model, has_warned = fitted(TorchLogisticRegression(**case.params), X, y, weight)
    ours = judge(model, X, y, weight)

    near = {"rel": 1e-5, "abs": ours.rounding + 1e-12}
    assert model.optimality_ == pytest.approx(ours.optimality, **near), case
    assert has_warned or ours.optimality <= case.params["tol"] + ours.rounding, case

    params = {name: value for name, value in case.params.items() if name != "solver"}
    # BLAS kernels of some processors leave floating-point flags behind, which NumPy warns of.
    with np.errstate(invalid="ignore"):
        reference, _ = fitted(LogisticRegression(max_iter=1000, **params), X, y, weight)
    theirs = judge(reference, X, y, weight).objective
    assert has_warned or ours.objective <= theirs + 1e-6 * max(theirs, 0.01), case

    after = X, y, weight
    for old, new in zip(before, after, strict=True):
        assert old is None or (abs(old - new)).max() == 0, case
