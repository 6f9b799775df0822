"""How an objective is minimised: one loop, and the algorithms that find directions for it."""

from torchlogreg.optim.choice import SampledCurvature
from torchlogreg.optim.minimise import Solution, minimise
from torchlogreg.optim.newton import Newton
from torchlogreg.optim.optimizers import LBFGS, FullBatchOptimizer, NewtonCholesky
from torchlogreg.optim.quasi_newton import QuasiNewton
from torchlogreg.optim.stages import Stages, Subsample

__all__ = [
    "LBFGS",
    "FullBatchOptimizer",
    "Newton",
    "NewtonCholesky",
    "QuasiNewton",
    "SampledCurvature",
    "Solution",
    "Stages",
    "Subsample",
    "minimise",
]
