"""scikit-learn's LogisticRegression with any of its solvers, and enough iterations."""

from scipy import sparse
from sklearn.linear_model import LogisticRegression

from benchmarks.competitors.not_applicable import NotApplicableError

MAX_ITER = 10_000
"""Iterations of L-BFGS and Newton; epochs of sag and saga are a tenth."""

MOST_WORK = {"newton-cholesky": 1e11, "sag": 3e6, "saga": 3e6}
"""Multiplications of an iteration, n P² for the Hessian and n d R for an epoch, beyond which fits
of these solvers may take minutes. They run in compiled code, which nothing can end before."""

MOST_COEF = 10_000
"""Coefficients P beyond which the Hessian takes gigabytes."""


def fit(X, y, C, solver="lbfgs", max_iter=None, most_work=None, **params):
    """Fit with the defaults, or with other parameters of the estimator."""
    max_iter = max_iter or (MAX_ITER // 10 if solver in ("sag", "saga") else MAX_ITER)
    _refuse_long_fits(X, y, solver, most_work or MOST_WORK.get(solver, float("inf")))
    model = LogisticRegression(C=C, solver=solver, max_iter=max_iter, **params).fit(X, y)
    return model.coef_, model.intercept_, int(model.n_iter_[0])


def _refuse_long_fits(X, y, solver, most_work):
    n_classes = int(y.max()) + 1
    n_outputs = n_classes if n_classes > 2 else 1
    n_coef = n_outputs * (X.shape[1] + 1)
    n_entries = X.nnz if sparse.issparse(X) else X.size
    work = X.shape[0] * n_coef**2 if solver == "newton-cholesky" else n_entries * n_outputs
    if work > most_work:
        raise NotApplicableError("takes minutes")
    if solver == "newton-cholesky" and n_coef > MOST_COEF:
        raise NotApplicableError(f"forms a Hessian of {n_coef} coefficients")
