"""Row groups of Parquet files, through Apache Arrow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from torchlogreg.data.files import FileStamps
from torchlogreg.data.sources import Allocate, BlockSource, Labels, cut, rows_per_block


class ParquetSource(BlockSource):
    """Columns of a Parquet file, of a folder of them, or of a data set of Arrow.

    Parameters
    ----------
    path : str, Path, list of these, or pyarrow.dataset.Dataset
        The files.
    target : str or None
        Name of the column of labels.
    features : list of str or None
        Names of the columns of features; None for all others.
    sample_weight : str or None
        Name of the column of weights.
    budget : int or None
        As for :class:`BlockSource`.
    """

    is_by_columns = True

    def __init__(
        self,
        path: Any,
        target: str | None,
        features: Sequence[str] | None,
        sample_weight: str | None,
        budget: int | None,
    ) -> None:
        self.budget, self._target, self._weight = budget, target, sample_weight
        self._dataset = _dataset(path)
        schema = self._dataset.schema
        for name, column in (("target", target), ("sample_weight", sample_weight)):
            if column is not None and column not in schema.names:
                raise ValueError(
                    f"{name}={column!r} is no column of {path!r}: {_some(schema.names)}."
                )
        others = [name for name in schema.names if name not in (target, sample_weight)]
        self.feature_names = list(others if features is None else features)
        if not self.feature_names:
            raise ValueError(f"{path!r} has no column of features besides {target!r}.")
        self.dtype = np.dtype(np.float32)
        for name in self.feature_names:
            if name not in schema.names:
                raise ValueError(
                    f"features: {name!r} is no column of {path!r}: {_some(schema.names)}."
                )
            if not _is_number(kind := schema.field(name).type):
                raise ValueError(
                    f"features: the column {name!r} of {path!r} is of type {kind}: numbers are "
                    "needed. Encode it before, or leave it out."
                )
            if str(kind) not in ("float", "halffloat"):
                self.dtype = np.dtype(np.float64)
        self.n_features = len(self.feature_names)
        groups = [
            (group, fragment.path)
            for fragment in self._dataset.get_fragments()
            for group in fragment.split_by_row_group()
        ]
        most = rows_per_block(self.n_features, self.dtype)
        self._groups = [(group, name, cut(_length(group), most)) for group, name in groups]
        self._groups = [entry for entry in self._groups if sum(entry[2])]
        if not self._groups:
            raise ValueError(f"{path!r} has no rows: a fit needs some.")
        self._stamps = FileStamps({name for _, name, _ in self._groups if Path(name).exists()})
        self.sizes = [size for *_, sizes in self._groups for size in sizes]

    def labels(self) -> Iterator[tuple[int, Labels]]:
        """Yield the number of rows of every block, their labels and weights."""
        columns = [name for name in (self._target, self._weight) if name is not None]
        for place, (_, _, sizes) in enumerate(self._groups):
            for size, table in zip(sizes, self._tables(place, columns), strict=True):
                y, weight = (
                    None if name is None else _values(table.column(name))
                    for name in (self._target, self._weight)
                )
                yield size, (y, weight)

    def read(self, start: int, allocate: Allocate) -> Iterator[np.ndarray]:
        """Yield the features of the blocks from one on."""
        number = 0
        for place, (_, _, sizes) in enumerate(self._groups):
            if number + len(sizes) <= start:
                number += len(sizes)
                continue
            for size, table in zip(sizes, self._tables(place, self.feature_names), strict=True):
                if number >= start:
                    block = allocate(size)
                    for column, name in enumerate(self.feature_names or ()):
                        np.copyto(block[:, column], _values(table.column(name)), casting="unsafe")
                    yield block
                number += 1

    def where(self, number: int) -> str:
        """Say where a block comes from."""
        for group, name, sizes in self._groups:
            if number < len(sizes):
                return f"row group {group.row_groups[0].id} of {name}"
            number -= len(sizes)
        return "no rows"

    def check(self) -> None:
        """Look whether files have changed since the first pass."""
        self._stamps.check()

    def _tables(self, place: int, columns: Sequence[str] | None) -> Iterator[Any]:
        """Yield the blocks of a row group, as tables of some columns."""
        import pyarrow as pa

        group, _, sizes = self._groups[place]
        wanted, number, batches, n_rows = list(columns or ()), 0, [], 0
        try:
            if not wanted:
                yield from (pa.table({}) for _ in sizes)
                return
            for batch in group.scanner(
                schema=self._dataset.schema,
                columns=wanted,
                batch_size=max(sizes),
                batch_readahead=1,
                fragment_readahead=1,
            ).to_batches():
                batches.append(batch)
                n_rows += len(batch)
                while number < len(sizes) and n_rows >= sizes[number]:
                    table, size = pa.Table.from_batches(batches), sizes[number]
                    yield table.slice(0, size)
                    batches, n_rows = table.slice(size).to_batches(), n_rows - size
                    number += 1
        except (OSError, pa.ArrowException) as error:
            first = sum(len(sizes) for *_, sizes in self._groups[:place])
            raise OSError(f"{self.where(first)} cannot be read: {error}") from error


def _dataset(path: Any) -> Any:
    """Return a data set of Arrow."""
    try:
        import pyarrow.dataset as ds
    except ImportError as error:
        raise ImportError(
            "from_parquet needs Apache Arrow: pip install 'torchlogreg[parquet]'."
        ) from error
    if isinstance(path, ds.Dataset):
        return path
    given = path if isinstance(path, (list, tuple)) else [path]
    files: list[str] = []
    for one in map(Path, given):
        if not one.exists():
            raise FileNotFoundError(f"path={str(one)!r} does not exist.")
        found = sorted(one.rglob("*.parquet")) if one.is_dir() else [one]
        if not found:
            raise ValueError(f"path={str(one)!r} is a folder without *.parquet files.")
        files += [str(file) for file in found]
    try:
        return ds.dataset(files, format="parquet")
    except Exception as error:
        raise OSError(f"path={path!r} cannot be read as Parquet: {error}") from error


def _is_number(kind: Any) -> bool:
    import pyarrow.types as types

    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind))


def _length(group: Any) -> int:
    """Number of rows of a row group."""
    (row_group,) = group.row_groups
    return int(row_group.num_rows)


def _values(column: Any) -> np.ndarray:
    """Return a column as an array; what is missing is not a number."""
    values: np.ndarray = column.to_numpy()
    return values


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:8]))
    return f"it has {shown}" + (", ..." if len(names) > 8 else "")
