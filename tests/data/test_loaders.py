"""Data sets and data loaders of torch: read batch by batch."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_iris
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
)

from torchlogreg import TorchLogisticRegression
from torchlogreg.data.torch_data import labels_of

X, Y = load_iris(return_X_y=True)
X_T, Y_T = torch.from_numpy(X), torch.from_numpy(Y)
PAIRS = TensorDataset(X_T, Y_T)
WHOLE = {"solver": "sgd", "lr": 0.1, "batch_size": 150, "max_iter": 20, "tol": None}


class Images(Dataset):
    """As torchvision's: images, a transform, and targets; counts what is read."""

    def __init__(self):
        self.data = X_T.view(-1, 1, 2, 2)
        self.targets = Y_T
        self.n_read = 0

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        self.n_read += 1
        return self.data[index].float(), int(self.targets[index])


class Stream(IterableDataset):
    """Rows one after the other; what there is of them is not known in advance."""

    def __init__(self, n_rows=150):
        self.n_rows = n_rows

    def __iter__(self):
        return iter([(X_T[i], Y[i]) for i in range(self.n_rows)])


@pytest.mark.parametrize(
    "data",
    [
        PAIRS,
        DataLoader(PAIRS, 150),
        ConcatDataset([Subset(PAIRS, range(50)), Subset(PAIRS, range(50, 150))]),
    ],
    ids=["data set", "loader", "concat"],
)
@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 1.0, 1: 2.0, 2: 0.5}])
def test_the_result_is_that_of_arrays(data, class_weight):
    arrays = TorchLogisticRegression(**WHOLE, class_weight=class_weight).fit(X, Y)
    model = TorchLogisticRegression(**WHOLE, class_weight=class_weight).fit(data)
    assert_allclose(model.coef_, arrays.coef_, rtol=0, atol=1e-10)
    assert_array_equal(model.classes_, [0, 1, 2])
    assert model.n_features_in_ == 4


def test_items_are_flattened_and_read_batch_by_batch():
    images = Images()
    model = TorchLogisticRegression(solver="adam", batch_size=30, max_iter=3, tol=None).fit(images)
    assert images.n_read == 3 * 150
    assert model.coef_.shape == (3, 4)
    assert model.coef_.dtype == np.float32


def test_a_stream_needs_its_classes():
    model = TorchLogisticRegression(C=np.inf, **WHOLE)
    with pytest.raises(ValueError, match=r"labels of Stream are not known .* classes="):
        model.fit(Stream())
    model.fit(Stream(), classes=[0, 1, 2])
    arrays = TorchLogisticRegression(C=np.inf, **WHOLE).fit(X, Y)
    assert_allclose(model.coef_, arrays.coef_, rtol=0, atol=1e-10)


class Restarted(Stream):
    """A stream that is its own iterator."""

    def __iter__(self):
        self.rows = Stream.__iter__(self)
        return self

    def __next__(self):
        return next(self.rows)


def test_the_first_epoch_is_read_once():
    model = TorchLogisticRegression(solver="adam", batch_size=10, max_iter=3, tol=None, C=np.inf)
    model.fit(Restarted(), classes=[0, 1, 2])
    assert model.history_[:, "train_batch_count"] == [15, 15, 15]


@pytest.mark.parametrize(
    ("data", "n_rows"),
    [
        (Stream(), 150),
        (DataLoader(PAIRS, 10, sampler=SubsetRandomSampler(range(0, 150, 15))), 10),
        (DataLoader(PAIRS, 40, drop_last=True), 120),
        (DataLoader(PAIRS, 40), 150),
    ],
    ids=["stream", "sampler", "drop last", "loader"],
)
def test_the_penalty_is_that_of_the_rows_in_an_epoch(data, n_rows):
    model = TorchLogisticRegression(2.0, solver="adam", max_iter=1, tol=None)
    model.fit(data, classes=[0, 1, 2])
    assert model.weight_seen_ == n_rows
    strength = model.net_.criterion_.penalty.l2[0, 0, 0].item()
    assert strength == pytest.approx(1 / (2.0 * n_rows))


