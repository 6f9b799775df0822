"""A short run of an installed package that needs nothing but its hard dependencies.

``python tests/smoke.py FOLDER`` also makes sure that the package comes from that folder.
"""

import pickle
import sys
from importlib.metadata import version
from pathlib import Path

import torch
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.linear_model import LogisticRegression

import torchlogreg
from torchlogreg import TorchLogisticRegression


def main(folder=None):
    """Fit, predict, stream and pickle."""
    package = Path(torchlogreg.__file__).parent
    if folder is not None:
        assert package.is_relative_to(Path(folder).resolve()), package
    assert (package / "py.typed").exists()
    assert version("torchlogreg") == torchlogreg.__version__

    X, y = load_iris(return_X_y=True)
    ours = TorchLogisticRegression(tol=1e-8).fit(X, y)
    theirs = LogisticRegression(tol=1e-8, max_iter=10_000).fit(X, y)
    assert abs(ours.coef_ - theirs.coef_).max() < 1e-5
    assert ours.optimality_ <= 1e-8
    again = pickle.loads(pickle.dumps(ours))
    assert (again.predict(X) == ours.predict(X)).all()

    X, y = load_breast_cancer(return_X_y=True)
    tensors = TorchLogisticRegression(solver="lbfgs").fit(torch.from_numpy(X), torch.from_numpy(y))
    assert isinstance(tensors.predict_proba(torch.from_numpy(X)), torch.Tensor)
    stream = TorchLogisticRegression(solver="adam").partial_fit(X / X.max(0), y, classes=[0, 1])
    assert stream.score(X / X.max(0), y) > 0.5
    print(f"torchlogreg {torchlogreg.__version__} works from {package}")


if __name__ == "__main__":
    main(*sys.argv[1:])
