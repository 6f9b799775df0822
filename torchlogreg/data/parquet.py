"""Row groups of Parquet files, through Apache Arrow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from torchlogreg.data.files import FileStamps
from torchlogreg.data.sources import Allocate, BlockSource, Labels, rows_per_block

COLUMN_BYTES = 2**14
"""Bytes of a column that are read from a file at a time."""


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
    feature_names: list[str]

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
        self.feature_names, self.dtype = _features(
            self._dataset.schema, path, target, features, sample_weight
        )
        self.n_features = len(self.feature_names)
        groups = [
            (group, fragment.path)
            for fragment in self._dataset.get_fragments()
            for group in fragment.split_by_row_group()
        ]
        most = rows_per_block(self.n_features, self.dtype)
        self._groups = [(group, name, _cut(_length(group), most)) for group, name in groups]
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
                    for column, values in zip(block.T, table.columns, strict=True):
                        np.copyto(column, _values(values), casting="unsafe")
                    yield block
                number += 1

    def where(self, number: int) -> str:
        """Say where a block comes from."""
        for group, name, sizes in self._groups:
            if number < len(sizes):
                return f"row group {group.row_groups[0].id} of {name}"
            number -= len(sizes)
        return "no rows"

    def begin(self) -> None:
        """Take note of files as they are."""
        self._stamps.renew()

    def check(self) -> None:
        """Look whether files have changed since the first pass."""
        self._stamps.check()

    def _tables(self, place: int, columns: Sequence[str]) -> Iterator[Any]:
        """Yield the blocks of a row group, as batches or tables of some columns.

        Pages are decoded as they are needed: Arrow's own scanner has whole row groups in memory.
        """
        import pyarrow as pa

        group, _, sizes = self._groups[place]
        batches: list[Any] = []
        number, n_rows = 0, 0
        try:
            if not columns:
                yield from (pa.table({}) for _ in sizes)
                return
            for batch in _batches(group, self._dataset.schema, columns, max(sizes)):
                if not batches and len(batch) == sizes[number]:  # as it should be
                    yield batch
                    number += 1
                    continue
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


def _batches(group: Any, schema: Any, columns: Sequence[str], n_rows: int) -> Iterator[Any]:
    """Yield batches of so many rows of a row group, with some columns of a schema.

    What a file does not have is what its folder stands for, or missing.
    """
    import pyarrow as pa
    import pyarrow.dataset as ds
    import pyarrow.parquet as pq

    kinds = [schema.field(name).type for name in columns]
    of_folder = ds.get_partition_keys(group.partition_expression)
    with group.open() as handle:
        file = pq.ParquetFile(handle, metadata=group.metadata, buffer_size=COLUMN_BYTES)
        known = file.schema_arrow.names
        own = [name for name in columns if name in set(known)]
        wanted = own or known[:1]  # something must tell how many rows there are
        for batch in file.iter_batches(n_rows, [part.id for part in group.row_groups], wanted):
            found = dict(zip(batch.schema.names, batch.columns, strict=True)) if own else {}
            arrays = []
            for name, kind in zip(columns, kinds, strict=True):
                array = found.get(name)
                if array is None:
                    array = pa.repeat(pa.scalar(of_folder.get(name), kind), len(batch))
                arrays.append(array if array.type == kind else array.cast(kind))
            yield pa.RecordBatch.from_arrays(arrays, names=list(columns))


def _dataset(path: Any) -> Any:
    """Return a data set of Arrow."""
    try:
        import pyarrow as pa
        import pyarrow.dataset as ds
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ImportError(
            "from_parquet needs Apache Arrow: pip install 'torchlogreg[parquet]'."
        ) from error
    if isinstance(path, ds.Dataset):
        return _checked_dataset(path)
    given = path if isinstance(path, (list, tuple)) else [path]
    files: list[str] = []
    for one in map(Path, given):
        if not one.exists():
            raise FileNotFoundError(f"path={str(one)!r} does not exist.")
        found = sorted(one.rglob("*.parquet")) if one.is_dir() else [one]
        if not found:
            raise ValueError(f"path={str(one)!r} is a folder without *.parquet files.")
        parts = {part for file in found for part in file.relative_to(one).parts[:-1] if "=" in part}
        if parts:
            raise ValueError(
                f"path={str(one)!r} has folders such as {min(parts)!r}, which stand for a column. "
                "Pass pyarrow.dataset.dataset(path, partitioning='hive') to have it."
            )
        files += [str(file) for file in found]
    try:
        schemas = [pq.read_schema(file) for file in files]
        schema = pa.unify_schemas(schemas, promote_options="permissive")
        return ds.dataset(files, format="parquet", schema=schema)
    except Exception as error:
        raise OSError(f"path={path!r} cannot be read as Parquet: {error}") from error


def _checked_dataset(dataset: Any) -> Any:
    """Return a data set of Arrow, if it is one of whole Parquet files."""
    try:
        fragments = list(dataset.get_fragments())
    except ValueError as error:
        raise ValueError(f"path={dataset!r}: {error} Filter the rows before.") from error
    if not all(hasattr(fragment, "split_by_row_group") for fragment in fragments):
        raise ValueError(f"path={dataset!r} is not made of Parquet files: use from_iterable.")
    return dataset


def _features(
    schema: Any,
    path: Any,
    target: str | None,
    features: Sequence[str] | None,
    sample_weight: str | None,
) -> tuple[list[str], np.dtype[Any]]:
    """Return the names of the features, and the dtype that holds all of them."""
    if isinstance(features, str):
        raise ValueError(f"features={features!r} must be a list of names of columns.")
    own = [name for name in (target, sample_weight) if name is not None]
    index = (schema.pandas_metadata or {}).get("index_columns", [])
    others = [name for name in schema.names if name not in own and name not in index]
    names = list(others if features is None else features)
    wanted = [*names, *own]
    for name in wanted:
        if wanted.count(name) > 1:
            raise ValueError(
                f"The column {name!r} is named twice among {features=}, {target=} and "
                f"{sample_weight=}: name each of them once."
            )
        if name not in schema.names:
            what = {target: "target", sample_weight: "sample_weight"}.get(name, "features")
            raise ValueError(f"{what}={name!r} is no column of {path!r}: {_some(schema.names)}.")
    if not names:
        raise ValueError(f"{path!r} has no column of features besides {target!r}.")
    kinds = {name: schema.field(name).type for name in names}
    for name, kind in kinds.items():
        if not _is_number(kind):
            raise ValueError(
                f"features: the column {name!r} of {path!r} is of type {kind}: numbers are needed. "
                "Encode it before, or leave it out."
            )
    is_single = all(str(kind) in ("float", "halffloat") for kind in kinds.values())
    return names, np.dtype(np.float32 if is_single else np.float64)


def _is_number(kind: Any) -> bool:
    import pyarrow.types as types

    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind))


def _cut(n_rows: int, most: int) -> list[int]:
    """Cut rows into parts as Arrow does: of so many each, and what is left."""
    whole, rest = divmod(n_rows, most)
    return [most] * whole + [rest] * (rest > 0)


def _length(group: Any) -> int:
    """Number of rows of a row group."""
    (row_group,) = group.row_groups
    return int(row_group.num_rows)


def _values(column: Any) -> np.ndarray:
    """Return a column as an array; what is missing is not a number."""
    is_chunked = hasattr(column, "chunks")
    values: np.ndarray = column.to_numpy() if is_chunked else column.to_numpy(zero_copy_only=False)
    return values


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:8]))
    return f"it has {shown}" + (", ..." if len(names) > 8 else "")
