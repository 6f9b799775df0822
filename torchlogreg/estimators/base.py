"""How a logistic estimator is fitted: validate, train, and write the results once."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import torch
from sklearn.base import BaseEstimator, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from torchlogreg.data.containers import ARRAYS, Container
from torchlogreg.data.sharing import Share, opened
from torchlogreg.data.sources import BlockSource
from torchlogreg.data.training_sets import ArrayRows, TrainingSet
from torchlogreg.data.validation import check_training_data
from torchlogreg.estimators.drop_in import DropInMixin
from torchlogreg.estimators.fit_tasks import FitTask, told
from torchlogreg.estimators.prediction import (
    LogisticClassifierMixin,
    fitted_attributes,
    with_coef,
)
from torchlogreg.estimators.scikit_learn import CallbackSupportMixin, with_callbacks
from torchlogreg.estimators.solvers import Solver, resolve, takes_batches
from torchlogreg.estimators.training_net import make_net, minimiser_of_sketch
from torchlogreg.estimators.training_rows import from_arrays, from_loader, max_iter_of, work
from torchlogreg.nets import EpochHistory, LogisticNet
from torchlogreg.nets.hooks import EpochHooks
from torchlogreg.problem.families import family_of
from torchlogreg.problem.products import full_precision
from torchlogreg.problem.threads import threads_for

_Method = TypeVar("_Method", bound=Callable[..., Any])


class Decorator(Protocol):
    """Returns a method of the same type, which the decorators of scikit-learn do not say."""

    def __call__(self, method: _Method, /) -> _Method:
        """Decorate a method."""


checks_parameters: Decorator = _fit_context(prefer_skip_nested_validation=True)


@contextmanager
def unchanged_on_error(estimator: Any, net: LogisticNet | None = None) -> Iterator[None]:
    """Leave an estimator, and the net, as they were if anything is raised, Ctrl-C too."""
    before = estimator.__dict__.copy()
    restore = None if net is None else net.snapshot()
    try:
        yield
    except BaseException:
        estimator.__dict__.clear()
        estimator.__dict__.update(before)
        if restore is not None:
            restore()
        raise


class LogisticEstimator(DropInMixin, CallbackSupportMixin, LogisticClassifierMixin, BaseEstimator):
    """What fitting needs, whichever estimator has the parameters."""

    C: float
    l1_ratio: float
    class_weight: dict[Any, Any] | str | None
    device: str | torch.device | None
    solver: str | type[torch.optim.Optimizer]
    warm_start: bool
    net_: LogisticNet
    solver_: str

    def _fit(self, X: Any, y: Any, sample_weight: Any, classes: Any) -> Self:
        """Validate and train."""
        if isinstance(X, (Dataset, DataLoader)):
            loaded = from_loader(self, X, y, sample_weight, classes)
            solver = self._resolve(len(loaded.classes), loaded.n_rows, loaded.n_features)
            self.n_features_in_ = loaded.n_features
            self.__dict__.pop("feature_names_in_", None)
            with threads_for(math.inf, loaded.device):
                return self._train(loaded, loaded.classes, solver, told(X, y, sample_weight))
        if classes is not None:
            raise ValueError(
                f"classes={classes!r} is for a data set or loader of torch; the classes of "
                "arrays are those in y."
            )
        if isinstance(X, (BlockSource, Share)) and takes_batches(self.solver):
            raise ValueError(
                f"solver={self.solver!r} is for one process with its rows in memory: several "
                "processes, and blocks, need an exact solver, such as 'lbfgs'."
            )
        data = check_training_data(self, X, y, sample_weight, self.class_weight, self.device)
        solver = self._resolve(len(data.classes), *data.shape, is_dense=data.is_dense)
        with threads_for(work(self, data, solver), data.X.device, data.n_busy_threads):
            rows, valid_set = from_arrays(self, data, is_exact=solver.is_exact)
            heard = told(opened(X)[0], y, sample_weight)
            return self._train(rows, data.classes, solver, heard, data.container, valid_set)

    _fit_with_listeners = with_callbacks(_fit)

    def _train(
        self,
        rows: TrainingSet,
        labels: np.ndarray,
        solver: Solver,
        heard: dict[str, Any],
        container: Container = ARRAYS,
        valid_set: TrainingSet | None = None,
    ) -> Self:
        """Train, and write the results once; listeners are told of the data as users gave it."""
        most = (self.net_params or {}).get("max_epochs", max_iter_of(self, solver)) + 1
        attributes_of = fitted_attributes(self, container, labels)
        task = FitTask.of(self, heard, most, attributes_of, rows.group)
        hooks = None if task is None else EpochHooks(task.begin, task.end, task.check)
        with full_precision(rows.device):
            net = make_net(self, solver, rows, len(labels), valid_set, hooks)
            is_warm = self.warm_start and hasattr(self, "coef_")
            if rows.group.any(is_warm):
                with rows.group.together():
                    start = self._starting_coef(labels, rows) if is_warm else None
                    if start is None:
                        raise ValueError(
                            "warm_start=True: this process has no previous fit, and others have. "
                            "Give all of them the same estimator."
                        )
                net.start_at(rows.group.agreed(start))
            elif isinstance(rows, ArrayRows) and rows.rows.is_stored and net.max_epochs:
                net.start_at(minimiser_of_sketch(self, solver, net, rows))
            net.partial_fit(rows)
        self.classes_ = labels
        self._write(net, solver, container)
        (self.weight_seen_,) = (rows.weight_unit * rows.weight_sum).tolist()
        if (shortfall := net.shortfall()) is not None:
            warnings.warn(shortfall, ConvergenceWarning, stacklevel=6)
        if task is not None:
            task.close()
        return self

    @property
    def history_(self) -> EpochHistory:
        """One row per iteration or epoch, such as ``history_[-1, "train_loss"]``.

        ``train_loss`` is the mean penalised loss after the iteration; of a mini-batch solver it
        is the mean over the epoch's batches, each before its step. ``optimality`` is the gradient
        norm; of an exact solver it is that of centred columns, where these lie far from zero,
        until the last iteration is checked. ``step`` is the step length or learning rate,
        ``seconds`` the time it took. With ``early_stopping`` there are also ``valid_loss`` and
        ``valid_accuracy``, after the epoch on the rows held out. Callbacks may add more.
        """
        check_is_fitted(self, "coef_")
        if "net_" not in self.__dict__:
            raise AttributeError(
                "There is no history_: it went with net_, which pickles leave out and "
                "drop_training_state() removes. Fit again to have it."
            )
        history: EpochHistory = self.net_.history
        return history

    def drop_training_state(self) -> Self:
        """Let go of what predictions do not need: ``net_``, its optimizer, and the history.

        Pickles of an estimator with an exact solver leave them out anyway. With a mini-batch
        solver they keep them, for ``partial_fit`` goes on from there; without, it begins with a new
        optimizer at the same coefficients.

        Returns
        -------
        self : estimator
            The same estimator, with the same predictions.
        """
        check_is_fitted(self, "coef_")
        self.__dict__.pop("net_", None)
        return self

    def _left_behind(self) -> tuple[str, ...]:
        """Return what pickles leave out: only ``partial_fit`` goes on with the net."""
        return () if takes_batches(self.solver) else ("net_",)

    def _resolve(
        self, n_classes: int, n_rows: int, n_features: int, *, is_dense: bool = True
    ) -> Solver:
        """Return the solver for data of that shape."""
        n_outputs, n_columns = family_of(n_classes).n_outputs(n_classes), n_features
        n_columns += self.fit_intercept
        has_penalty = math.isfinite(self.C)
        if self.l1_ratio > 0 and not has_penalty:
            warnings.warn(
                f"l1_ratio={self.l1_ratio!r} has no effect with C=np.inf: there is no penalty.",
                stacklevel=6,
            )
        return resolve(
            self.solver,
            n_rows,
            n_outputs * n_columns,
            n_columns,
            is_dense=is_dense,
            l1_ratio=self.l1_ratio if has_penalty else 0.0,
        )

    def _write(self, net: LogisticNet, solver: Solver, container: Container) -> None:
        """Write the results."""
        (coef,) = net.coef
        if not math.isfinite(torch.linalg.vector_norm(coef, math.inf).item()):
            raise ValueError(
                f"The coefficients overflow {coef.dtype}: X or C={self.C!r} is too large or too "
                "small for it. Scale the columns of X (sklearn.preprocessing.StandardScaler)"
                + (", or pass X as float64." if coef.dtype is torch.float32 else ".")
            )
        with_coef(self, coef, container)
        n_iter = torch.tensor([len(net.history)], dtype=torch.int32, device=coef.device)
        self.n_iter_ = container.of(n_iter)
        self.optimality_ = net.optimality
        self.suboptimality_ = net.suboptimality
        self.solver_ = solver.name
        self.net_ = net

    def _starting_coef(self, labels: np.ndarray, rows: TrainingSet) -> Tensor:
        """Coefficients (R, D) of the previous fit, for rows with these labels."""
        n_outputs = rows.family.n_outputs(len(labels))
        is_same = self.coef_.shape == (n_outputs, rows.n_features)
        if not (is_same and np.array_equal(self.classes_, labels)):
            raise ValueError(
                f"warm_start=True needs the classes and features of the previous fit: it had "
                f"the classes {self.classes_!r} and coef_ of shape {tuple(self.coef_.shape)}, "
                f"now there are the classes {labels!r} and {rows.n_features} features. "
                "Set warm_start=False or use a new estimator."
            )
        return self._coef(rows.device)[:, : rows.n_features + self.fit_intercept]


def warn_of_shortfall(
    solver: str, optimality: Sequence[float], tol: float, what: str, name: Callable[[int], str]
) -> None:
    """Warn of models, of many that were fitted, that have not reached the tolerance.

    ``what`` they are, and what their place in the sequence of gradient norms stands for, is said.
    """
    short = [place for place, norm in enumerate(optimality) if not norm <= tol]
    if short:
        warnings.warn(
            f"{solver} failed to converge for {len(short)} of {len(optimality)} {what}, the first "
            f"of them {name(short[0])}: the gradient norm is up to {max(optimality):.2e} "
            f"(tol={tol:g}). Increase the number of iterations (max_iter), scale the columns of X "
            "(sklearn.preprocessing.StandardScaler), or leave out the largest Cs.",
            ConvergenceWarning,
            stacklevel=6,
        )
