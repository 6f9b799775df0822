"""The training loop: skorch nets whose epoch is an iteration, or a pass over mini-batches."""

from torchlogreg.nets.base import EpochHistory, LogisticNet
from torchlogreg.nets.full_batch import FullBatchNet
from torchlogreg.nets.mini_batch import MiniBatchNet

__all__ = ["EpochHistory", "FullBatchNet", "LogisticNet", "MiniBatchNet"]
