"""The door: clear errors, and no copies."""

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.datasets import load_iris

from torchlogreg import TorchLogisticRegression
from torchlogreg.data.containers import as_tensor
from torchlogreg.data.validation import check_training_data

X, Y = load_iris(return_X_y=True)
CPU = torch.device("cpu")


def with_nan(X):
    X = X.copy()
    X[3, 1] = np.nan
    return X


BAD_DATA = {
    "one class": (X, np.zeros(150), r"y has one class only, .*0.*at least two"),
    "continuous labels": (X, np.linspace(0, 1, 150), r"Unknown label type: continuous"),
    "no labels": (X, None, r"requires y to be passed|y=None"),
    "NaN": (with_nan(X), Y, r"Input X contains NaN"),
    "NaN in y": (X, np.where(Y == 0, np.nan, Y), r"Input y contains NaN"),
    "one axis": (X[:, 0], Y, r"Expected (2D array|X of shape)"),
    "too few labels": (X, Y[:-1], r"inconsistent numbers of samples"),
    "complex": (X.astype(complex), Y, r"[Cc]omplex data"),
    "empty": (X[:0], Y[:0], r"(0 sample|no samples)"),
}


@pytest.mark.parametrize("container", [np.asarray, torch.as_tensor], ids=["array", "tensor"])
@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data_is_refused_with_the_reason(case, container):
    features, labels, message = BAD_DATA[case]
    with pytest.raises(ValueError, match=message):
        TorchLogisticRegression().fit(container(features), labels)


@pytest.mark.parametrize("container", [np.asarray, torch.as_tensor], ids=["array", "tensor"])
@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.full(150, -1.0), r"Negative values in data passed to `sample_weight`"),
        (np.zeros(150), r"row weights sum to zero|at least one non-zero"),
        (np.ones(149), r"sample_weight.shape"),
        (np.full(150, np.nan), r"Input sample_weight contains NaN"),
    ],
)
def test_bad_weights_are_refused_with_the_reason(weight, message, container):
    with pytest.raises(ValueError, match=message):
        TorchLogisticRegression().fit(X, Y, sample_weight=container(weight))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("C", 0.0),
        ("C", -1.0),
        ("C", "1"),
        ("tol", -1e-4),
        ("solver", "banana"),
        ("max_iter", -1),
        ("max_iter", 10.5),
        ("class_weight", "heavy"),
        ("fit_intercept", "yes"),
        ("callbacks", "print"),
        ("device", 3.5),
    ],
)
def test_bad_parameters_are_named_with_their_value(name, value):
    with pytest.raises(
        ValueError, match=rf"The '{name}' parameter .* must be .* Got {value!r} instead"
    ):
        TorchLogisticRegression(**{name: value}).fit(X, Y)


@pytest.mark.parametrize("device", ["banana", "cuda:99", "meta"])
def test_device_that_is_not_there_is_named(device):
    with pytest.raises(ValueError, match=rf"device='{device}' cannot be used here: .*Use 'cpu'"):
        TorchLogisticRegression(device=device).fit(X, Y)


def test_unsupported_layout_is_named_with_the_remedy():
    with pytest.raises(ValueError, match=r"layout torch.sparse_coo.*to_sparse_csr"):
        TorchLogisticRegression().fit(torch.from_numpy(X).to_sparse_coo(), Y)


@pytest.mark.parametrize("container", [np.asarray, torch.as_tensor], ids=["array", "tensor"])
def test_other_number_of_features_in_prediction(container):
    model = TorchLogisticRegression().fit(X, Y)
    with pytest.raises(ValueError, match=r"X has 3 features, but .* is expecting 4 features"):
        model.predict(container(X[:, :3]))


def test_failed_fit_leaves_the_model_as_it_was():
    model = TorchLogisticRegression().fit(X, Y)
    before = model.predict_proba(X)
    with pytest.raises(ValueError, match="NaN"):
        model.fit(with_nan(X), Y)
    np.testing.assert_array_equal(model.predict_proba(X), before)