class Once(Stream):
    """A stream that can be read once."""

    def __iter__(self):
        rows, self.n_rows = Stream.__iter__(self), 0
        return rows


def test_a_stream_that_ends_for_good_is_named():
    model = TorchLogisticRegression(np.inf, solver="adam", max_iter=3, tol=None)
    with pytest.raises(ValueError, match="gave no batches in epoch 2"):
        model.fit(Once(), classes=[0, 1, 2])


def test_classes_given_override_what_the_data_set_tells():
    shifted = TensorDataset(X_T, Y_T + 10)
    shifted.targets = Y
    model = TorchLogisticRegression(solver="adam", max_iter=2, tol=None)
    assert_array_equal(model.fit(shifted, classes=[10, 11, 12]).classes_, [10, 11, 12])


def test_single_rows_are_not_batches():
    loader = DataLoader(PAIRS, batch_size=None)
    with pytest.raises(ValueError, match="rows of features are needed"):
        TorchLogisticRegression(solver="sgd").fit(loader)


@pytest.mark.parametrize("class_weight", [{0: -1, 1: 3, 2: 1}, {0: 0, 1: 0, 2: 0}])
def test_class_weights_are_checked(class_weight):
    with pytest.raises(ValueError, match="negative or not finite, or all zero"):
        TorchLogisticRegression(solver="sgd", class_weight=class_weight).fit(PAIRS)


def test_labels_are_found_without_reading_rows():
    images = Images()
    assert_array_equal(labels_of(images), Y)
    assert_array_equal(labels_of(Subset(images, [0, 149])), [0, 2])
    assert_array_equal(labels_of(PAIRS), Y)
    assert labels_of(Stream()) is None
    assert labels_of(ConcatDataset([images, Subset(images, [0])])) is not None
    assert images.n_read == 0


def test_the_order_follows_random_state():
    def fit(seed):
        model = TorchLogisticRegression(solver="sgd", batch_size=10, max_iter=2, tol=None)
        return model.set_params(random_state=seed).fit(PAIRS).coef_

    assert_array_equal(fit(0), fit(0))
    assert (fit(0) != fit(1)).any()


class Unlabelled(Dataset):
    def __len__(self):
        return 10

    def __getitem__(self, index):
        return X_T[index]


def with_nan():
    broken = X_T.clone()
    broken[25, 0] = torch.nan
    return DataLoader(TensorDataset(broken, Y_T), 10)


class Ragged(Stream):
    def __iter__(self):
        return iter([(torch.ones(10, 4), Y_T[:10]), (torch.ones(10, 3), Y_T[:10])])


@pytest.mark.parametrize(
    ("data", "arguments", "message"),
    [
        (TensorDataset(X_T.to(torch.complex64), Y_T), {}, "dtype torch.complex64: real numbers"),
        (
            DataLoader(Ragged(), batch_size=None),
            {"classes": [0, 1, 2]},
            "A batch has 3 features, the first one had 4",
        ),
        (DataLoader(Unlabelled(), 5), {"classes": [0, 1]}, "not a pair of features and labels"),
        (DataLoader(TensorDataset(X_T[:0], Y_T[:0]), 5), {"classes": [0, 1]}, "is empty"),
        (Stream(0), {"classes": [0, 1, 2]}, "is empty"),
        (with_nan(), {}, "Batch 2 of the data, counted from 0, contains NaN"),
        (Stream(), {"classes": [0, 1]}, "labels that are not among the classes"),
        (PAIRS, {"y": Y}, "y must be None with a TensorDataset"),
        (PAIRS, {"sample_weight": np.ones(150)}, "sample_weight must be None"),
    ],
)
def test_bad_data_is_an_error_and_changes_nothing(data, arguments, message):
    model = TorchLogisticRegression(solver="sgd", max_iter=2, tol=None).fit(X, Y)
    before = model.coef_.copy()
    with pytest.raises(ValueError, match=message):
        model.fit(data, **arguments)
    assert_array_equal(model.coef_, before)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"solver": "auto"}, "solver='auto' does not read a TensorDataset batch by batch"),
        ({"early_stopping": True}, "early_stopping=True cannot hold out rows"),
    ],
)
def test_what_cannot_be_had_with_a_data_set(parameters, message):
    with pytest.raises(ValueError, match=message):
        TorchLogisticRegression(**{"solver": "sgd", **parameters}).fit(PAIRS)


