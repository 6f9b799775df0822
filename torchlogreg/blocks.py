"""Data that is larger than memory: blocks of rows, which are read whenever they are needed.

What these functions return takes the place of ``X`` in ``fit``, ``predict`` and their like. The
minimiser is that of the same rows in memory. A fit reads the data once to look at it, once an
iteration as a rule, and once at the end to check the result.

Memory is bounded by ``budget`` plus what a fit keeps for every row: its label, weight, linear
predictors and residuals, some six numbers per logit of a row. These are counted in the budget;
where they alone are more, they are what a fit takes. Blocks stay in memory, too, as long as the
budget has room for them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torchlogreg.data.array_source import ArraySource
from torchlogreg.data.iterable_source import IterableSource
from torchlogreg.data.parquet import ParquetSource
from torchlogreg.data.sources import BlockSource

__all__ = ["from_arrays", "from_iterable", "from_parquet"]


def from_parquet(
    path: Any,
    *,
    target: str | None = None,
    features: Sequence[str] | None = None,
    sample_weight: str | None = None,
    budget: int | None = None,
    scratch: str | Path | None = None,
) -> BlockSource:
    """Return the rows of Parquet files as blocks.

    Parameters
    ----------
    path : str, Path, list of these, or pyarrow.dataset.Dataset
        Files, or folders that are searched for ``*.parquet``. Rows are those of the files in the
        order of their names.
    target : str, default=None
        Name of the column of labels: numbers or strings. None if there are none, as for
        predictions.
    features : list of str, default=None
        Names of the columns of features, which must be numbers; None for all other columns. They
        are read as float32 if all are stored so, and as float64 otherwise.
    sample_weight : str, default=None
        Name of the column of row weights; None for weights of 1.
    budget : int, default=None
        Bytes of memory to take at most; None for a quarter of what the machine has.
    scratch : str or Path, default=None
        Folder with room for a copy of the features, in which later passes find them as they were
        decoded. It goes when the fit ends. None for no copy: every pass reads the rows anew.

    Returns
    -------
    blocks : BlockSource
        To be passed in the place of ``X``, without ``y`` and ``sample_weight``.

    Raises
    ------
    ImportError
        If Apache Arrow is not there.
    FileNotFoundError
        If a file is not.
    ValueError
        If there are no rows, or a column is missing or not numeric.

    Examples
    --------
    A folder of files with a column "clicked"::

        from torchlogreg import TorchLogisticRegression, blocks

        rows = blocks.from_parquet("clicks/", target="clicked")
        model = TorchLogisticRegression(verbose=1).fit(rows)
        proba = model.predict_proba(blocks.from_parquet("new/", features=rows.feature_names))
    """
    source = ParquetSource(path, target, features, sample_weight, _checked_budget(budget))
    return _with_scratch(source, scratch)


def from_arrays(
    X: Any,
    y: Any = None,
    sample_weight: Any = None,
    *,
    budget: int | None = None,
    scratch: str | Path | None = None,
) -> BlockSource:
    """Return the rows of arrays as blocks: they are sliced, and never read as a whole.

    Parameters
    ----------
    X : array of shape (n, d), str or Path, or list of these
        Anything that can be sliced and has a shape and a dtype: memory maps, HDF5 data sets, Zarr
        arrays; or names of ``.npy`` files. Those of a list follow one another.
    y : array of shape (n,), str or Path, or list of these, default=None
        Labels, in as many parts as X; None if there are none, as for predictions.
    sample_weight : array of shape (n,), str or Path, or list of these, default=None
        Weights of the rows, in as many parts as X; None for 1.
    budget : int, default=None
        Bytes of memory to take at most; None for a quarter of what the machine has.
    scratch : str or Path, default=None
        Folder with room for a copy of the features, in which later passes find them as they were
        decoded. It goes when the fit ends. None for no copy: every pass reads the rows anew.

    Returns
    -------
    blocks : BlockSource
        To be passed in the place of ``X``, without ``y`` and ``sample_weight``.

    Raises
    ------
    ValueError
        If the parts do not have the same columns, or y not a label for each row.

    Examples
    --------
    >>> import numpy as np
    >>> from torchlogreg import TorchLogisticRegression, blocks
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(1000, 3))
    >>> rows = blocks.from_arrays(X, X[:, 0] > 0, budget=10_000)
    >>> TorchLogisticRegression().fit(rows).score(rows) > 0.99
    True
    """
    parts = [
        None if value is None else list(value) if _is_list(X) else [value]
        for value in (X, y, sample_weight)
    ]
    if not parts[0]:
        raise ValueError(f"X={X!r} has no rows: a fit needs some.")
    for name, part in zip(("y", "sample_weight"), parts[1:], strict=True):
        if part is not None and len(part) != len(parts[0]):
            raise ValueError(f"{name} has {len(part)} parts, X has {len(parts[0])}: give as many.")
    source = ArraySource(parts[0], parts[1], parts[2], _checked_budget(budget))
    return _with_scratch(source, scratch)


def from_iterable(
    make_blocks: Callable[[], Any],
    *,
    budget: int | None = None,
    scratch: str | Path | None = None,
) -> BlockSource:
    """Return blocks that a callable makes, anew for every pass over the data.

    Parameters
    ----------
    make_blocks : callable
        Returns an iterable of blocks: features (n_rows, d), dense or SciPy's sparse ones; or tuples
        of features, labels and maybe weights. It must make the same blocks whenever it is called.
    budget : int, default=None
        Bytes of memory to take at most; None for a quarter of what the machine has.
    scratch : str or Path, default=None
        Folder with room for a copy of the features, in which later passes find them as they were
        decoded. It goes when the fit ends. None for no copy: every pass reads the rows anew.

    Returns
    -------
    blocks : BlockSource
        To be passed in the place of ``X``, without ``y`` and ``sample_weight``.

    Raises
    ------
    TypeError
        If it cannot be called.
    ValueError
        If there is no block, or one is not a pair of features and labels.

    Examples
    --------
    >>> import numpy as np
    >>> from torchlogreg import TorchLogisticRegression, blocks
    >>> def make_blocks():
    ...     for seed in range(4):
    ...         X = np.random.default_rng(seed).normal(size=(500, 3))
    ...         yield X, X[:, 0] > 0
    >>> rows = blocks.from_iterable(make_blocks)
    >>> TorchLogisticRegression().fit(rows).score(rows) > 0.99
    True
    """
    return _with_scratch(IterableSource(make_blocks, _checked_budget(budget)), scratch)


def _is_list(X: Any) -> bool:
    return isinstance(X, (list, tuple)) and not isinstance(X, (str, Path))


def _checked_budget(budget: int | None) -> int | None:
    if budget is not None and not budget > 0:
        raise ValueError(f"budget={budget!r} must be positive: it is a number of bytes.")
    return None if budget is None else int(budget)


def _with_scratch(source: BlockSource, folder: str | Path | None) -> BlockSource:
    """Return a source that may write its rows to a folder, if that is there."""
    if folder is not None:
        if not Path(folder).is_dir():
            raise ValueError(f"scratch={str(folder)!r} is not a folder. Make it, or name another.")
        if source.is_sparse:
            raise ValueError(
                f"scratch={str(folder)!r}: sparse blocks are not written. Leave scratch out."
            )
        source.scratch = Path(folder).resolve()
    return source
