"""Fits over a data set of Ray: each worker of Ray Train adds up the rows of its shard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import joblib

from torchlogreg.distributed.returned import first_of, take_fitted

try:
    from ray import train
    from ray.train.torch import TorchTrainer

    from torchlogreg.distributed.ray_workers import (
        CHECKPOINT_FILE,
        WholeBlocks,
        features_of,
        fit_to_shard,
        named,
    )
except ImportError as error:
    raise ImportError(
        "torchlogreg.distributed.ray needs Ray: pip install 'torchlogreg[ray]'"
    ) from error

__all__ = ["fit", "predict", "predict_proba"]

_Estimator = TypeVar("_Estimator")


def fit(
    estimator: _Estimator,
    dataset: Any,
    *,
    label_column: str,
    feature_columns: Sequence[str] | None = None,
    sample_weight_column: str | None = None,
    num_workers: int | None = None,
    use_gpu: bool = False,
    scaling_config: Any = None,
    run_config: Any = None,
) -> _Estimator:
    """Fit an estimator to a data set of Ray.

    The rows are brought into Ray's object store. Then a ``ray.train.torch.TorchTrainer``
    starts the workers. Each copies its part of the blocks, of which there should be a few for every
    worker, and they send each other sums, by gloo for CPUs and NCCL for GPUs. The result is that of
    a single process with all rows.

    If a worker dies, and ``run_config`` has a ``ray.train.FailureConfig``, all of them begin
    again. The fitted estimator comes back by the file ``estimator.joblib`` in the checkpoint of the
    run: with several machines, ``run_config`` needs a ``storage_path`` that all can reach.

    Parameters
    ----------
    estimator : TorchLogisticRegression or TorchLogisticRegressionCV
        The estimator, with an exact solver. Folds are counted in the order of the blocks, which is
        that of the rows if ``preserve_order`` is set in Ray's ``DataContext.execution_options``.
    dataset : ray.data.Dataset
        The rows.
    label_column : str
        Labels, numbers or strings.
    feature_columns : sequence of str, default=None
        Features: columns of numbers, or of vectors. None for all columns but the others.
    sample_weight_column : str, default=None
        Weights of the rows; None for 1.
    num_workers : int, default=None
        Number of workers, each with a CPU.
    use_gpu : bool, default=False
        Whether each worker has a GPU, where it fits unless ``estimator.device`` is another one.
    scaling_config : ray.train.ScalingConfig, default=None
        In the place of ``num_workers`` and ``use_gpu``.
    run_config : ray.train.RunConfig, default=None
        Name, storage, and what follows a failure; None for Ray's defaults.

    Returns
    -------
    estimator : TorchLogisticRegression or TorchLogisticRegressionCV
        The same estimator, fitted. It has no ``history_``: that stays with the workers.

    Raises
    ------
    ValueError
        If the data is unfit, if there is no such column, or if neither or both of ``num_workers``
        and ``scaling_config`` are given. The estimator is then left as it was.
    ray.train.TrainingFailedError
        If a worker has died, more often than ``run_config`` allows.

    Warns
    -----
    ConvergenceWarning
        If ``tol`` is not reached.

    Examples
    --------
    Four workers, which begin again up to three times::

        import ray
        from ray.train import FailureConfig, RunConfig
        from torchlogreg import TorchLogisticRegression
        from torchlogreg.distributed import ray as on_ray

        data = ray.data.read_parquet("s3://bucket/clicks/")
        again = FailureConfig(max_failures=3)
        run = RunConfig(storage_path="s3://bucket/runs", failure_config=again)
        model = TorchLogisticRegression()
        on_ray.fit(model, data, label_column="clicked", num_workers=4, run_config=run)
    """
    if (num_workers is None) == (scaling_config is None):
        raise ValueError(
            f"{num_workers=} and {scaling_config=}: give one of them, the number of workers or a "
            "ray.train.ScalingConfig."
        )
    if num_workers is not None:
        scaling_config = train.ScalingConfig(num_workers=num_workers, use_gpu=use_gpu)
    others = [name for name in (label_column, sample_weight_column) if name is not None]
    features, dataset = _columns(dataset, feature_columns, others)
    trainer = TorchTrainer(
        fit_to_shard,
        train_loop_config={
            "estimator": estimator,
            "columns": (features, label_column, sample_weight_column),
            "use_gpu": scaling_config.use_gpu,
        },
        datasets={"train": dataset.materialize()},
        dataset_config=WholeBlocks(),
        scaling_config=scaling_config,
        run_config=run_config,
    )
    try:
        result: Any = trainer.fit()
    except train.WorkerGroupError as error:
        failures = error.worker_failures.values()
        if not all(isinstance(failure, (TypeError, ValueError)) for failure in failures):
            raise
        raise first_of(failures) from error
    with result.checkpoint.as_directory() as folder:
        fitted = joblib.load(Path(folder) / CHECKPOINT_FILE)
    take_fitted(estimator, fitted, result.metrics["shortfall"])
    return estimator


def predict(estimator: Any, dataset: Any, *, feature_columns: Any = None) -> Any:
    """Add a column "predict": see :func:`~torchlogreg.distributed.ray.predict_proba`."""
    return _with_column("predict", estimator, dataset, feature_columns)


def predict_proba(estimator: Any, dataset: Any, *, feature_columns: Any = None) -> Any:
    """Add a column "predict_proba" with the probabilities of the classes, lazily.

    Parameters
    ----------
    estimator : estimator
        A fitted estimator.
    dataset : ray.data.Dataset
        Rows with its features.
    feature_columns : sequence of str, default=None
        The features; None for those of the fit, if it knows their names.

    Returns
    -------
    dataset : ray.data.Dataset
        The same rows; the new column has a vector (K,) in each.
    """
    return _with_column("predict_proba", estimator, dataset, feature_columns)


def _columns(dataset: Any, given: Any, others: list[str]) -> tuple[list[str], Any]:
    """Return the names of the features, and a data set without columns that nobody needs."""
    known = dataset.columns()
    features = [name for name in known if name not in others] if given is None else list(given)
    wanted = [*features, *others]
    missing = [name for name in wanted if name not in known]
    if missing or not features:
        raise ValueError(
            f"The data set has the columns {known}; there must be {missing or 'features'}, too. "
            "Name others by feature_columns, label_column and sample_weight_column."
        )
    return features, dataset if len(wanted) == len(known) else dataset.select_columns(wanted)


def _with_column(method: str, estimator: Any, dataset: Any, feature_columns: Any) -> Any:
    """Add what a method says of every row."""
    columns = getattr(estimator, "feature_names_in_", None)
    columns = columns if feature_columns is None else feature_columns
    if columns is None:
        raise ValueError("feature_columns=None: the fit knows no names. Give those of the columns.")
    names = list(columns)
    has_names = hasattr(estimator, "feature_names_in_")

    def add(batch: dict[str, Any]) -> dict[str, Any]:
        X = features_of(batch, names)
        X = named(X, names) if has_names else X
        return {**batch, method: getattr(estimator, method)(X)}

    return dataset.map_batches(add, batch_format="numpy")
