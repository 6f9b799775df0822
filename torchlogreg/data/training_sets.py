"""Training sets of arrays, and what all training sets have.

Shapes follow the legend in :mod:`torchlogreg.problem.objective`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from torchlogreg.data.batches import Batch, ShuffledBatches
from torchlogreg.data.fingerprint import Fingerprint
from torchlogreg.data.sharing import stacked
from torchlogreg.data.training_data import Features
from torchlogreg.problem.centring import MANY, Centre, centre_of, double
from torchlogreg.problem.dense import DenseBlock
from torchlogreg.problem.families import Family
from torchlogreg.problem.group import ALONE, Group
from torchlogreg.problem.penalties import Penalty, make_penalty
from torchlogreg.problem.products import CHUNK_ENTRIES
from torchlogreg.problem.row_block import RowBlock, select_rows
from torchlogreg.problem.rows import Rows
from torchlogreg.problem.sparse import SparseBlock
from torchlogreg.problem.stored import StoredBlock, StoredMatrix


class TrainingSet(Dataset[Any]):
    """What a net is trained on: a data set that brings the iterator of its mini-batches."""

    n_rows: int
    """Number n of rows."""

    n_features: int
    """Number d of features."""

    weight_unit: Tensor
    """The unit of the row weights, so that their sum does not overflow: shape (1 or B,)."""

    weight_sum: Tensor
    """Sum of the row weights of each problem in that unit, shape (1 or B,)."""

    family: Family
    """Loss of a row."""

    fit_intercept: bool
    """Whether the coefficients have a column for an intercept."""

    dtype: torch.dtype
    """Of what is computed from the rows."""

    device: torch.device
    """Where the rows are, or are brought to."""

    group: Group = ALONE
    """The processes that have rows."""

    def penalty(self, C: Any, l1_ratio: float = 0.0, weight_before: float = 0.0) -> Penalty:
        """Return the penalty for these rows, and others before them of so much weight.

        ``C``, scikit-learn's, is a number, or one for each of B problems.
        """
        C = torch.as_tensor(C, dtype=torch.float64, device=self.weight_unit.device)
        total = self.weight_sum
        penalty = make_penalty(
            C * self.weight_unit,
            total + weight_before / self.weight_unit if weight_before else total,
            self.n_features,
            fit_intercept=self.fit_intercept,
            l1_ratio=l1_ratio,
        )
        return penalty.on(self.device, double(self.device)).to(self.dtype)

    @abstractmethod
    def fingerprint(self) -> str:
        """Return a digest that tells this data from other data."""

    @abstractmethod
    def sample(self) -> RowBlock:
        """Return some of the rows, to learn of their scale."""

    @abstractmethod
    def mini_batches(self, batch_size: int, seed: int, epoch: int) -> Iterable[Batch]:
        """Return the batches of an epoch. Every iteration over them begins another epoch.

        Their weights are such that the mean loss of a batch is an unbiased estimate of that of
        all rows.

        Parameters
        ----------
        batch_size : int
            Most rows of a batch.
        seed, epoch : int
            Together they determine the order of the first epoch. The next ones follow.
        """


class ArrayRows(TrainingSet):
    """A training set in memory, as row blocks.

    Parameters
    ----------
    X : Tensor or StoredMatrix of shape (n, d)
        Features, dense or CSR. What is computed from bfloat16 or float16 is float32.
    codes : Tensor of shape (n,)
        Class codes 0..K-1.
    sample_weight : Tensor of shape (n,) or (B, n)
        Non-negative row weights. Problems with rows of their own, such as the folds of a
        cross-validation, share X and give the other rows weight 0.
    family : Family
        Gives the targets their form.
    fit_intercept : bool, default=True
        Whether the coefficients have a column for an intercept.
    block_size : int, optional
        Most rows per block of dense data; one block by default. Blocks are views.
    index : Tensor, optional
        The rows that mini-batches are made of, all by default; the others have weight 0.
    is_centred : bool, default=False
        Whether the blocks are for the coefficients of centred columns. They are not without an
        intercept, nor where no column lies far from zero.
    small_entries : int, default=2**20
        Most entries of a dense block that is copied, centred and with a column of ones for the
        intercept: that spares calls, and copies in every iteration.
    chunk_entries : int, default=2**20
        Most entries of a temporary matrix made from the rows.
    group : Group, default=ALONE
        The processes that have rows of the training set: these are those of this one.
    """

    def __init__(
        self,
        X: Features,
        codes: Tensor,
        sample_weight: Tensor,
        family: Family,
        fit_intercept: bool = True,
        *,
        block_size: int | None = None,
        index: Tensor | None = None,
        is_centred: bool = False,
        small_entries: int = 2**20,
        chunk_entries: int = CHUNK_ENTRIES,
        group: Group = ALONE,
    ) -> None:
        weight = torch.atleast_2d(sample_weight)
        self.group = group
        self.weight_unit = group.largest(_largest_weight(weight))
        # In the precision of the weights, which may exceed the range of the features' dtype.
        weight = weight / self.weight_unit.unsqueeze(-1)
        (self.weight_sum,) = group.total(weight.sum(-1))
        self.family = family
        self.device = X.device
        self.dtype = torch.promote_types(X.dtype, torch.float32)
        wide = double(X.device)
        weight = weight.div_(self.weight_sum.unsqueeze(-1)).to(X.device, wide)
        targets = family.encode(codes, self.dtype)
        self.X = X
        self.codes = codes
        self.sample_weight = sample_weight
        self.fit_intercept = fit_intercept
        self.index = index
        self.n_rows, self.n_features = X.shape
        is_dense = X.layout is torch.strided
        size = block_size if block_size is not None and is_dense else max(self.n_rows, 1)
        kind: type[RowBlock] = DenseBlock if is_dense else SparseBlock
        kind = StoredBlock if isinstance(X, StoredMatrix) else kind
        blocks = [
            kind(*part, fit_intercept, chunk_entries=chunk_entries)
            for part in self._split(X, targets, weight, size)
        ]
        self.rows = Rows(tuple(blocks))
        centre = self._centre() if is_centred and fit_intercept else None
        prepared = [self._prepared(block, centre, small_entries) for block in blocks]
        sketch = None
        if isinstance(X, StoredMatrix):
            some = self._sample_of(X, chunk_entries)
            sketch = Rows.shared([self._prepared(some, centre, small_entries)], centre, group)
        self.rows = replace(Rows.shared(prepared, centre, group), sketch=sketch)

    def _centre(self) -> Centre | None:
        """Return where the columns lie: by some rows of every process."""
        some = None
        if isinstance(self.X, StoredMatrix):
            drawn = self.X.sample.X
            some = select_rows(drawn, slice(None, None, max(len(drawn) // MANY, 1)))
        elif self.n_rows:
            some = self.sample(MANY).X
        if self.group.size > 1:
            # A copy: a pickled view would have all rows with it.
            known = self.group.gathered(None if some is None else some.cpu().clone())
            some = stacked([part for part in known if part is not None]).to(self.device)
        assert some is not None
        return centre_of(some) if len(some) else None

    def _sample_of(self, X: StoredMatrix, chunk_entries: int) -> RowBlock:
        """Return the rows of the sample, with weights that stand for all and sum to one."""
        sample = X.sample
        weight = self.rows.weight[:, sample.index] * sample.factor
        (total,) = self.group.total(weight.sum(-1, keepdim=True))
        targets = torch.cat([block.targets for block in self.rows])[sample.index]
        kind = DenseBlock if X.layout is torch.strided else SparseBlock
        weight = weight / total.clamp_min(torch.finfo(total.dtype).tiny)
        return kind(sample.X, targets, weight, self.fit_intercept, chunk_entries=chunk_entries)

    @staticmethod
    def _split(
        X: Features, targets: Tensor, weight: Tensor, size: int
    ) -> Iterable[tuple[Any, Tensor, Tensor]]:
        """Return the rows, some at a time."""
        if isinstance(X, StoredMatrix):
            weights = weight.split(X.sizes, -1)
            return zip(X.parts, targets.split(X.sizes), weights, strict=True)
        if size >= len(targets):
            return [(X, targets, weight)]
        return zip(X.split(size), targets.split(size), weight.split(size, -1), strict=True)

    def _prepared(self, block: RowBlock, centre: Centre | None, most_entries: int) -> RowBlock:
        """Centre and round a block; as a copy with a column of ones if it is small and dense."""
        if centre is not None:
            block = block.centred_on(centre)
        is_copied = block.has_intercept and block.n_entries <= most_entries
        if is_copied and isinstance(block, DenseBlock):
            rows: RowBlock = block.by_columns(self.dtype)
        else:
            rows = block.to(self.dtype)
        return rows if self.dtype == block.weight.dtype else replace(rows, exact=block)

    def __len__(self) -> int:
        """Return the number n of rows."""
        return self.n_rows

    def __getitem__(self, index: Any) -> Any:
        """Refuse: rows are read many at a time."""
        raise TypeError(
            "The rows of a training set are read many at a time. For a callback that predicts "
            "during the fit, such as EpochScoring, set use_caching=True (its default) and "
            "on_train=True: it is given the predictions of the solver."
        )

    def mini_batches(self, batch_size: int, seed: int, epoch: int) -> ShuffledBatches:
        """Return the batches of an epoch: the rows in random order, some at a time."""
        (block,) = self.rows
        return ShuffledBatches(block, self.codes, self.index, batch_size, seed, epoch)

    def sample(self, n_rows: int = 1000) -> RowBlock:
        """Return about so many rows, evenly spread over those that have weight."""
        rows = self.rows.blocks[0]
        every = max(len(rows) // n_rows, 1)
        if rows.weight[:, ::every].min() > 0:
            return rows.every(every)
        index = torch.arange(len(rows), device=self.device)
        some = index[::every]
        some = some[rows.weight[:, some].amax(0) > 0]
        if 2 * len(some) < min(n_rows, len(rows)):  # the weight is on few rows
            index = index[rows.weight.amax(0) > 0]
            some = index[:: max(len(index) // n_rows, 1)]
        return rows.take_rows(some)

    def fingerprint(self) -> str:
        """Return a digest of features, labels and weights."""
        index = "all rows" if self.index is None else self.index
        X = self.X.fingerprint() if isinstance(self.X, StoredMatrix) else self.X
        return str(Fingerprint().add(X, self.codes, self.sample_weight, index))


def _largest_weight(weight: Tensor) -> Tensor:
    """Largest weight (B,) of each problem; 0 where a process has no rows."""
    return weight.amax(-1) if weight.shape[-1] else weight.new_zeros(len(weight))
