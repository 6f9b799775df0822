"""What each worker of Ray Train does for a fit, and which rows it gets."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from ray import train
from ray.train.torch import get_device

from torchlogreg.distributed import fit
from torchlogreg.distributed.returned import shortfall_of

CHECKPOINT_FILE = "estimator.joblib"
"""What the checkpoint of a fit holds: the fitted estimator, for ``joblib.load``."""


class WholeBlocks(train.DataConfig):
    """Parts of whole blocks, in their order: equal parts would leave out the rows left over."""

    def configure(
        self, datasets: Any, world_size: int, worker_handles: Any, worker_node_ids: Any, **_: Any
    ) -> list[dict[str, Any]]:
        """Return the part of each worker."""
        parts = datasets["train"].split(world_size, equal=False)
        return [{"train": part.iterator()} for part in parts]


def fit_to_shard(config: dict[str, Any]) -> None:
    """Fit, in a worker, to the rows of its part and those of the others."""
    estimator, (features, *others) = config["estimator"], config["columns"]
    if config["use_gpu"] and estimator.device in (None, "cuda"):
        estimator.device = get_device()
    shard = train.get_dataset_shard("train")
    batches = [b for b in shard.iter_batches(batch_size=None) if len(b[others[0]])]
    X, y, sample_weight = None, None, None
    if batches:
        X = named(np.concatenate([features_of(batch, features) for batch in batches]), features)
        y, sample_weight = (
            None if name is None else np.concatenate([batch[name] for batch in batches])
            for name in others
        )
    fitted = fit(estimator, X, y, sample_weight)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = None
        if train.get_context().get_world_rank() == 0:
            joblib.dump(fitted, Path(folder) / CHECKPOINT_FILE)
            checkpoint = train.Checkpoint.from_directory(folder)
        train.report({"shortfall": shortfall_of(fitted)}, checkpoint=checkpoint)


def features_of(batch: dict[str, np.ndarray], columns: list[str]) -> np.ndarray:
    """Return the features (n, d) of a batch: columns of numbers or vectors, side by side."""
    return np.column_stack([batch[name] for name in columns])


def named(X: np.ndarray, columns: list[str]) -> Any:
    """Return features with their names, if each column is one of them; without a copy."""
    return pd.DataFrame(X, columns=columns) if X.shape[1] == len(columns) else X
