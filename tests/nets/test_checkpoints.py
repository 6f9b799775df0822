"""A checkpoint goes on with the same fit, whatever the layout, and with no other."""

import os
import signal
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy import sparse
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from torchlogreg import TorchLogisticRegression
from torchlogreg.callbacks import Checkpoint
from torchlogreg.data.fingerprint import Fingerprint

X, Y = load_iris(return_X_y=True)
X = StandardScaler().fit_transform(X)  # sums of columns are rounding noise

over_solvers = pytest.mark.parametrize(
    "solver", ["lbfgs", "newton-cholesky", "newton-cg", "prox-newton", "adam"]
)


def fit(path, X=X, y=Y, *, sample_weight=None, **params):
    params = {"solver": "lbfgs", "max_iter": 3, "tol": 1e-12, **params}
    if params["solver"] == "adam":
        params["tol"] = None
    model = TorchLogisticRegression(callbacks=[Checkpoint(path)], **params)
    return model.fit(X, y, sample_weight=sample_weight)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "fit.pt"


def rows_swapped():
    other = X.copy()
    other[[0, 1]] = other[[1, 0]]
    return other


OTHERS = {
    "columns reversed": {"X": X[:, ::-1]},
    "columns reordered": {"X": X[:, [1, 0, 2, 3]]},
    "rows reordered": {"X": rows_swapped()},
    "other rows of the same sums": {"X": np.where(np.arange(150)[:, None] < 2, X[[1, 0] * 75], X)},
    "one entry": {"X": X + 1e-9 * (np.arange(600) == 7).reshape(150, 4)},
    "single precision": {"X": X.astype(np.float32)},
    "one label": {"y": np.where(np.arange(150) == 3, 1, Y)},
    "a weight": {"sample_weight": np.where(np.arange(150) == 3, 2.0, 1.0)},
    "another C": {"C": 2.0},
    "no intercept": {"fit_intercept": False},
    "a seed": {"random_state": 1},
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@over_solvers
@pytest.mark.parametrize("name", OTHERS)
def test_another_fit_is_refused(path, solver, name):
    if name == "a seed" and solver in ("newton-cg", "newton-cholesky"):
        return  # which draws nothing: it is the same fit
    fit(path, solver=solver)
    with pytest.raises(ValueError, match=r"holds (a fit of other data or|the parameters)"):
        fit(path, solver=solver, **OTHERS[name])


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    ("solver", "net_params"),
    [
        ("lbfgs", {"optimizer__history_size": 5}),
        ("sgd", {"optimizer__momentum": 0.9}),
        ("adam", {"optimizer__betas": (0.8, 0.9)}),
    ],
)
def test_other_parameters_of_the_net_are_refused_by_name(path, solver, net_params):
    params = {"solver": solver, "tol": 1e-12 if solver == "lbfgs" else None}
    fit(path, **params)
    with pytest.raises(ValueError, match=f"{next(iter(net_params))} differ"):
        fit(path, **params, net_params=net_params)


class Traced(Dataset):
    def __init__(self, X, y):
        self.X, self.targets = torch.from_numpy(X), torch.from_numpy(y)

    def __len__(self):
        return len(self.X)

    def __getitem__(self, index):
        return self.X[index], self.targets[index]


class Stream(IterableDataset):
    def __init__(self, X):
        self.X = X

    def __iter__(self):
        rows = torch.from_numpy(self.X)
        return iter([(rows[i], int(Y[i])) for i in range(len(rows))])


LOADED = {
    "data set": lambda X: Traced(X, Y),
    "shuffled loader": lambda X: DataLoader(Traced(X, Y), 50, shuffle=True),
    "tensors": lambda X: TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)),
}


@pytest.mark.parametrize("name", LOADED)
def test_a_loader_of_other_items_is_refused(path, name):
    fit_loader = partial(fit, path, y=None, solver="sgd", tol=None)
    fit_loader(LOADED[name](X))
    assert fit_loader(LOADED[name](X.copy()), max_iter=4).n_iter_ == 4
    with pytest.raises(ValueError, match="other data"):
        fit_loader(LOADED[name](X[:, ::-1].copy()))
    with pytest.raises(ValueError, match="other data"):
        fit_loader(LOADED[name](X + 1))


def test_a_stream_is_known_by_its_first_batch(path):
    def fit_stream(X, max_iter):
        model = TorchLogisticRegression(
            solver="sgd", max_iter=max_iter, tol=None, callbacks=[Checkpoint(path)]
        )
        return model.fit(Stream(X), classes=[0, 1, 2])

    fit_stream(X, 2)
    assert fit_stream(X, 4).n_iter_ == 4
    with pytest.raises(ValueError, match="data differ"):
        fit_stream(X + 1, 4)


class Noisy(Traced):
    """Augments its items at random."""

    def __getitem__(self, index):
        x, y = super().__getitem__(index)
        return x + torch.rand(()) + np.random.rand(), y  # noqa: NPY002


