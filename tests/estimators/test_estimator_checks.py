"""scikit-learn's own contract for estimators."""

import pytest
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import (
    check_dataframe_column_names_consistency,
    check_estimator,
    check_inplace_ensure_writeable,
    check_param_validation,
    parametrize_with_checks,
)

from tests.at_hand import IS_OLD, combinations, mixtures
from torchlogreg import TorchLogisticRegression, TorchLogisticRegressionCV

# Of all libraries that a check could be made with, those that are here: nothing is skipped. The
# checks of scikit-learn 1.8 want the labels in the library of X, those of 1.9 do not.
estimator_checks.yield_namespace_device_dtype_combinations = (
    combinations if not IS_OLD else lambda: ()
)
if hasattr(estimator_checks, "yield_mixed_namespace_input_permutations"):  # from 1.9 on
    estimator_checks.yield_mixed_namespace_input_permutations = mixtures

ESTIMATORS = [
    TorchLogisticRegression(),
    TorchLogisticRegression(solver="lbfgs"),
    TorchLogisticRegression(solver="newton-cg", tol=1e-10),
    TorchLogisticRegression(solver="newton-cholesky"),
    TorchLogisticRegression(l1_ratio=0.5, tol=1e-10),
    TorchLogisticRegression(l1_ratio=1, tol=1e-10),
    TorchLogisticRegression(solver="sgd"),
    TorchLogisticRegression(solver="adam", lr=0.1),
    TorchLogisticRegressionCV(),
]


# The checks fit bad data on purpose, some of which does not converge or is separable.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks(ESTIMATORS)
def test_every_check(estimator, check):
    check(estimator)


@pytest.mark.filterwarnings("ignore::Warning")
@pytest.mark.parametrize(
    "estimator", [TorchLogisticRegression(), TorchLogisticRegressionCV()], ids=repr
)
def test_check_estimator_passes_without_skips(estimator):
    results = check_estimator(estimator, on_skip=None, on_fail=None)
    assert len(results) > 50
    assert {result["status"] for result in results} == {"passed"}


@pytest.mark.parametrize(
    "check",
    [
        check_param_validation,
        check_dataframe_column_names_consistency,
        check_inplace_ensure_writeable,
    ],
)
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
def test_checks_outside_check_estimator(estimator, check):
    check(type(estimator).__name__, estimator)
