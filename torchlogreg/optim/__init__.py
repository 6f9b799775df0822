"""Full-batch optimizers for smooth convex objectives, as ``torch.optim.Optimizer``."""

from torchlogreg.optim.full_batch import FullBatchOptimizer
from torchlogreg.optim.lbfgs import LBFGS
from torchlogreg.optim.newton_cholesky import NewtonCholesky

__all__ = ["LBFGS", "FullBatchOptimizer", "NewtonCholesky"]
