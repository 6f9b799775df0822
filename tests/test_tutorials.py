"""What the three tutorials reach, through the estimator."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris, make_blobs
from sklearn.model_selection import train_test_split

from torchlogreg import TorchLogisticRegression


def test_binary_with_a_sigmoid_and_bce():
    X, y = make_blobs(300, centers=[(-2, -1), (2.5, 2)], cluster_std=0.8, random_state=0)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=1 / 3, random_state=0)
    sgd = TorchLogisticRegression(
        np.inf, solver="sgd", lr=0.01, batch_size=200, max_iter=1000, tol=None
    ).fit(X_train, y_train)
    module = torch.nn.Sequential(torch.nn.Linear(2, 1), torch.nn.Sigmoid()).double()
    for parameter in module.parameters():
        torch.nn.init.zeros_(parameter)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01)
    targets = torch.from_numpy(y_train).double()
    for _ in range(1000):
        optimizer.zero_grad()
        torch.nn.BCELoss()(module(torch.from_numpy(X_train)).squeeze(-1), targets).backward()
        optimizer.step()
    np.testing.assert_allclose(sgd.coef_, module[0].weight.detach().numpy(), rtol=1e-8)
    assert sgd.score(X_test, y_test) == 1
    assert sgd.predict([[1, 1]]) == 1


def test_iris_with_two_features():
    X, y = load_iris(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X[:, :2], y, test_size=0.2, random_state=42)
    sgd = TorchLogisticRegression(
        np.inf, solver="sgd", lr=0.01, batch_size=120, max_iter=10_000, tol=None
    ).fit(X_train, y_train)
    assert 0.495 < sgd.history_[-1, "train_loss"] < 0.505
    assert 0.86 < sgd.score(X_test, y_test) <= 0.9
    exact = TorchLogisticRegression(np.inf).fit(X_train, y_train)
    assert exact.history_[-1, "train_loss"] == pytest.approx(0.3829, abs=1e-4)
    assert exact.score(X_test, y_test) == pytest.approx(0.9)


@pytest.mark.parametrize("seed", range(5))
def test_mnist_in_one_epoch(mnist, seed):
    model = TorchLogisticRegression(
        solver="sgd", lr=0.1, batch_size=100, max_iter=1, tol=None, random_state=seed
    ).fit(mnist.X_train, mnist.y_train)
    assert model.score(mnist.X_test, mnist.y_test) >= 0.9
