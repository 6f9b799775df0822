"""skorch callbacks of our own: a progress bar, and checkpoints to resume from."""

from torchlogreg.nets.callbacks import Checkpoint, Progress

__all__ = ["Checkpoint", "Progress"]
