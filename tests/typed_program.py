"""A small program of a user, for the type checker: see test_package.py."""

from typing import Any, assert_type

import numpy as np
import torch
from numpy.typing import NDArray

from torchlogreg import BinaryLogistic, TorchLogisticRegression
from torchlogreg.callbacks import Checkpoint, Progress
from torchlogreg.datasets import load_mnist
from torchlogreg.plotting import CoefficientImageDisplay, LossCurveDisplay


def train(X: NDArray[Any], y: NDArray[Any]) -> TorchLogisticRegression:
    weights = {0: 1, 1: 5}
    model = TorchLogisticRegression(
        C=10, class_weight=weights, device="cpu", callbacks=(Progress(), Checkpoint("fit.pt"))
    )
    return model.fit(X, y, sample_weight=np.ones(len(y)))


def stream(X: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    model = TorchLogisticRegression(solver=torch.optim.NAdam, lr=0.1)
    model.partial_fit(X, y, classes=[0, 1])
    assert_type(model.predict_proba(X), torch.Tensor)
    return model.decision_function(X)


def accuracy(model: TorchLogisticRegression, X: NDArray[Any], y: NDArray[Any]) -> float:
    assert_type(model.fit(X, y).partial_fit(X, y), TorchLogisticRegression)
    return float((model.predict(X) == y).mean())


def report(model: TorchLogisticRegression, X: NDArray[Any], y: NDArray[Any]) -> str:
    assert_type(model.predict_proba(X).round(2).max(), Any)
    assert_type(model.optimality_, float)
    assert_type(model.score(X, y), float)
    head: torch.nn.Module = model.module_
    LossCurveDisplay.from_estimator(model, x="seconds").plot(y="optimality")
    CoefficientImageDisplay.from_estimator(model, image_shape=(28, 28))
    return f"{model.solver_}: {model.n_iter_[0]} iterations, {head}, {BinaryLogistic(3).weight}"


def main() -> None:
    data = load_mnist()
    print(report(train(data.X_train, data.y_train), data.X_test, data.y_test))
