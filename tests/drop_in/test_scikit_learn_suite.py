"""scikit-learn's own tests of its logistic regression, with ours in its place.

Its file is read from the installed package, and its imports are replaced. Which of its tests do not
take part, and why, is in ``conftest.py``.
"""

import importlib.util
from pathlib import Path

import pytest

from tests.at_hand import combinations  # noqa: F401 (for the tests that are read)
from tests.drop_in.stand_ins import LogisticRegression, LogisticRegressionCV

REPLACEMENTS = (
    (
        "from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, SGDClassifier",
        "from sklearn.linear_model import SGDClassifier",
    ),
    (
        'SOLVERS = ("lbfgs", "liblinear", "newton-cg", "newton-cholesky", "sag", "saga")',
        'SOLVERS = ("lbfgs", "newton-cg", "newton-cholesky", "prox-newton")',
    ),
    ('solver="saga"', 'solver="prox-newton"'),  # what is there for l1_ratio > 0
    ('solver="sag"', 'solver="newton-cg"'),
    # float32 does not reach that, and we say so
    (
        'solver="lbfgs", tol=1e-12,',
        'solver="lbfgs", tol=1e-12 if dtype_name != "float32" else 1e-6,',
    ),
    ("    yield_namespace_device_dtype_combinations(),\n)", "    list(combinations()),\n)"),
)

spec = importlib.util.find_spec("sklearn.linear_model.tests.test_logistic")
path = Path(spec.origin)
source = path.read_text()
if not all(old in source for old, _ in REPLACEMENTS):
    pytest.skip("scikit-learn 1.9 has these tests", allow_module_level=True)
for old, new in REPLACEMENTS:
    source = source.replace(old, new)
exec(compile(source, str(path), "exec"), globals())
assert LogisticRegression.__module__ == LogisticRegressionCV.__module__ == "tests.drop_in.stand_ins"
pytestmark = [
    pytest.mark.filterwarnings("default"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytestmark,  # noqa: F821
]


@pytest.fixture
def global_random_seed():
    """scikit-learn's own default."""
    return 42