def test_arrays_are_not_copied():
    for array in (X, np.asfortranarray(X), X.astype(np.float32), X[::2, 1:]):
        data = check_training_data(
            TorchLogisticRegression(), array, Y[: len(array)] % 2, None, None, None
        )
        assert np.shares_memory(data.X.numpy(), array)


def test_read_only_and_reversed_arrays_are_taken():
    read_only = X.copy()
    read_only.setflags(write=False)
    tensor = as_tensor(read_only, CPU)
    assert np.shares_memory(tensor.numpy(), read_only)
    assert not read_only.flags.writeable
    np.testing.assert_array_equal(as_tensor(X[::-1], CPU).numpy(), X[::-1])
    np.testing.assert_array_equal(as_tensor(X[::-1][:1], CPU).numpy(), X[-1:])


def test_memory_of_a_read_only_array_outlives_it():
    read_only = np.arange(1e6)
    read_only.setflags(write=False)
    tensor = as_tensor(read_only, CPU)
    del read_only
    assert tensor.sum() == 499999500000


def test_sparse_arrays_are_not_copied():
    csr = sparse.csr_array(X)
    tensor = as_tensor(csr, CPU)
    assert np.shares_memory(tensor.values().numpy(), csr.data)
    np.testing.assert_array_equal(tensor.to_dense().numpy(), X)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool])
def test_tensors_of_integers_give_a_float64_model(dtype):
    X = (torch.arange(20).view(10, 2) % 3).to(dtype)
    y = torch.arange(10) % 2
    ours = TorchLogisticRegression().fit(X, y)
    theirs = TorchLogisticRegression().fit(X.to(torch.float64), y)
    assert torch.equal(ours.coef_, theirs.coef_)
    assert ours.coef_.dtype is torch.float64


def test_weights_multiply():
    weight = np.linspace(0.5, 2, 150)
    data = check_training_data(
        TorchLogisticRegression(), X, Y, torch.from_numpy(weight), {0: 2.0, 2: 0.5}, None
    )
    np.testing.assert_allclose(data.sample_weight.numpy(), weight * np.array([2.0, 1.0, 0.5])[Y])


@pytest.mark.parametrize("class_weight", [{0: -0.5}, {0: np.nan}, {0: np.inf}])
def test_class_weights_out_of_range_are_refused(class_weight):
    with pytest.raises(ValueError, match=r"class_weight=\{0: .*negative or not finite"):
        TorchLogisticRegression(class_weight=class_weight).fit(X, Y)


def test_balanced_weights_of_a_class_without_weight():
    weight = np.where(Y == 0, 0.0, 1.0)
    data = check_training_data(TorchLogisticRegression(), X, Y, weight, "balanced", None)
    np.testing.assert_allclose(np.unique(data.sample_weight[Y > 0]), 2 / 3)
    assert (data.sample_weight[Y == 0] == 0).all()


def test_weights_and_labels_in_any_container():
    pd = pytest.importorskip("pandas")
    expected = TorchLogisticRegression().fit(X, Y).coef_
    read_only = pd.Series(np.ones(150))
    labels = torch.as_tensor(Y).to(torch.bfloat16)
    model = TorchLogisticRegression().fit(X, labels, sample_weight=read_only)
    np.testing.assert_allclose(model.coef_, expected)


def test_unaligned_arrays_are_copied():
    record = np.zeros(150, [("flag", "i1"), ("x", "f8", (4,))])
    record["x"] = X
    np.testing.assert_array_equal(as_tensor(record["x"], CPU).numpy(), X)


def test_entries_of_sparse_data_that_are_given_twice_are_added_up():
    data, indices, indptr = [1.0, 2.0, 5.0], [1, 1, 0], [0, 2, 3]
    twice = sparse.csr_matrix((data, indices, indptr), shape=(2, 2))
    tensor = as_tensor(twice, torch.device("cpu"))
    assert tensor.values().tolist() == [3.0, 5.0]
    assert twice.data.tolist() == data  # the user's matrix is as it was
