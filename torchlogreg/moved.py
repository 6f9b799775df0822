"""Where pickles of 0.1.0 look for their classes: they are told why these are not there."""

from __future__ import annotations

import pickle
import sys
from types import ModuleType
from typing import NoReturn


class MovedModule(ModuleType):
    """A module of 0.1.0 whose contents have moved since."""

    def __getattr__(self, name: str) -> NoReturn:
        """Refuse classes, which pickles ask for; those who look through all modules go on."""
        if not name[0].isupper():
            raise AttributeError(name)
        raise pickle.UnpicklingError(
            f"{self.__name__}.{name} was part of the first release, torchlogreg 0.1.0, whose "
            "pickles later code does not read. Fit again, or copy coef_, intercept_ and "
            "classes_ from an environment with torchlogreg==0.1.0. To import, use the public "
            "names: from torchlogreg import TorchLogisticRegression."
        )


MODULES = (
    "batches",
    "criterion",
    "families",
    "loaders",
    "logistic",
    "modules",
    "objective",
    "penalties",
    "points",
    "prediction",
    "preconditioners",
    "products",
    "rows",
    "solvers",
    "training",
    "training_sets",
    "validation",
)

for _name in MODULES:
    _full_name = f"{__package__}.{_name}"
    sys.modules[_full_name] = MovedModule(_full_name)
