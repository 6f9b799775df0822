"""A label is never turned into another one, and labels are those that the items carry."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn.preprocessing import LabelEncoder
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset, TensorDataset

from torchlogreg import TorchLogisticRegression
from torchlogreg.data.labels import encode_labels

X = np.random.default_rng(0).normal(size=(40, 3))
CODES = np.arange(40) % 2

LOOK_ALIKES = {
    "longer strings": (["cat", "dog"], np.array(["catfish", "dogfish"])),
    "fractions": ([0, 1], np.array([0.7, 1.7])),
    "other range": (np.array([0, 1], dtype=np.uint8), np.array([256, 257])),
    "text of a number": ([0, 1], np.array(["0", "1"])),
    "large integers": ([2**53, 2**53 + 2], np.array([2**53 + 1, 2**53 + 3])),
    "objects": (["cat", "dog"], np.array(["catfish", None], dtype=object)),
}


def estimator(**params):
    return TorchLogisticRegression(solver="sgd", max_iter=3, tol=None, **params)


@pytest.mark.parametrize("name", LOOK_ALIKES)
def test_partial_fit_refuses_labels_that_only_look_alike(name):
    classes, labels = LOOK_ALIKES[name]
    model = estimator().partial_fit(X, np.asarray(classes)[CODES], classes=classes)
    before = model.coef_.copy()
    with pytest.raises(ValueError, match="labels that are not among the classes"):
        model.partial_fit(X, labels[CODES])
    assert_array_equal(model.coef_, before)


class Pairs(Dataset):
    """Items of a row and a label, any label."""

    def __init__(self, labels):
        self.labels_ = labels

    def __len__(self):
        return len(X)

    def __getitem__(self, index):
        return torch.from_numpy(X[index]), self.labels_[CODES[index]]


@pytest.mark.parametrize("name", ["longer strings", "fractions", "other range"])
def test_loaders_refuse_labels_that_only_look_alike(name):
    classes, labels = LOOK_ALIKES[name]
    with pytest.raises(ValueError, match="labels that are not among the classes"):
        estimator().fit(Pairs(labels.tolist()), classes=classes)


@pytest.mark.parametrize("labels", [[0.0, 1.0], [False, True], np.array([0, 1], dtype=np.int8)])
def test_equal_labels_of_another_type_are_the_same(labels):
    codes, _ = encode_labels(np.asarray(labels)[CODES], [0, 1])
    assert_array_equal(codes, CODES)


def test_weights_of_other_labels_are_not_those_of_the_classes():
    with pytest.raises(ValueError, match="class_weight"):
        estimator(class_weight={"catfish": 2.0, "dogfish": 1.0}).partial_fit(
            X, np.array(["cat", "dog"])[CODES], classes=["cat", "dog"]
        )


@pytest.mark.parametrize(
    "y",
    [
        np.random.default_rng(0).integers(0, 7, 500),
        np.random.default_rng(0).integers(-120, 120, 2000).astype(np.int8),
        np.repeat(np.random.default_rng(0).integers(0, 2**40, 10), 5),
        np.array([2**63 + 1, 2**63 + 5] * 20, dtype=np.uint64),
        np.array(["b", "a", "c"] * 5),
        np.array(["b", "a"] * 5, dtype=object),
        np.array([True, False] * 5),
        np.array([1.0, 3.0, 2.0] * 5),
    ],
    ids=lambda y: str(y.dtype),
)
def test_labels_are_encoded_as_scikit_learn_encodes_them(y):
    codes, classes = encode_labels(y)
    encoder = LabelEncoder()
    assert_array_equal(codes, encoder.fit_transform(y))
    assert_array_equal(classes, encoder.classes_)
    assert classes.dtype == encoder.classes_.dtype


class Transformed(Dataset):
    """As torchvision's: raw targets, and items whose target is transformed."""

    def __init__(self, target_transform=None, transforms=None):
        self.targets = torch.arange(40) % 4
        self.target_transform = target_transform
        self.transforms = transforms

    def __len__(self):
        return len(X)

    def __getitem__(self, index):
        x, target = torch.from_numpy(X[index]), int(self.targets[index])
        if self.transforms is not None:
            return self.transforms(x, target)
        return x, target if self.target_transform is None else self.target_transform(target)


def parity(target):
    return target % 2


WRAPPERS = [
    lambda data: data,
    lambda data: DataLoader(data, 10),
    lambda data: Subset(data, range(40)),
    lambda data: ConcatDataset([data, data]),
]


@pytest.mark.parametrize("wrap", WRAPPERS)
@pytest.mark.parametrize(
    "data",
    [Transformed(parity), Transformed(transforms=lambda x, target: (x, target % 2))],
    ids=["target_transform", "transforms"],
)
def test_the_classes_are_those_of_the_items(data, wrap):
    with pytest.raises(ValueError, match="not known in advance"):
        estimator().fit(wrap(data))
    model = estimator().fit(wrap(data), classes=[0, 1])
    assert_array_equal(model.classes_, [0, 1])
    with pytest.raises(ValueError, match="not among the classes"):
        estimator().fit(wrap(Transformed()), classes=[0, 1])


class Relabelled(Transformed):
    """Changes its labels without telling."""

    def __getitem__(self, index):
        x, target = super().__getitem__(index)
        return x, target % 2


@pytest.mark.parametrize("shuffle", [False, True])
def test_items_that_carry_other_labels_than_the_targets_are_noticed(shuffle):
    message = "carry other labels than its targets.*Name the labels of the items"
    for data in (Relabelled(), DataLoader(Relabelled(), 7, shuffle=shuffle)):
        with pytest.raises(ValueError, match=message):
            estimator().fit(data)
    assert len(estimator().fit(Relabelled(), classes=[0, 1]).classes_) == 2


def test_rows_that_are_dropped_do_not_hide_other_labels():
    with pytest.raises(ValueError, match="carry other labels than its targets"):
        estimator().fit(DataLoader(Relabelled(), 7, drop_last=True))


def test_classes_are_strings_or_numbers():
    with pytest.raises(ValueError, match="mixes strings and numbers"):
        estimator().fit(Pairs([0, 1]), classes=[0, 1, "2"])


def test_parts_of_a_data_set_need_not_have_all_of_its_targets():
    some = DataLoader(Transformed(), 7, drop_last=True)
    assert len(estimator().fit(some).classes_) == 4


def test_an_empty_data_set_is_named():
    empty = TensorDataset(torch.zeros(0, 3), torch.zeros(0))
    for arguments in ({}, {"classes": [0, 1]}):
        with pytest.raises(ValueError, match="is empty: a fit needs rows"):
            estimator().fit(empty, **arguments)
