"""What only scikit-learn's logistic regression has: errors that name the replacement."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, Self, TypeVar

_Init = TypeVar("_Init", bound=Callable[..., None])

REPLACEMENTS = {
    "penalty": "The penalty follows from l1_ratio (0 for 'l2', 1 for 'l1', between them for "
    "'elasticnet') and from C (np.inf for None). Leave penalty out.",
    "dual": "There is one form of the problem, that of dual=False. Leave dual out.",
    "intercept_scaling": "The intercept is never penalised, so that nothing has to make up for it. "
    "Leave intercept_scaling out.",
    "n_jobs": "A fit uses the threads of torch: see torch.set_num_threads. The models of a "
    "cross-validation are solved as one batch. Leave n_jobs out.",
    "multi_class": "More than two classes make a multinomial model. Leave multi_class out, or use "
    "sklearn.multiclass.OneVsRestClassifier.",
    "use_legacy_attributes": "The attributes have the layout of use_legacy_attributes=False. Leave "
    "it out.",
}
"""Parameters of scikit-learn's estimators, and what is there in their place."""

SOLVER_REPLACEMENTS = {
    "liblinear": "Use solver='auto', with l1_ratio=1 for its L1 penalty. The intercept is not "
    "penalised, and more than two classes make one model.",
    "sag": "Use solver='auto', which finds the minimiser, or the mini-batch solver 'sgd'.",
    "saga": "Use solver='auto', which finds the minimiser for any l1_ratio.",
}
"""Solvers of scikit-learn, and what is there in their place."""


def names_replacements(init: _Init) -> _Init:
    """Decorate a constructor: foreign parameters get an error that says what is in their place."""

    @functools.wraps(init)
    def checked(self: Any, *args: Any, **kwargs: Any) -> None:
        _refuse(self, kwargs, TypeError)
        init(self, *args, **kwargs)

    return checked  # type: ignore[return-value]


class DropInMixin:
    """Takes the place of scikit-learn's estimator, and says where that is not possible."""

    def set_params(self, **params: Any) -> Self:
        """Set parameters, as every estimator of scikit-learn does.

        Parameters
        ----------
        **params : dict
            Their names and values.

        Returns
        -------
        self : estimator
            The estimator.

        Raises
        ------
        ValueError
            If there is no parameter of that name. For those of scikit-learn's logistic regression
            the replacement is named.
        """
        _refuse(self, params, ValueError)
        super().set_params(**params)  # type: ignore[misc]
        return self

    def _validate_params(self) -> None:
        """Check the parameters, the name of the solver first."""
        solver = self.solver  # type: ignore[attr-defined]
        if isinstance(solver, str) and solver in SOLVER_REPLACEMENTS:
            raise ValueError(
                f"solver={solver!r} of scikit-learn is not there. {SOLVER_REPLACEMENTS[solver]}"
            )
        super()._validate_params()  # type: ignore[misc]


def _refuse(estimator: Any, names: Iterable[str], error: type[Exception]) -> None:
    """Raise an error if one of the parameters is foreign; a subclass may have it."""
    for name in names:
        if name in REPLACEMENTS and name not in type(estimator)._get_param_names():
            raise error(
                f"{type(estimator).__name__} has no parameter {name!r}. {REPLACEMENTS[name]}"
            )
