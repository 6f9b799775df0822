"""Training sets that are read from ``torch.utils.data``: nothing but a batch is in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import numpy as np
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
)

from torchlogreg.data.batches import Batch
from torchlogreg.data.containers import as_numpy
from torchlogreg.data.fingerprint import Fingerprint
from torchlogreg.data.labels import encode_labels
from torchlogreg.data.torch_data import (
    features_and_labels,
    generators_kept,
    labels_of,
    length_of,
    transforms_targets,
)
from torchlogreg.data.training_sets import TrainingSet
from torchlogreg.data.weights import check_class_weights
from torchlogreg.problem.dense import DenseBlock
from torchlogreg.problem.families import family_of

N_ITEMS = 32
"""Items of a data set that are read to know it again."""


class LoaderRows(TrainingSet):
    """The rows of a data set or data loader of torch, batch by batch.

    The features of a row are flattened. The first batch is read at once, to learn their number.

    Parameters
    ----------
    data : Dataset or DataLoader
        Gives pairs of features and label. The batches of a loader are taken as they are; a data
        set is read in batches of ``batch_size``, in random order unless it is iterable.
    classes : array-like of shape (K,), optional
        The labels, if the data set does not tell.
    class_weight : dict, "balanced" or None
        Weights of the classes.
    batch_size : int
        Rows of a batch.
    seed : int
        For the order.
    device : torch.device
        Where batches are brought.
    fit_intercept : bool
        Whether the coefficients have a column for an intercept.
    has_penalty : bool
        Whether the number of rows matters: if it is not known, they are then counted in a pass
        of their own.

    Raises
    ------
    ValueError
        If there are no rows, no labels, or if the classes are not known. In the first epoch, if
        the items of a data set carry other labels than it tells.
    """

    def __init__(
        self,
        data: Any,
        *,
        classes: Any,
        class_weight: Any,
        batch_size: int,
        seed: int,
        device: torch.device,
        fit_intercept: bool,
        has_penalty: bool,
    ) -> None:
        dataset = data.dataset if isinstance(data, DataLoader) else data
        if length_of(dataset) == 0:
            raise ValueError(f"X={data!r} is empty: a fit needs rows.")
        codes, self.classes = self._labels(dataset, classes)
        self._told = None if codes is None else np.bincount(codes, minlength=len(self.classes))
        self._class_weight = self._weights(class_weight, codes)
        self._mean_weight = 1.0 if codes is None else float(self._class_weight[codes].mean())
        self._seed, self._generator = seed, None
        self.loader = data
        if not isinstance(data, DataLoader):
            # Shuffled by a generator of our own, which gets a new seed for every epoch.
            self._generator = torch.Generator("cpu")
            shuffle = not isinstance(dataset, IterableDataset)
            self.loader = DataLoader(dataset, batch_size, shuffle, generator=self._generator)
        self.family = family_of(len(self.classes))
        self.device = device
        self.fit_intercept = fit_intercept
        self._start: Iterator[Any] | None = self._epoch(0)
        self._first = next(self._start, None)
        if self._first is None:
            raise ValueError(f"X={data!r} is empty: a fit needs rows.")
        features, _ = features_and_labels(self._first)
        self.n_features = features[0].numel()
        self.dtype = torch.promote_types(features.dtype, torch.float32)
        if not self.dtype.is_floating_point:
            raise ValueError(f"The features have the dtype {features.dtype}: real numbers needed.")
        self.n_rows = self._count(is_needed=has_penalty)
        if not self._reads_rows_once():
            self._told = None
        self.weight_unit = torch.ones(1, dtype=torch.float64)
        self.weight_sum = torch.tensor([self.n_rows * self._mean_weight], dtype=torch.float64)

    def __len__(self) -> int:
        """Return the number n of rows."""
        return self.n_rows

    @staticmethod
    def _labels(dataset: Any, classes: Any) -> tuple[np.ndarray | None, np.ndarray]:
        """Codes of all rows, None where they are not known in advance, and the classes."""
        if classes is not None:
            return None, encode_labels(np.asarray(classes), classes)[1]
        labels = labels_of(dataset)
        if labels is None:
            reason = " (it transforms its targets)" if transforms_targets(dataset) else ""
            raise ValueError(
                f"The labels of {type(dataset).__name__} are not known in advance{reason}. Name "
                "them: fit(data, classes=[...])."
            )
        return encode_labels(labels)

    def _count(self, *, is_needed: bool) -> int:
        """Number of rows in an epoch: 1 if it is neither known nor needed."""
        loader = self.loader
        if self._is_plain() and hasattr(loader.sampler, "__len__"):
            n = len(loader.sampler)
            return n - n % loader.batch_size if loader.drop_last else n
        if not is_needed:
            return 1
        self._start = None
        return sum(len(features_and_labels(batch)[0]) for batch in self._epoch(0))

    def fingerprint(self) -> str:
        """Return a digest of what can be known without a pass over the data.

        These are shape, labels as far as the data set tells them, batch size, and some rows: items
        evenly spread over the data set, unless they come out differently each time; of an
        iterable data set the first batch.
        """
        digest = Fingerprint().add(self.n_rows, self.n_features, self.dtype, self.loader.batch_size)
        digest.add(self.classes, self._class_weight)
        dataset = self.loader.dataset
        if isinstance(dataset, IterableDataset) or not length_of(dataset):
            return str(digest.add(*features_and_labels(self._first)))
        labels = labels_of(dataset)
        digest.add("unknown" if labels is None else labels)
        with generators_kept():
            some = range(0, len(dataset), max(len(dataset) // N_ITEMS, 1))
            items, again = ([dataset[i] for i in some] for _ in range(2))
        is_same = str(Fingerprint().add(*items)) == str(Fingerprint().add(*again))
        return str(digest.add(*items) if is_same else digest)

    def _is_plain(self) -> bool:
        """Whether the batches are slices of the order that a sampler gives."""
        is_iterable = isinstance(self.loader.dataset, IterableDataset)
        return type(self.loader.batch_sampler) is BatchSampler and not is_iterable

    def _reads_rows_once(self) -> bool:
        """Whether an epoch has every row of the data set once, except those that are dropped."""
        sampler = getattr(self.loader, "sampler", None)
        is_once = type(sampler) is SequentialSampler or (
            type(sampler) is RandomSampler
            and not sampler.replacement
            and len(sampler) == len(self.loader.dataset)
        )
        return self._is_plain() and is_once

    def sample(self) -> DenseBlock:
        """Return the rows of the first batch."""
        rows, _ = self._rows(*features_and_labels(self._first))
        return rows

    def mini_batches(self, batch_size: int, seed: int, epoch: int) -> Iterable[Batch]:
        """Return the batches of an epoch, in the sizes that the loader gives them."""
        return _LoaderBatches(self, epoch)

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches of an epoch."""
        start, self._start = self._start, None
        source: Iterable[Any]
        if epoch == 0 and start is not None:
            source = chain([self._first], start)
        else:
            source = self._epoch(epoch)
        n_found = np.zeros(len(self.classes), dtype=np.int64)
        for number, batch in enumerate(source):
            rows, codes = self._rows(*features_and_labels(batch))
            if self._told is not None:
                n_found += np.bincount(codes.cpu().numpy(), minlength=len(n_found))
            if not rows.X.isfinite().all():
                raise ValueError(
                    f"Batch {number} of the data, counted from 0, contains NaN or infinity. Drop "
                    "or impute these entries."
                )
            yield rows, codes
        told = self._told
        is_whole = told is not None and n_found.sum() == told.sum()
        if told is not None and ((n_found != told) if is_whole else (n_found > told)).any():
            raise ValueError(
                f"The items of {type(self.loader.dataset).__name__} carry other labels than its "
                f"targets: of the classes {self.classes!r} there are {n_found.tolist()} rows, but "
                f"{told.tolist()} targets. Name the labels of the items: "
                "fit(data, classes=[...])."
            )
        self._told = None

    def _epoch(self, epoch: int) -> Iterator[Any]:
        """Begin an epoch of the loader."""
        if self._generator is not None:
            self._generator.manual_seed(self._seed * 2**20 + epoch)
        return iter(self.loader)

    def _rows(self, features: Tensor, labels: Any) -> tuple[DenseBlock, Tensor]:
        """Rows and class codes of a batch."""
        X = features.to(self.device, self.dtype).flatten(1)
        if X.shape[1] != self.n_features:
            raise ValueError(
                f"A batch has {X.shape[1]} features, the first one had {self.n_features}: all "
                "rows must have the same number."
            )
        codes_array, _ = encode_labels(np.asarray(as_numpy(labels)), self.classes)
        codes = torch.from_numpy(codes_array)
        weight = torch.from_numpy(self._class_weight)[codes] / (self._mean_weight * len(X))
        codes = codes.to(self.device)
        rows = DenseBlock(
            X,
            self.family.encode(codes, self.dtype),
            weight.to(self.device, self.dtype).unsqueeze(0),
            self.fit_intercept,
        )
        return rows, codes

    def _weights(self, class_weight: Any, codes: np.ndarray | None) -> np.ndarray:
        """Weight (K,) of each class."""
        weights = np.ones(len(self.classes))
        if class_weight is None:
            return weights
        if codes is None:
            raise ValueError(
                f"class_weight={class_weight!r} needs the labels of all rows, which this data set "
                "does not tell in advance. Give it an attribute targets, or use arrays."
            )
        per_class = np.asarray(
            compute_class_weight(class_weight, classes=self.classes, y=self.classes[codes]),
            dtype=float,
        )
        check_class_weights(per_class, class_weight)
        return per_class


class _LoaderBatches:
    """Iterator over the batches of one epoch after the other."""

    def __init__(self, rows: LoaderRows, epoch: int) -> None:
        self.rows = rows
        self.epoch = epoch
        if hasattr(rows.loader, "__len__") and not isinstance(rows.loader.dataset, IterableDataset):
            self.n_batches = len(rows.loader)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches of the next epoch."""
        self.epoch += 1
        return self.rows.batches(self.epoch - 1)
