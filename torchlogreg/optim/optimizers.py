"""The algorithms as optimizers of torch: a call of ``step`` is a step of the one loop."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from torchlogreg.optim.algorithm import Algorithm
from torchlogreg.optim.minimise import Row, State, begin, concluded, step
from torchlogreg.optim.newton import Newton
from torchlogreg.optim.quasi_newton import CurvatureLadder, QuasiNewton
from torchlogreg.optim.stages import Stages, Subsample
from torchlogreg.optim.stopping import Standing
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
    algorithm : Algorithm
        What finds the directions.
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
    **numbers
        More numbers of the algorithm that belong into the parameter group.

    Raises
    ------
    ValueError
        If there is more than one parameter, or if ``lr`` or ``tol`` is out of range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        algorithm: Algorithm[Any],
        *,
        lr: float = 1.0,
        tol: float = 1e-4,
        check_every: int = 1,
        **numbers: Any,
    ) -> None:
        if not lr > 0:
            raise ValueError(f"lr={lr!r} must be positive: it is the first step that is tried.")
        if not tol >= 0:
            raise ValueError(f"tol={tol!r} must not be negative: it bounds the gradient norm.")
        if check_every < 1:
            raise ValueError(f"check_every={check_every!r} must be at least 1.")
        self._algorithm = algorithm
        self._run: State[Any] | None = None
        self._source: tuple[Objective, int] | None = None
        self._standings: tuple[Standing, ...] = ()
        super().__init__(params, {"lr": lr, "tol": tol, "check_every": check_every, **numbers})
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
        self._let_go()
        super().__setstate__(state)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a state that was saved."""
        super().load_state_dict(state_dict)
        self._let_go()

    @property
    def algorithm(self) -> Algorithm[Any]:
        """The algorithm, with the numbers of the parameter group as they are now."""
        group, known = self.param_groups[0], self._algorithm
        now = {name: value for name, value in group.items() if hasattr(known, name)}
        if any(getattr(known, name) != value for name, value in now.items()):
            self._algorithm = replace(known, **now)
        return self._algorithm

    @torch.no_grad()
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
        param, check_every = self._param, self.param_groups[0]["check_every"]
        algorithm = self.algorithm
        state = self._run
        if state is None or self._source != (closure, param._version):
            stored = dict(self.state[param])
            n_stages = stored.pop("n_stages", None)
            objective = closure if check_every == 1 else closure.unattended()
            state = begin(objective, param.detach().clone(), algorithm, stored, n_stages)
        state = step(state, algorithm, check_every)
        self._run, self._standings = state, state.standings
        self.state[param] = {"n_stages": len(state.stages), **state.memory.stored()}
        param.copy_(state.coef)
        param.grad = state.grad
        self._source = (closure, param._version)
        value = torch.as_tensor(state.point.value.sum(), dtype=param.dtype, device=param.device)
        return value + sum(
            s.value for b, s in enumerate(state.standings) if b not in state.problems
        )

    @torch.no_grad()
    def certify(self, objective: Objective) -> None:
        """Check what is left unchecked; evaluate anew if somebody has changed the parameter."""
        param = self._param
        if self._run is not None and self._source == (objective, param._version):
            self._run = concluded(self._run)
            self._standings = self._run.standings
            return
        norms = objective.optimality(objective.recheck(param.detach())).tolist()
        known = self._standings or [Standing() for _ in norms]
        self._standings = tuple(
            replace(standing, optimality=norm, gap=math.nan)
            for standing, norm in zip(known, norms, strict=True)
        )

    def release(self) -> None:
        """Let go of the objective, and of the data behind it. How the problems stand is kept."""
        standings = self._standings
        self._let_go()
        self._standings = standings

    def restart(self) -> None:
        """Forget how the problems stand: there is to be another run."""
        self._standings = ()

    @property
    def run(self) -> State[Any] | None:
        """Where the minimisation stands; None before it begins, and when it has been let go."""
        return self._run

    @property
    def standings(self) -> tuple[Standing, ...]:
        """How each problem stands, as of the last look; empty before the first."""
        return self._standings

    @property
    def trace(self) -> tuple[Row, ...]:
        """The iterations that the last step has looked at, itself included."""
        return () if self._run is None else self._run.trace

    @property
    def is_finished(self) -> bool:
        """Whether every problem is solved or stalled, and was checked."""
        known = self._standings
        return bool(known) and all(s.is_done and s.is_checked for s in known)

    @property
    def is_converged(self) -> bool:
        """Whether the gradient of every problem is below ``tol``."""
        tol = self.param_groups[0]["tol"]
        return bool(self._standings) and all(s.optimality <= tol for s in self._standings)

    @property
    def optimality(self) -> tuple[float, ...]:
        """Gradient norm of each problem at the last look: the largest absolute value."""
        return tuple(standing.optimality for standing in self._standings)

    @property
    def suboptimality(self) -> tuple[float, ...]:
        """Estimate of f - f* of each problem; nan before the gradient is small."""
        return tuple(standing.gap for standing in self._standings)

    @property
    def _param(self) -> Any:
        return self.param_groups[0]["params"][0]

    def _let_go(self) -> None:
        self._run, self._source, self._standings = None, None, ()


STAGES, SUBSAMPLE = Stages(), Subsample()


class NewtonCholesky(FullBatchOptimizer):
    """:class:`~torchlogreg.optim.newton.Newton` as an optimizer of torch.

    Parameters
    ----------
    params, lr, tol, check_every
        As in :class:`FullBatchOptimizer`.
    stages : Stages, optional
        Which stand-ins are minimised first; None for no others.
    """

    def __init__(
        self, params: Iterable[Any], *, stages: Stages | None = STAGES, **numbers: Any
    ) -> None:
        super().__init__(params, Newton(stages=stages), **numbers)


class LBFGS(FullBatchOptimizer):
    """:class:`~torchlogreg.optim.quasi_newton.QuasiNewton` as an optimizer of torch.

    Parameters
    ----------
    params, lr, tol, check_every
        As in :class:`FullBatchOptimizer`.
    history_size : int, default=10
        Number of stored pairs.
    preconditioner : CurvatureLadder, optional
        Builds the initial matrix; None for a multiple of the identity.
    seed : int, default=0
        For the generator that rows are drawn with.
    stages : Stages, optional
        Which stand-ins are minimised first; None for no others.
    subsample : Subsample, optional
        Where the first iterations are made; None for all rows.
    """

    def __init__(
        self,
        params: Iterable[Any],
        *,
        history_size: int = 10,
        preconditioner: CurvatureLadder | None = None,
        seed: int = 0,
        stages: Stages | None = STAGES,
        subsample: Subsample | None = SUBSAMPLE,
        **numbers: Any,
    ) -> None:
        if history_size < 1:
            raise ValueError(f"history_size={history_size!r} must be at least 1.")
        algorithm = QuasiNewton(stages=stages, ladder=preconditioner, subsample=subsample)
        super().__init__(params, algorithm, history_size=history_size, seed=seed, **numbers)
