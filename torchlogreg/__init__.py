"""Logistic regression for scikit-learn, solved by PyTorch."""

from torchlogreg import moved as _moved  # noqa: F401 (pickles look there)
from torchlogreg.estimators.logistic import TorchLogisticRegression
from torchlogreg.estimators.path import LogisticPath, logistic_regression_path
from torchlogreg.problem.modules import BinaryLogistic, MultinomialLogistic

__version__ = "0.1.0"

__all__ = [
    "BinaryLogistic",
    "LogisticPath",
    "MultinomialLogistic",
    "TorchLogisticRegression",
    "__version__",
    "logistic_regression_path",
]
