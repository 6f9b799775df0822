"""Fits over the partitions of a Dask collection: each worker adds up those that it holds."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import numpy as np

from torchlogreg.distributed import TIMEOUT
from torchlogreg.distributed.returned import take_fitted

try:
    import dask.array as da
    import distributed

    from torchlogreg.distributed.dask_workers import fit_on_workers
except ImportError as error:
    raise ImportError(
        "torchlogreg.distributed.dask needs Dask: pip install 'torchlogreg[dask]'"
    ) from error

__all__ = ["decision_function", "fit", "predict", "predict_proba"]

_Estimator = TypeVar("_Estimator")


def fit(
    estimator: _Estimator,
    X: Any,
    y: Any,
    sample_weight: Any = None,
    *,
    client: Any = None,
    timeout: float = TIMEOUT.total_seconds(),
) -> _Estimator:
    """Fit an estimator to a Dask collection.

    Every worker that holds partitions of X gets one task, which fits to their rows; the workers
    send each other sums, by gloo for CPUs and NCCL for GPUs. Partitions of X stay where they are;
    those of y and of the weights follow them. The result is that of a single process with all rows.
    A task computes with all threads of its worker, and has a copy of its rows in one piece where
    there is more than one partition.

    Parameters
    ----------
    estimator : TorchLogisticRegression or TorchLogisticRegressionCV
        The estimator, with an exact solver. Folds are counted in the order of the rows of X.
    X : dask.array.Array or dask.dataframe.DataFrame of shape (n, d)
        Features. An array in chunks of columns is brought into chunks of whole rows. Blocks may be
        sparse matrices of SciPy.
    y : dask.array.Array or dask.dataframe.Series of shape (n,)
        Labels, numbers or strings, in the partitions of X.
    sample_weight : dask.array.Array or dask.dataframe.Series of shape (n,), default=None
        Weights of the rows, in the partitions of X; None for 1.
    client : distributed.Client, default=None
        The client of the cluster; None for the present one.
    timeout : float, default=1800
        The longest, in seconds, that the workers wait for each other, at any time of the fit.

    Returns
    -------
    estimator : TorchLogisticRegression or TorchLogisticRegressionCV
        The same estimator, fitted. It has no ``history_``: that stays with the workers.

    Raises
    ------
    TypeError
        If X, y or the weights are no Dask collections.
    ValueError
        If the data is unfit, or partitioned otherwise than X. The estimator is then left as it was.
    RuntimeError
        If a worker leaves the cluster, or the workers wait for each other longer than ``timeout``.

    Warns
    -----
    ConvergenceWarning
        If ``tol`` is not reached.

    Examples
    --------
    A client, a collection that is in the memory of its workers, and a fit::

        import dask.dataframe as dd
        from distributed import Client
        from torchlogreg import TorchLogisticRegression
        from torchlogreg.distributed import dask

        client = Client("tcp://scheduler:8786")
        frame = dd.read_parquet("clicks/").persist()
        X, y = frame.drop(columns="clicked"), frame["clicked"]
        model = dask.fit(TorchLogisticRegression(), X, y)
        proba = dask.predict_proba(model, X)
    """
    client = distributed.get_client() if client is None else client
    shares = _held(client, _partitions(client, X, y, sample_weight))
    fitted, shortfall = fit_on_workers(client, estimator, shares, timeout)
    take_fitted(estimator, fitted, shortfall)
    return estimator


def predict(estimator: Any, X: Any) -> Any:
    """Return the labels of the rows of a Dask collection, lazily: a Dask array of shape (n,).

    See :func:`~torchlogreg.distributed.dask.predict_proba`.
    """
    return _lazily("predict", estimator, X)


def predict_proba(estimator: Any, X: Any) -> Any:
    """Return the probabilities of the classes for the rows of a Dask collection, lazily.

    Parameters
    ----------
    estimator : estimator
        A fitted estimator. Fits that follow do not change what is computed.
    X : dask.array.Array or dask.dataframe.DataFrame of shape (n, d)
        Features.

    Returns
    -------
    proba : dask.array.Array of shape (n, K)
        In the partitions of X. Nothing is computed before it is asked for.
    """
    return _lazily("predict_proba", estimator, X)


def decision_function(estimator: Any, X: Any) -> Any:
    """Return the logits for the rows of a Dask collection, lazily: of shape (n,) or (n, K).

    See :func:`~torchlogreg.distributed.dask.predict_proba`.
    """
    return _lazily("decision_function", estimator, X)


def _partitions(client: Any, X: Any, y: Any, sample_weight: Any) -> list[tuple[Any, ...]]:
    """Return what the partitions of X, y and weights become on the workers: one future each."""
    for name, value in (("X", X), ("y", y), ("sample_weight", sample_weight)):
        is_left_out = name == "sample_weight" and value is None
        if not (is_left_out or hasattr(value, "to_delayed")):
            raise TypeError(
                f"{name} is a {type(value).__name__}: a Dask array or data frame is accepted. Use "
                f"dask.array.from_array({name}, chunks=...), or estimator.fit for data in memory."
            )
    given = [part for part in (_of_whole_rows(X), y, sample_weight) if part is not None]
    delayed = [np.ravel(part.to_delayed()).tolist() for part in given]
    numbers = [len(parts) for parts in delayed]
    if len(set(numbers)) > 1:
        raise ValueError(
            f"X, y and sample_weight have {numbers} partitions, which must be those of the same "
            "rows. Use y.rechunk(X.chunks[0]) for arrays, or columns of the same frame."
        )
    futures = iter(client.compute([part for parts in delayed for part in parts]))
    return list(zip(*[[next(futures) for _ in parts] for parts in delayed], strict=True))


def _of_whole_rows(X: Any) -> Any:
    """Return X in chunks that have all columns."""
    is_cut = isinstance(X, da.Array) and X.ndim == 2 and X.numblocks[1] > 1
    return X.rechunk({1: -1}) if is_cut else X


def _held(client: Any, partitions: list[tuple[Any, ...]]) -> dict[str, list[Any]]:
    """Return the numbered partitions that each worker shall take: of those X that it holds."""
    distributed.wait([part for parts in partitions for part in parts])
    client.gather([part for parts in partitions for part in parts if part.status == "error"])
    holders = client.who_has([X for X, *_ in partitions])
    shares: dict[str, list[Any]] = {}
    for number, parts in enumerate(partitions):
        at_hand = holders[parts[0].key]
        if not at_hand:
            raise RuntimeError(f"Partition {number} of X was lost with its worker. Fit again.")
        address = min(at_hand, key=lambda holder: len(shares.get(holder, [])))
        shares.setdefault(address, []).append((number, *parts))
    return shares


def _lazily(method: str, estimator: Any, X: Any) -> Any:
    """Apply a method to every partition of X, once that is asked for."""
    model = copy.copy(estimator)
    is_array = isinstance(X, da.Array)
    sample = np.zeros((1, X.shape[1]), X.dtype) if is_array else X._meta_nonempty.iloc[:1]
    meta = getattr(model, method)(sample)[:0]
    if not is_array:
        return X.map_partitions(_of_rows, model, method, meta, meta=meta)
    chunks = {"drop_axis": 1} if meta.ndim == 1 else {"chunks": (X.chunks[0], meta.shape[1:])}
    return _of_whole_rows(X).map_blocks(_of_rows, model, method, meta, meta=meta, **chunks)


def _of_rows(X: Any, model: Any, method: str, nothing: Any) -> Any:
    """Apply a method to some rows, or none."""
    return getattr(model, method)(X) if X.shape[0] else nothing
