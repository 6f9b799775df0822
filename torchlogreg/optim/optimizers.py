"""The algorithms as optimizers of torch: a call of ``step`` is a step of the one loop."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable
from dataclasses import fields, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from torchlogreg.optim.algorithm import Algorithm
from torchlogreg.optim.minimise import Run
from torchlogreg.optim.newton import Newton
from torchlogreg.optim.proximal_newton import ProximalNewton
from torchlogreg.optim.quasi_newton import QuasiNewton
from torchlogreg.optim.stopping import Standing
from torchlogreg.optim.truncated_newton import TruncatedNewton
from torchlogreg.problem.objective import Objective


class FullBatchOptimizer(torch.optim.Optimizer):
    r"""Descent with a line search on a smooth convex objective.

    It differs from other optimizers of torch in one thing: the closure is not a function that
    returns a loss but an :class:`~torchlogreg.problem.objective.Objective`, because a line search
    that does not read the data again needs more than values.

    What the algorithm has learnt is in ``state``, as for every optimizer, and goes where that goes:
    into ``state_dict``, pickles and copies.

    Parameters
    ----------
    params : iterable of one Parameter
        The user's coefficients (B, R, D) of B problems. Those that are done no longer change.
    lr : float, default=1.0
        First step that the line search tries, in units of the direction.
    tol : float, default=1e-4
        A problem has converged when :math:`\max_j |g_j| \le` ``tol``. The optimizer goes on a
        little further, see :class:`~torchlogreg.optim.stopping.Stopping`.
    check_every : int, default=1
        Iterations between two looks at the numbers. With 1 the line search is a thorough one
        that decides on the host. With more, iterations are queued up on the device without
        waiting for it: the line search makes two trials, a step that fails is undone, and the
        verdict comes up to ``check_every - 1`` iterations late.
    **options
        More fields of the algorithm, such as ``stages``: which stand-ins are minimised before the
        objective, None for no others.

    Raises
    ------
    ValueError
        If there is more than one parameter, or if ``lr`` or ``tol`` is out of range.
    """

    algorithm_class: ClassVar[type[Algorithm[Any]]]
    """What finds the directions."""

    numbers: ClassVar[tuple[str, ...]] = ("lr", "tol")
    """Its options that are in the parameter group, and may change between steps."""

    run: Run[Any] | None
    """The minimisation under way; None before it begins, and when it has been let go."""

    standings: list[Standing]
    """How each problem stands, as of the last look; empty before the first."""

    _source: tuple[Objective, int] | None

    def __init__(self, params: Iterable[Any], *, check_every: int = 1, **options: Any) -> None:
        known = [field.name for field in fields(self.algorithm_class)]
        for name, value in options.items():
            if name not in known:
                raise TypeError(
                    f"{type(self).__name__} has no option {name}={value!r}. It takes "
                    f"{', '.join(['check_every', *known])}."
                )
        self._algorithm = self.algorithm_class(**options)
        lr, tol = self._algorithm.lr, self._algorithm.tol
        if not lr > 0:
            raise ValueError(f"lr={lr!r} must be positive: it is the first step that is tried.")
        if not tol >= 0:
            raise ValueError(f"tol={tol!r} must not be negative: it bounds the gradient norm.")
        if check_every < 1:
            raise ValueError(f"check_every={check_every!r} must be at least 1.")
        self.release()
        self.restart()
        defaults = {name: getattr(self._algorithm, name) for name in self.numbers}
        super().__init__(params, {**defaults, "check_every": check_every})
        if len(self.param_groups) != 1 or len(self.param_groups[0]["params"]) != 1:
            raise ValueError(
                f"{type(self).__name__} minimises over one parameter tensor, "
                f"got {sum(len(group['params']) for group in self.param_groups)}."
            )

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group as torch does, but without loading its compiler, which takes a second."""
        inspect.unwrap(torch.optim.Optimizer.add_param_group)(self, param_group)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_algorithm": self._algorithm}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.release()
        self.restart()
        super().__setstate__(state)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a state that was saved."""
        super().load_state_dict(state_dict)
        self.release()
        self.restart()

    @property
    def algorithm(self) -> Algorithm[Any]:
        """The algorithm, with the numbers of the parameter group as they are now."""
        group, known = self.param_groups[0], self._algorithm
        now = {name: group[name] for name in self.numbers}
        if now != {name: getattr(known, name) for name in now}:
            self._algorithm = replace(known, **now)
        return self._algorithm

    def step(self, closure: Objective) -> Tensor:  # type: ignore[override]
        """Make one iteration.

        Parameters
        ----------
        closure : Objective
            The objective. While it stays the same and nobody else changes the parameter, what is
            known from the last step is used again.

        Returns
        -------
        value : Tensor, scalar
            Sum of the B objectives after the step.
        """
        self.iterate(closure)
        self.publish()
        run = self.run
        assert run is not None
        left = sum(s.value for b, s in enumerate(run.standings) if b not in run.problems)
        value = run.state.point.value
        value = (value.sum() if isinstance(value, Tensor) else sum(value)) + left
        return torch.as_tensor(value, dtype=self._param.dtype, device=self._param.device)

    # No version is counted and no graph prepared: every call takes a quarter less.
    @torch.inference_mode()
    def iterate(self, closure: Objective) -> None:
        """Make one iteration, but leave parameter, gradient and state as they are."""
        param, algorithm = self._param, self.algorithm
        run = self.run
        if run is None or self._source != (closure, param._version):
            stored = dict(self.state[param])
            run = Run(
                closure,
                param.detach().clone(),
                algorithm,
                n_stages=stored.pop("n_stages", None),
                stored=stored,
                look_every=self.param_groups[0]["check_every"],
            )
        run.step(algorithm)
        self.run, self.standings = run, run.standings
        self._source = (closure, param._version)

    @torch.no_grad()
    def publish(self) -> None:
        """Write what the iterations have come to into parameter, gradient and state."""
        param, run = self._param, self.run
        if run is None or self._source is None:
            return
        stored = run.state.memory.stored(run.problems, len(param))
        # Later iterations write to their own tensors, which also know nothing of autograd.
        copies = {k: v.clone() if isinstance(v, Tensor) else v for k, v in stored.items()}
        self.state[param] = {"n_stages": len(run.state.stages), **copies}
        param.copy_(run.coef)
        grad = run.state.objective.least_subgradient(run.state.point).to(param.dtype)
        if len(run.problems) < len(param):
            grad = torch.zeros_like(param).index_add_(
                0, torch.tensor(run.problems, device=grad.device), grad
            )
        param.grad = grad.clone()  # that of an iteration knows no autograd
        self._source = (self._source[0], param._version)

    @torch.no_grad()
    def certify(self, objective: Objective) -> None:
        """Check what is left unchecked; evaluate again if somebody has changed the parameter."""
        param = self._param
        if self.run is not None and self._source == (objective, param._version):
            with torch.inference_mode():
                self.run.conclude()
            self.standings = self.run.standings
            self.publish()
            return
        found = objective.optimality(objective.recheck(param.detach()))
        norms = objective.agreed(found).tolist()
        known = self.standings or [Standing() for _ in norms]
        self.standings = [
            replace(standing, optimality=norm, gap=math.nan)
            for standing, norm in zip(known, norms, strict=True)
        ]

    def release(self) -> None:
        """Let go of the objective, and of the data behind it. How the problems stand is kept."""
        self.run = self._source = None

    def restart(self) -> None:
        """Forget how the problems stand: there is to be another run."""
        self.standings = []

    @property
    def is_finished(self) -> bool:
        """Whether every problem is solved or stalled, and was checked."""
        return bool(self.standings) and all(standing.is_final for standing in self.standings)

    @property
    def is_converged(self) -> bool:
        """Whether the gradient of every problem is below ``tol``."""
        tol = self.param_groups[0]["tol"]
        return bool(self.standings) and all(s.optimality <= tol for s in self.standings)

    @property
    def _param(self) -> Any:
        return self.param_groups[0]["params"][0]


class NewtonCholesky(FullBatchOptimizer):
    """:class:`~torchlogreg.optim.newton.Newton` as an optimizer of torch.

    Parameters
    ----------
    params, lr, tol, check_every, stages
        As in :class:`FullBatchOptimizer`.
    """

    algorithm_class = Newton


class NewtonCG(FullBatchOptimizer):
    """:class:`~torchlogreg.optim.truncated_newton.TruncatedNewton` as an optimizer of torch.

    Parameters
    ----------
    params, lr, tol, check_every, stages
        As in :class:`FullBatchOptimizer`.
    max_inner : int, default=200
        Most steps of conjugate gradients in an iteration.
    """

    algorithm_class = TruncatedNewton


class LBFGS(FullBatchOptimizer):
    """:class:`~torchlogreg.optim.quasi_newton.QuasiNewton` as an optimizer of torch.

    Parameters
    ----------
    params, lr, tol, check_every, stages
        As in :class:`FullBatchOptimizer`.
    history_size : int, default=10
        Number of stored pairs.
    preconditioner : SampledCurvature, optional
        Builds the initial matrix; None for a multiple of the identity.
    seed : int, default=0
        For the generator that rows are drawn with.
    subsample : Subsample, optional
        Where the first iterations are made; None for all rows.
    """

    algorithm_class = QuasiNewton
    numbers = ("lr", "tol", "history_size", "seed")


class ProxNewton(FullBatchOptimizer):
    """:class:`~torchlogreg.optim.proximal_newton.ProximalNewton` as an optimizer of torch.

    Parameters
    ----------
    params, lr, tol, check_every, stages
        As in :class:`FullBatchOptimizer`.
    few, growth, most_work, history_size, rows_per_column, min_rows, most_coupled, every, seed
        As in :class:`~torchlogreg.optim.proximal_newton.ProximalNewton`.
    """

    algorithm_class = ProximalNewton
    numbers = ("lr", "tol", "seed")
