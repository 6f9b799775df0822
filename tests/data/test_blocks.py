"""Rows that are read whenever they are needed: the same minimiser, few reads, and clear errors."""

import gc
import pickle
import threading
import time
from unittest.mock import Mock

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import torch
import zarr
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_matrix
from sklearn.datasets import load_breast_cancer, load_digits

from torchlogreg import TorchLogisticRegression, TorchLogisticRegressionCV, blocks
from torchlogreg.data import scratch, sources, store, stored

RNG = np.random.default_rng(0)
DIGITS = load_digits()
X, Y = DIGITS.data / 16, DIGITS.target
WEIGHT = RNG.uniform(0, 2, len(Y))
NAMES = [f"pixel {column}" for column in range(X.shape[1])]
TOLERANCES = {"float64": (1e-11, 1e-8), "float32": (1e-7, 1e-5)}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks of a few rows, and samples of part of them: as if the data were large."""
    monkeypatch.setattr(sources, "BLOCK_BYTES", 80_000)
    monkeypatch.setattr(stored, "LEAST_BUDGET", 1_000_000)
    monkeypatch.setattr(stored, "FEWEST_SAMPLED", 300)


@pytest.fixture
def stores(monkeypatch):
    """Return the stores that fits make."""
    made, make = [], store.Store.__init__

    def record(self, *args):
        made.append(self)
        make(self, *args)

    monkeypatch.setattr(store.Store, "__init__", record)
    return made


def parquet(folder, *, dtype="float64", n_files=3, labels=Y):
    """Write a folder of files with row groups of several sizes."""
    frame = pd.DataFrame(X.astype(dtype), columns=NAMES).assign(label=labels, weight=WEIGHT)
    for number, rows in enumerate(np.array_split(np.arange(len(frame)), n_files)):
        frame.iloc[rows].to_parquet(
            folder / f"part-{number}.parquet", row_group_size=250, index=False
        )
    return folder


KINDS = {
    "arrays": lambda folder, X, **options: blocks.from_arrays(X, Y, WEIGHT, **options),
    "columns first": lambda folder, X, **options: blocks.from_arrays(
        np.asfortranarray(X), Y, WEIGHT, **options
    ),
    "npy files": lambda folder, X, **options: blocks.from_arrays(
        *saved(folder, (X[:700], X[700:]), (Y[:700], Y[700:]), (WEIGHT[:700], WEIGHT[700:])),
        **options,
    ),
    "memory map": lambda folder, X, **options: blocks.from_arrays(
        np.load(saved(folder, (X,))[0][0], mmap_mode="r"), Y, WEIGHT, **options
    ),
    "hdf5": lambda folder, X, **options: blocks.from_arrays(
        h5py.File(folder / "X.h5", "w").create_dataset("X", data=X), Y, WEIGHT, **options
    ),
    "zarr": lambda folder, X, **options: blocks.from_arrays(
        zarr.create_array(folder / "X.zarr", data=X, chunks=(100, 64)), Y, WEIGHT, **options
    ),
    "parquet": lambda folder, X, **options: blocks.from_parquet(
        parquet(folder, dtype=X.dtype), target="label", sample_weight="weight", **options
    ),
    "iterable": lambda folder, X, **options: blocks.from_iterable(
        lambda: ((X[i : i + 99], Y[i : i + 99], WEIGHT[i : i + 99]) for i in range(0, len(X), 99)),
        **options,
    ),
    "sparse iterable": lambda folder, X, **options: blocks.from_iterable(
        lambda: (
            (csr_matrix(X[i : i + 99]), Y[i : i + 99], WEIGHT[i : i + 99])
            for i in range(0, len(X), 99)
        ),
        **options,
    ),
}
"""Every way in which blocks are made, of the same rows."""


def saved(folder, *arrays):
    """Save parts of arrays; return the names of the files."""
    names = []
    for number, parts in enumerate(arrays):
        files = [folder / f"{number}-{place}.npy" for place in range(len(parts))]
        for file, part in zip(files, parts, strict=True):
            np.save(file, part)
        names.append(files)
    return names


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("kind", KINDS)
def test_blocks_have_the_minimiser_of_memory(tmp_path, stores, kind, dtype):
    tol, tolerance = TOLERANCES[dtype]
    rows = KINDS[kind](tmp_path, X.astype(dtype), budget=1)
    model = TorchLogisticRegression(tol=tol, C=0.1).fit(rows)
    one = TorchLogisticRegression(tol=tol, C=0.1).fit(X.astype(dtype), Y, WEIGHT)
    assert model.coef_.dtype == dtype
    assert_allclose(model.coef_, one.coef_, rtol=tolerance, atol=tolerance)
    assert_allclose(model.intercept_, one.intercept_, rtol=tolerance, atol=tolerance)
    assert not stores[0].is_in_memory or "sparse" in kind
    proba = model.predict_proba(rows)
    assert_allclose(proba, one.predict_proba(X.astype(dtype)), rtol=1e-4, atol=1e-6)
    assert_array_equal(model.predict(rows), one.predict(X.astype(dtype)))
    assert model.score(rows) == pytest.approx(one.score(X.astype(dtype), Y, WEIGHT))


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if "sparse" not in kind])
def test_later_passes_may_find_the_rows_in_a_file(tmp_path, stores, monkeypatch, kind, dtype):
    folder, starts = tmp_path / "scratch", []
    folder.mkdir()
    rows = KINDS[kind](tmp_path, X.astype(dtype), budget=1, scratch=folder)
    read = type(rows).read
    monkeypatch.setattr(
        type(rows), "read", lambda self, *args: starts.append(args[0]) or read(self, *args)
    )
    tol, tolerance = TOLERANCES[dtype]
    model = TorchLogisticRegression(tol=tol, C=0.1).fit(rows)
    one = TorchLogisticRegression(tol=tol, C=0.1).fit(X.astype(dtype), Y, WEIGHT)
    assert_allclose(model.coef_, one.coef_, rtol=tolerance, atol=tolerance)
    assert stores[0].n_reads > 4
    assert starts == [0]  # what was there to be decoded was so once
    (kept,) = folder.iterdir()
    assert sum(file.stat().st_size for file in kept.iterdir()) >= X.size * np.dtype(dtype).itemsize
    stores.clear()
    del model, one
    gc.collect()
    assert not list(folder.iterdir())


def test_a_scratch_file_has_what_does_not_stay_in_memory(tmp_path, stores):
    X, y = large()
    rows = blocks.from_arrays(X, y, budget=6_000_000, scratch=tmp_path)
    model = TorchLogisticRegression(tol=1e-6).fit(rows)
    one = TorchLogisticRegression(tol=1e-6).fit(X, y)
    assert_allclose(model.coef_, one.coef_, atol=1e-4)
    (kept,) = tmp_path.iterdir()
    n_bytes = sum(file.stat().st_size for file in kept.iterdir())
    assert 0 < n_bytes < X.nbytes - 1_000_000


def test_a_full_scratch_folder_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(scratch.shutil, "disk_usage", lambda folder: Mock(free=1000))
    model = TorchLogisticRegression()
    with pytest.raises(OSError, match=r"scratch='.*' has 1e-06 GB of free space, and the rows"):
        model.fit(blocks.from_arrays(X, Y, budget=1, scratch=tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_scratch_file_goes_with_an_error(tmp_path):
    rows = blocks.from_arrays(nan_at(1000), Y, budget=1, scratch=tmp_path)
    with pytest.raises(ValueError, match="NaN") as caught:
        TorchLogisticRegression().fit(rows)
    assert caught.traceback  # which keeps what the fit had
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize(
    "parameters",
    [
        {"solver": "lbfgs", "class_weight": "balanced"},
        {"solver": "newton-cholesky", "C": 0.01},
        {"solver": "newton-cg", "C": 0.1},
        {"l1_ratio": 1.0, "C": 0.1},
        {"l1_ratio": 0.5, "C": 0.1},
        {"C": 0.1, "fit_intercept": False},
    ],
    ids=lambda parameters: "-".join(map(str, parameters.values())),
)
def test_every_exact_solver_reads_blocks(parameters, dtype):
    tol, tolerance = TOLERANCES[dtype]
    rows = blocks.from_arrays(X.astype(dtype), Y, WEIGHT, budget=1)
    model = TorchLogisticRegression(tol=tol, **parameters).fit(rows)
    one = TorchLogisticRegression(tol=tol, **parameters).fit(X.astype(dtype), Y, WEIGHT)
    assert_allclose(model.coef_, one.coef_, rtol=tolerance, atol=tolerance)


def test_grids_read_blocks():
    X, y = load_breast_cancer(return_X_y=True)
    X = (X - X.mean(0)) / X.std(0)
    weight = RNG.uniform(0, 2, len(y))
    grid = {"Cs": [1e-3, 1e-2, 0.1, 1], "cv": 3, "tol": 1e-11, "scoring": "roc_auc"}
    model = TorchLogisticRegressionCV(**grid)
    model.fit(blocks.from_arrays(X, y, weight, budget=1))
    one = TorchLogisticRegressionCV(**grid).fit(X, y, weight)
    assert_allclose(model.coefs_paths_, one.coefs_paths_, rtol=1e-7, atol=1e-8)
    assert_allclose(model.scores_, one.scores_, rtol=1e-10)
    with pytest.raises(ValueError, match="nor over blocks"):
        TorchLogisticRegressionCV(scoring="precision").fit(blocks.from_arrays(X, y))


def large(n_rows=60_000):
    X = RNG.normal(size=(n_rows, 20)).astype(np.float32)
    return X, X @ RNG.normal(size=20) + RNG.logistic(size=n_rows) > 0


@pytest.mark.parametrize("solver", ["lbfgs", "newton-cholesky"])
def test_an_iteration_reads_the_data_once(stores, solver):
    """And six times more: a look at it, the first point, the last check, and what fails."""
    model = TorchLogisticRegression(solver=solver).fit(blocks.from_arrays(*large(), budget=1))
    (matrix,) = stores
    assert len(matrix.sizes) > 50
    assert 2 < matrix.n_reads <= model.n_iter_[0] + 6


def test_the_budget_bounds_what_stays_in_memory(stores):
    X, y = large()
    for budget, least in ((1, 0), (6_000_000, 1_000_000)):
        stores.clear()
        TorchLogisticRegression().fit(blocks.from_arrays(X, y, budget=budget))
        (matrix,) = stores
        kept = sum(block.X.numel() for block in matrix._kept.values()) * 4
        assert least <= kept <= budget
    stores.clear()
    TorchLogisticRegression().fit(blocks.from_arrays(X, y, budget=50_000_000))
    assert not stores  # it is an array, as for those who have it in memory


def test_readers_end_with_the_fit():
    TorchLogisticRegression().fit(blocks.from_arrays(X, Y, budget=1))
    gc.collect()
    for _ in range(50):
        names = [thread.name for thread in threading.enumerate()]
        if "torchlogreg-reader" not in names:
            return
        time.sleep(0.1)
    raise AssertionError(names)


def test_names_of_columns_are_kept_and_compared(tmp_path):
    folder = parquet(tmp_path, labels=np.array(["no", "yes"])[(Y > 4).astype(int)])
    rows = blocks.from_parquet(folder, target="label", features=NAMES[:5])
    model = TorchLogisticRegression().fit(rows)
    assert model.feature_names_in_.tolist() == NAMES[:5]
    assert model.classes_.tolist() == ["no", "yes"]
    only = blocks.from_parquet(folder, features=NAMES[:5])
    assert_allclose(
        model.predict_proba(only), model.predict_proba(pd.DataFrame(X[:, :5], columns=NAMES[:5]))
    )
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(blocks.from_parquet(folder, features=NAMES[1:6]))
    with pytest.raises(ValueError, match="expecting 5 features"):
        model.predict(blocks.from_arrays(X))
    with pytest.raises(ValueError, match="has no labels"):
        model.score(only)


def test_a_dataset_of_arrow_is_taken_as_it_is(tmp_path):
    dataset = ds.dataset(parquet(tmp_path), format="parquet")
    model = TorchLogisticRegression().fit(blocks.from_parquet(dataset, target="label"))
    assert model.n_features_in_ == X.shape[1] + 1


def test_progress_is_shown(capsys):
    TorchLogisticRegression(verbose=1).fit(blocks.from_arrays(X, Y, budget=1))
    shown = capsys.readouterr().err
    assert "labels" in shown
    assert "reading" in shown


def test_a_warm_start_goes_on(stores):
    model = TorchLogisticRegression(warm_start=True, tol=1e-8)
    rows = blocks.from_arrays(X, Y, budget=1)
    first = int(model.fit(rows).n_iter_[0])
    assert model.fit(rows).n_iter_[0] < first


def test_a_file_that_changes_is_noticed(tmp_path, monkeypatch):
    (file,), (labels,) = saved(tmp_path, (X,), (Y,))
    rows = blocks.from_arrays(file, labels, budget=1)
    n_checks, check = [0], rows.check

    def change():
        n_checks[0] += 1
        if n_checks[0] == 3:
            np.save(file, X + 1)
        check()

    monkeypatch.setattr(rows, "check", change)
    with pytest.raises(RuntimeError, match=r"0-0\.npy has changed since the first pass"):
        TorchLogisticRegression().fit(rows)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda parts: [(X + 1, Y) for X, Y in parts], "block 0 of make_blocks.* has changed"),
        (lambda parts: parts[:-1], r"block 9 .* is missing"),
        (lambda parts: [*parts, parts[0]], "more than the 10 blocks"),
        (lambda parts: [(X[1:], Y[1:]) for X, Y in parts], "has the shape"),
    ],
)
def test_blocks_that_are_not_the_same_again_are_noticed(change, said):
    n_calls = [0]

    def make_blocks():
        n_calls[0] += 1
        parts = list(zip(np.array_split(X, 10), np.array_split(Y, 10), strict=True))
        return parts if n_calls[0] <= 3 else change(parts)

    with pytest.raises(RuntimeError, match=said):
        TorchLogisticRegression().fit(blocks.from_iterable(make_blocks, budget=1))


def test_an_error_of_a_reader_is_that_of_the_fit():
    n_calls = [0]

    def make_blocks():
        n_calls[0] += 1
        yield X[:900], Y[:900]
        if n_calls[0] > 4:
            raise ConnectionError("the server is gone")
        yield X[900:], Y[900:]

    model = TorchLogisticRegression()
    with pytest.raises(ConnectionError, match="the server is gone"):
        model.fit(blocks.from_iterable(make_blocks, budget=1))
    assert not hasattr(model, "n_features_in_")


def test_a_broken_file_is_named(tmp_path):
    parquet(tmp_path)
    file = tmp_path / "part-1.parquet"
    content = bytearray(file.read_bytes())
    content[500:3000] = b"\0" * 2500
    file.write_bytes(content)
    rows = blocks.from_parquet(tmp_path, target="label", budget=1)
    with pytest.raises(OSError, match=r"row group 0 of .*part-1\.parquet cannot be read"):
        TorchLogisticRegression().fit(rows)


def nan_at(row):
    copy = X.copy()
    copy[row, 3] = np.nan
    return copy


@pytest.mark.parametrize("budget", [1, None])
def test_what_is_not_a_number_is_named(budget):
    rows = blocks.from_arrays(nan_at(1000), Y, budget=budget)
    with pytest.raises(ValueError, match=r"NaN or infinity, in rows \d+ to \d+ of array 0"):
        TorchLogisticRegression().fit(rows)
    with pytest.raises(ValueError, match="NaN or infinity"):
        TorchLogisticRegression().fit(X, Y).predict(rows)


def write(folder, **columns):
    pq.write_table(pa.table(columns), folder / "rows.parquet")
    return folder


BAD = {
    "no column": (
        lambda folder: blocks.from_parquet(parquet(folder), target="clicked"),
        "target='clicked' is no column of .*it has 'pixel 0'",
    ),
    "no feature": (
        lambda folder: blocks.from_parquet(parquet(folder), features=["age"]),
        "features='age' is no column",
    ),
    "strings": (
        lambda folder: blocks.from_parquet(write(folder, a=["x", "y"], b=[0, 1]), target="b"),
        "column 'a' of .* is of type string",
    ),
    "missing": (
        lambda folder: blocks.from_parquet(write(folder, a=[1.0, None], b=[0, 1]), target="b"),
        "NaN or infinity, in row group 0 of .*rows.parquet",
    ),
    "empty folder": (lambda folder: blocks.from_parquet(folder), "folder without"),
    "no rows": (
        lambda folder: blocks.from_parquet(write(folder, a=pa.array([], pa.float64()))),
        "has no rows",
    ),
    "no such file": (lambda folder: blocks.from_parquet(folder / "no"), "does not exist"),
    "no parquet": (
        lambda folder: blocks.from_parquet(saved(folder, (X,))[0][0]),
        "cannot be read as Parquet",
    ),
    "only labels": (
        lambda folder: blocks.from_parquet(write(folder, b=[0, 1]), target="b"),
        "no column of features",
    ),
    "no labels": (lambda folder: blocks.from_arrays(X), "have no labels"),
    "one class": (lambda folder: blocks.from_arrays(X, 0 * Y), "one class only"),
    "lengths": (lambda folder: blocks.from_arrays(X, Y[1:]), r"y has \[1796\] rows, X has \[1797"),
    "parts": (lambda folder: blocks.from_arrays([X, X], [Y]), "y has 1 parts, X has 2"),
    "columns": (lambda folder: blocks.from_arrays([X, X[:, 1:]], [Y, Y]), r"\[63, 64\] columns"),
    "nothing": (lambda folder: blocks.from_arrays([], []), "has no rows"),
    "one dimension": (lambda folder: blocks.from_arrays(Y, Y), r"of shape \(1797,\)"),
    "objects": (lambda folder: blocks.from_arrays(X.astype(object), Y), "real numbers"),
    "budget": (lambda folder: blocks.from_arrays(X, Y, budget=0), "budget=0 must be positive"),
    "no scratch folder": (
        lambda folder: blocks.from_arrays(X, Y, scratch=folder / "no"),
        "scratch='.*' is not a folder",
    ),
    "sparse scratch": (
        lambda folder: KINDS["sparse iterable"](folder, X, scratch=folder),
        "sparse blocks are not written",
    ),
    "continuous": (lambda folder: blocks.from_arrays(X, X[:, 2] + 0.5), "rows 0 to .*continuous"),
    "negative": (lambda folder: blocks.from_arrays(X, Y, -WEIGHT), "[Nn]egative"),
    "iterator": (lambda folder: blocks.from_iterable(iter([(X, Y)])), "must be a callable"),
    "no block": (lambda folder: blocks.from_iterable(list), "makes no block"),
    "many parts": (lambda folder: blocks.from_iterable(lambda: [(X, Y, Y, Y)]), "has 4 parts"),
    "row": (lambda folder: blocks.from_iterable(lambda: [(X[0], Y)]), "features of shape"),
    "some weights": (
        lambda folder: blocks.from_iterable(lambda: [(X, Y, WEIGHT), (X, Y)]),
        "Some blocks have weights",
    ),
    "few labels": (lambda folder: blocks.from_iterable(lambda: [(X, Y[1:])]), "labels of shape"),
    "other columns": (
        lambda folder: blocks.from_iterable(lambda: [(X, Y), (X[:, 1:], Y)]),
        "all must be alike",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named(tmp_path, name):
    make, said = BAD[name]
    model = TorchLogisticRegression()
    with pytest.raises((ValueError, TypeError, OSError), match=said):
        model.fit(make(tmp_path))
    assert not hasattr(model, "n_features_in_")


def test_what_blocks_have_themselves_is_not_given_twice():
    rows = blocks.from_arrays(X, Y)
    for name, arrays in (("y", (rows, Y)), ("sample_weight", (rows, None, WEIGHT))):
        with pytest.raises(ValueError, match=f"{name} must be None with blocks"):
            TorchLogisticRegression().fit(*arrays)
    for solver in ("sgd", "adam", torch.optim.Adagrad):
        with pytest.raises(ValueError, match="need an exact solver"):
            TorchLogisticRegression(solver=solver).fit(rows)
    with pytest.raises(ValueError, match="partial_fit takes arrays"):
        TorchLogisticRegression(solver="sgd").partial_fit(rows, None, classes=range(10))


def test_without_arrow_it_is_said_what_to_install(monkeypatch, tmp_path):
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow.dataset", None)
    with pytest.raises(ImportError, match=r"pip install 'torchlogreg\[parquet\]'"):
        blocks.from_parquet(tmp_path)


def test_an_iterator_that_is_used_up_is_refused():
    once = iter([(X, Y)])
    with pytest.raises(ValueError, match="same iterator again"):
        blocks.from_iterable(lambda: once)


@pytest.mark.parametrize("budget", [1, None])
def test_rows_in_another_order_in_every_pass_are_noticed(budget):
    """Labels and features would be those of different rows."""
    generator = np.random.default_rng(0)

    def make_blocks():
        order = generator.permutation(len(X))
        yield from ((X[some], Y[some]) for some in np.array_split(order, 5))

    rows = blocks.from_iterable(make_blocks, budget=budget)
    with pytest.raises(RuntimeError, match="in the same order"):
        TorchLogisticRegression().fit(rows)


@pytest.mark.parametrize("sizes", [(1000,), (1000, 796), (1000, 797, 3)])
def test_other_blocks_are_noticed_when_all_are_kept_in_memory(sizes):
    n_calls = [0]

    def make_blocks():
        n_calls[0] += 1
        ends = np.cumsum((1000, 797) if n_calls[0] <= 2 else sizes)
        together = np.concatenate([X, X[:9]]), np.concatenate([Y, Y[:9]])
        for start, end in zip((0, *ends), ends, strict=False):
            yield together[0][start:end], together[1][start:end]

    with pytest.raises(RuntimeError, match="needs the same rows in every pass"):
        TorchLogisticRegression().fit(blocks.from_iterable(make_blocks))


@pytest.mark.parametrize("budget", [1, None])
def test_blocks_may_be_made_in_the_same_memory(budget):
    memory, labels, weights = np.empty((300, 64)), np.empty(300), np.empty(300)

    def make_blocks():
        for start in range(0, 1500, 300):
            memory[:], labels[:] = X[start : start + 300], Y[start : start + 300]
            weights[:] = WEIGHT[start : start + 300]
            yield memory, labels, weights

    model = TorchLogisticRegression(tol=1e-10, C=0.1)
    model.fit(blocks.from_iterable(make_blocks, budget=budget))
    one = TorchLogisticRegression(tol=1e-10, C=0.1).fit(X[:1500], Y[:1500], WEIGHT[:1500])
    assert_allclose(model.coef_, one.coef_, rtol=1e-8, atol=1e-8)


def test_columns_of_frames_are_kept_and_compared():
    frame = pd.DataFrame(X, columns=NAMES)
    model = TorchLogisticRegression().fit(blocks.from_iterable(lambda: [(frame, Y)]))
    assert model.feature_names_in_.tolist() == NAMES
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(blocks.from_iterable(lambda: [frame[NAMES[::-1]]]))
    with pytest.raises(ValueError, match="all must be alike"):
        TorchLogisticRegression().fit(
            blocks.from_iterable(lambda: [(frame, Y), (frame[NAMES[::-1]], Y)])
        )


def test_the_index_of_a_frame_is_no_feature(tmp_path):
    frame = pd.DataFrame(X[:, :3], columns=NAMES[:3]).assign(label=Y)
    frame.sample(frac=1, random_state=0).to_parquet(tmp_path / "rows.parquet")
    assert blocks.from_parquet(tmp_path, target="label").feature_names == NAMES[:3]


def test_files_of_several_dtypes_are_read_as_the_widest(tmp_path):
    for number, kind in enumerate(("int32", "float32", "float64")):
        some = pd.DataFrame((10 * X[number::3, 20:23]).astype(kind), columns=["a", "b", "c"])
        some.assign(y=Y[number::3]).to_parquet(tmp_path / f"{number}.parquet", index=False)
    rows = blocks.from_parquet(tmp_path, target="y")
    assert rows.dtype == np.float64
    assert np.concatenate([block.numpy() for block in rows.features()]).max() > 9
    with pytest.raises(ValueError, match="digits would be lost"):
        TorchLogisticRegression().fit(
            blocks.from_iterable(lambda: [(X.astype(np.float32), Y), (X, Y)])
        )


def test_a_replaced_file_is_not_read_for_a_memory_map(tmp_path):
    """The map has what the file was; and a source of it goes through a pickle without its rows."""
    (file,), (other,) = saved(tmp_path, (X,), (3 * X,))
    mapped = np.load(file, mmap_mode="r")
    rows = blocks.from_arrays(mapped[100:], Y[100:], budget=1)
    expected = TorchLogisticRegression().fit(rows).coef_
    content = pickle.dumps(rows)
    assert len(content) < X.nbytes / 10
    assert_array_equal(TorchLogisticRegression().fit(pickle.loads(content)).coef_, expected)
    other.replace(file)
    assert_array_equal(TorchLogisticRegression().fit(rows).coef_, expected)


def test_columns_in_the_names_of_folders_are_not_lost(tmp_path):
    for value in (0, 1):
        (tmp_path / f"k={value}").mkdir()
        parquet(tmp_path / f"k={value}", n_files=1)
    with pytest.raises(ValueError, match="such as 'k=0', which stand for a column"):
        blocks.from_parquet(tmp_path, target="label")
    dataset = ds.dataset(tmp_path, format="parquet", partitioning="hive")
    rows = blocks.from_parquet(dataset, target="label", sample_weight="weight")
    assert rows.feature_names == [*NAMES, "k"]
    assert [block[0, -1].item() for block in rows.features()][:: len(rows.sizes) - 1] == [0, 1]


def test_columns_are_named_once(tmp_path):
    for given in ({"features": ["weight", "label"]}, {"features": ["weight", "weight"]}):
        with pytest.raises(ValueError, match="named twice"):
            blocks.from_parquet(parquet(tmp_path), target="label", **given)
    with pytest.raises(ValueError, match="must be a list"):
        blocks.from_parquet(tmp_path, features="weight")
