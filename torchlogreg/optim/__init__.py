"""How an objective is minimised: one loop, and the algorithms that find directions for it."""

from torchlogreg.optim.choice import SampledCurvature
from torchlogreg.optim.kept import KeptCurvature
from torchlogreg.optim.minimise import Solution, minimise
from torchlogreg.optim.newton import Newton
from torchlogreg.optim.optimizers import (
    LBFGS,
    FullBatchOptimizer,
    NewtonCG,
    NewtonCholesky,
    ProxNewton,
)
from torchlogreg.optim.proximal_newton import ProximalNewton
from torchlogreg.optim.quasi_newton import QuasiNewton
from torchlogreg.optim.stages import Stages, Subsample
from torchlogreg.optim.sweep import Sweep
from torchlogreg.optim.truncated_newton import TruncatedNewton

__all__ = [
    "LBFGS",
    "FullBatchOptimizer",
    "KeptCurvature",
    "Newton",
    "NewtonCG",
    "NewtonCholesky",
    "ProxNewton",
    "ProximalNewton",
    "QuasiNewton",
    "SampledCurvature",
    "Solution",
    "Stages",
    "Subsample",
    "Sweep",
    "TruncatedNewton",
    "minimise",
]