def test_random_items_are_left_out_and_no_generator_moves(path):
    fit_noisy = partial(fit, path, Noisy(X, Y), None, solver="sgd", tol=None)
    fit_noisy()
    assert fit_noisy(max_iter=4).n_iter_ == 4
    with pytest.raises(ValueError, match="data differ"):
        fit(path, Noisy(X, np.roll(Y, 1)), None, solver="sgd", tol=None)


LAYOUTS = {
    "Fortran order": np.asfortranarray(X),
    "strided": np.repeat(X, 2, axis=0)[::2],
    "tensor": torch.from_numpy(X),
    "read-only": np.frombuffer(X.tobytes()).reshape(X.shape),
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@over_solvers
@pytest.mark.parametrize("name", LAYOUTS)
def test_the_same_data_in_another_layout_is_the_same(path, solver, name):
    fit(path, solver=solver)
    resumed = fit(path, LAYOUTS[name], solver=solver, max_iter=5)
    whole = TorchLogisticRegression(
        solver=solver, max_iter=5, tol=None if solver == "adam" else 1e-12
    ).fit(X, Y)
    assert_allclose(np.asarray(resumed.coef_), whole.coef_, rtol=0, atol=1e-9)


def test_the_number_of_threads_makes_no_difference():
    large = torch.randn(300_000, 3)
    before = str(Fingerprint().add(large))
    n_threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert str(Fingerprint().add(large)) == before
    finally:
        torch.set_num_threads(n_threads)


def test_a_sparse_matrix_is_known_in_any_order_of_its_entries():
    matrix = sparse.random(50, 20, 0.3, format="csr", random_state=0)
    shuffled = matrix.copy()
    for row in range(50):
        part = slice(*matrix.indptr[row : row + 2])
        shuffled.indices[part] = matrix.indices[part][::-1]
        shuffled.data[part] = matrix.data[part][::-1]
    prints = [
        str(
            Fingerprint().add(
                torch.sparse_csr_tensor(
                    torch.from_numpy(m.indptr.astype(index)),
                    torch.from_numpy(m.indices.astype(index)),
                    torch.from_numpy(m.data),
                    size=m.shape,
                )
            )
        )
        for m, index in ((matrix, np.int32), (matrix, np.int64), (shuffled, np.int32))
    ]
    assert len(set(prints)) == 1


def test_zero_has_one_sign():
    plus, minus = (str(Fingerprint().add(torch.tensor([zero]))) for zero in (0.0, -0.0))
    assert plus == minus


def test_a_resumed_fit_that_is_not_the_minimiser_warns(path):
    """The file says that the fit was finished; its coefficients say something else."""
    fit(path, max_iter=100, tol=1e-4)
    state = torch.load(path, weights_only=True)
    state["module"]["weight"] += 1.0
    torch.save(state, path)
    with pytest.warns(
        ConvergenceWarning,
        match=r"lbfgs failed to converge after \d+ iterations, in a run that a checkpoint",
    ):
        model = fit(path, max_iter=100, tol=1e-4)
    assert model.optimality_ > 1e-4


def test_a_resumed_fit_that_is_the_minimiser_does_not_warn(path):
    first = fit(path, max_iter=100, tol=1e-4)
    again = fit(path, max_iter=100, tol=1e-4)
    assert (again.coef_ == first.coef_).all()
    assert again.optimality_ <= 1e-4


KILLED = """
import os, signal, sys, torch
from sklearn.datasets import load_iris
from torchlogreg import TorchLogisticRegression
from torchlogreg.callbacks import Checkpoint
save = torch.save
def half(state, file):
    save(state, file)
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
torch.save = half
X, y = load_iris(return_X_y=True)
TorchLogisticRegression(solver="adam", callbacks=[Checkpoint(sys.argv[1])]).fit(X, y)
"""


def test_what_a_kill_leaves_behind_is_cleaned_up(path):
    process = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert process.returncode == -signal.SIGKILL
    assert not path.exists()
    assert len(list(path.parent.iterdir())) == 1
    fit(path, solver="adam")
    assert list(path.parent.iterdir()) == [path]


def test_the_umask_is_heeded(path):
    before = os.umask(0o027)
    try:
        fit(path, solver="adam")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("solver", ["lbfgs", "newton-cholesky", "newton-cg"])
def test_a_finished_fit_goes_on_to_a_tighter_tol(path, solver):
    far = X + 1e3
    first = fit(path, far, max_iter=100, tol=1e-2, solver=solver)
    again = fit(path, far, max_iter=100, tol=1e-8, solver=solver)
    assert again.optimality_ <= 1e-8 < first.optimality_


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_what_differs_is_named(path):
    fit(path)
    with pytest.raises(ValueError, match="parameters: C or the sum of the weights differ"):
        fit(path, C=2.0)
    with pytest.raises(ValueError, match="parameters: data differ"):
        fit(path, X + 1)
