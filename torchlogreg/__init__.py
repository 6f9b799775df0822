"""Logistic regression for scikit-learn, solved by PyTorch."""

from torchlogreg import moved as _moved  # noqa: F401 (pickles look there)
from torchlogreg.estimators.cross_validation import TorchLogisticRegressionCV
from torchlogreg.estimators.logistic import TorchLogisticRegression
from torchlogreg.estimators.path import LogisticPath, logistic_regression_path
from torchlogreg.estimators.search import BatchedGridSearchCV
from torchlogreg.problem.modules import BinaryLogistic, MultinomialLogistic
from torchlogreg.version import __version__

__all__ = [
    "BatchedGridSearchCV",
    "BinaryLogistic",
    "LogisticPath",
    "MultinomialLogistic",
    "TorchLogisticRegression",
    "TorchLogisticRegressionCV",
    "__version__",
    "logistic_regression_path",
]