class Features(Dataset):
    """Rows without labels, as pictures."""

    def __len__(self):
        return len(X)

    def __getitem__(self, index):
        return torch.as_tensor(X[index]).reshape(2, -1)


SOURCES = {
    "data set": PAIRS,
    "loader": DataLoader(PAIRS, batch_size=7),
    "pictures without labels": Features(),
    "loader of single tensors": DataLoader(TensorDataset(torch.as_tensor(X)), batch_size=11),
}


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function"])
def test_predictions_are_made_batch_by_batch(name, method):
    model = TorchLogisticRegression().fit(X, Y)
    result = getattr(model, method)(SOURCES[name])
    assert isinstance(result, np.ndarray)
    assert_allclose(result, getattr(model, method)(X), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("labels", [Y, np.array(["a", "b", "c"])[Y]], ids=["numbers", "strings"])
def test_the_accuracy_is_that_of_the_labels_of_a_data_set(labels):
    model = TorchLogisticRegression().fit(X, labels)
    rows = list(zip(torch.as_tensor(X), labels.tolist(), strict=True))
    loader = DataLoader(rows, batch_size=13, shuffle=True)
    assert model.score(loader) == pytest.approx(model.score(X, labels))


def test_a_column_of_labels_is_flattened():
    column = TensorDataset(X_T, Y_T[:, None])
    model = TorchLogisticRegression(**WHOLE).fit(column)
    plain = TorchLogisticRegression(**WHOLE).fit(PAIRS)
    assert_allclose(model.coef_, plain.coef_)
    assert model.score(column) == plain.score(X, Y)


def test_what_a_prediction_cannot_do_with_a_data_set():
    model = TorchLogisticRegression().fit(X, Y)
    with pytest.raises(ValueError, match="y must be None with a TensorDataset"):
        model.score(PAIRS, Y)
    with pytest.raises(ValueError, match=r"not a pair of features and labels"):
        model.score(Features())
    one_hot = TensorDataset(X_T, torch.eye(3)[Y_T])
    with pytest.raises(ValueError, match=r"labels of shape \(150, 3\).*argmax"):
        model.score(one_hot)
    with pytest.raises(ValueError, match="is empty"):
        model.predict(TensorDataset(torch.empty(0, 4), torch.empty(0)))
    with pytest.raises(ValueError, match=r"X has 3 features, but .* 4 features"):
        model.predict(TensorDataset(torch.ones(5, 3)))
    with pytest.raises(ValueError, match="NaN"):
        model.predict(TensorDataset(torch.full((5, 4), torch.nan)))
    with pytest.raises(ValueError, match="y=None"):
        model.score(X)


def test_partial_fit_takes_no_data_set():
    with pytest.raises(ValueError, match="partial_fit takes arrays and tensors"):
        TorchLogisticRegression(solver="sgd").partial_fit(PAIRS, None, classes=[0, 1, 2])


def test_the_device_is_checked():
    with pytest.raises(ValueError, match="device='nowhere' cannot be used here"):
        TorchLogisticRegression(solver="sgd", device="nowhere").fit(PAIRS)


def test_class_weights_need_the_labels_in_advance():
    model = TorchLogisticRegression(solver="sgd", class_weight="balanced")
    with pytest.raises(ValueError, match="class_weight='balanced' needs the labels of all rows"):
        model.fit(Stream(), classes=[0, 1, 2])
