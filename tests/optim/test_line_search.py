"""The line searches on one-dimensional convex functions with known minima."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.problems import Problem
from torchlogreg.optim.line_search import secant_search, wolfe_search
from torchlogreg.problem.points import Trial

FUNCTIONS = {
    "parabola": lambda t: (t - 1) ** 2,
    "far parabola": lambda t: 1e-3 * (t - 1e3) ** 2,
    "near parabola": lambda t: 1e3 * (t - 1e-4) ** 2,
    "quartic": lambda t: (t - 3) ** 4,
    "softplus": lambda t: torch.nn.functional.softplus(-5 * t) + 0.01 * t,
    "wall": lambda t: torch.exp(20 * t) - 100 * t,
    "large offset": lambda t: 1e9 + (t - 1) ** 2,
}


class Counted:
    """A function that counts its calls."""

    def __init__(self, function: Any) -> None:
        self.function = function
        self.n_calls = 0

    def __call__(self, t: Any) -> Any:
        self.n_calls += 1
        return self.function(t)


class Curve:
    """Lines of several functions at once, differentiated by autograd."""

    def __init__(self, *functions: Any, is_attended: bool = True, has_kinks: bool = False) -> None:
        self.functions = functions
        self.has_kinks = has_kinks
        self.is_attended = is_attended
        self.n_trials = 0
        self.resolution = torch.finfo(torch.float64).eps
        self.origin = self.at(np.zeros(len(functions)))
        self.slope = self.origin.slope
        self.n_trials = 0

    def take(self, index: Any) -> "Curve":
        return Curve(*(self.functions[i] for i in index))

    def at(self, step: Any) -> Trial:
        self.n_trials += 1
        t = torch.as_tensor(step).clone().requires_grad_()
        value = torch.stack([f(x) for f, x in zip(self.functions, t, strict=True)])
        (slope,) = torch.autograd.grad(value.sum(), t)
        if self.is_attended:
            step = np.asarray(step, dtype=float)
            return Trial(step, value.detach().numpy(), step, slope.numpy(), [], [])
        return Trial(step, value.detach(), step, slope, [], [])


@pytest.mark.parametrize("c2", [0.9, 0.1])
@pytest.mark.parametrize("first", [1.0, 1e-3, 1e3])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_strong_wolfe_conditions_hold(name, first, c2):
    curve = Curve(FUNCTIONS[name])
    trial = wolfe_search(curve, first, c2=c2)
    rounding = 4 * torch.finfo(torch.float64).eps * abs(curve.origin.value[0])
    assert (
        trial.value[0] <= curve.origin.value[0] + 1e-4 * trial.step[0] * curve.slope[0] + rounding
    )
    assert abs(trial.slope[0]) <= c2 * abs(curve.slope[0])
    assert curve.n_trials <= 20


KINKED = {
    "kink at 1": lambda t: (t - 3) ** 2 + 50 * abs(t - 1),
    "kink at 5": lambda t: (t - 4) ** 2 + 50 * abs(t - 5),
    "kinks on the way": lambda t: (t - 7) ** 2 + abs(t - 1) + abs(t - 2) + abs(t - 3),
}


@pytest.mark.parametrize("first", [1.0, 1e-3, 1e3])
@pytest.mark.parametrize("name", KINKED)
def test_weak_wolfe_conditions_hold_where_there_are_kinks(name, first):
    curve = Curve(KINKED[name], has_kinks=True)
    trial = wolfe_search(curve, first, c2=0.5)
    assert trial.value[0] <= curve.origin.value[0] + 1e-4 * trial.step[0] * curve.slope[0]
    assert trial.slope[0] >= 0.5 * curve.slope[0]
    assert curve.n_trials <= 20


@pytest.mark.parametrize("is_attended", [True, False])
def test_a_full_step_to_a_kink_is_taken(is_attended):
    """Its weights are zero to the bit; to the right, the slope is steep."""

    def wall(t):
        return (t - 3) ** 2 + torch.where(t >= 1, 50 * (t - 1), 0)

    curve = Curve(wall, is_attended=is_attended, has_kinks=True)
    trial = wolfe_search(curve, 1.0, c2=0.5) if is_attended else secant_search(curve, FIRST)[0]
    assert trial.step == 1


def test_weights_go_to_zero_in_one_trial():
    """Along the line of an objective, whose slope jumps there."""
    problem = Problem(2, 1)
    smooth = problem.objective()
    kink = torch.full_like(smooth.penalty.l2, 10.0)
    objective = replace(smooth, penalty=replace(smooth.penalty, l1=kink))
    point = objective.at(problem.coef())
    trial = wolfe_search(objective.along(point, -point.coef), 1.0, c2=0.5)
    assert trial.step == (1.0,)
    assert trial.slope[0] > -objective.along(point, -point.coef).slope[0] / 2


def test_lines_are_searched_independently():
    functions = [FUNCTIONS[name] for name in ("parabola", "far parabola", "quartic")]
    first = 1.0
    together = wolfe_search(Curve(*functions), first, c2=0.1)
    for b, function in enumerate(functions):
        alone = wolfe_search(Curve(function), first, c2=0.1)
        assert together.step[b] == alone.step[0]
        assert together.value[b] == alone.value[0]


def test_a_line_that_is_done_does_not_wait_for_the_others():
    """It takes part in the first trial only; the other one in as many as it takes alone."""
    easy, hard = Counted(FUNCTIONS["parabola"]), Counted(FUNCTIONS["far parabola"])
    wolfe_search(Curve(easy, hard), 1.0, c2=0.1)
    alone = Counted(FUNCTIONS["far parabola"])
    wolfe_search(Curve(alone), 1.0, c2=0.1)
    assert easy.n_calls == 2  # the start, and the minimum
    assert hard.n_calls == alone.n_calls + 1  # the start of the lines that are left


def test_infinite_values_are_backed_away_from():
    curve = Curve(lambda t: -torch.log(1 - t) - 5 * t)
    trial = wolfe_search(curve, 1.0)
    assert math.isfinite(trial.value[0])
    assert trial.value < curve.origin.value


def test_a_line_that_cannot_be_descended_gives_step_zero():
    """A slope that is wrong, as rounding can make it, must not raise the objective."""
    curve = Curve(lambda t: 10 * t)
    curve.slope = np.array([-1.0])
    trial = wolfe_search(curve, 1.0)
    assert trial.step == [0.0]


FIRST = torch.ones(1, dtype=torch.float64)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("first", [1.0, 1e-3, 1e3])
def test_two_trials_decrease_the_objective_or_say_that_they_do_not(name, first):
    curve = Curve(FUNCTIONS[name], is_attended=False)
    trial, is_accepted = secant_search(curve, first * FIRST)
    assert curve.n_trials == 2
    assert 0.1 * first <= trial.step <= 10 * first
    assert is_accepted == (trial.value <= curve.origin.value + 1e-4 * trial.step * curve.slope)


def test_the_secant_of_a_parabola_is_its_minimum():
    curve = Curve(lambda t: (t - 0.3) ** 2, is_attended=False)
    trial, is_accepted = secant_search(curve, FIRST, c2=0.1)
    assert is_accepted
    assert trial.step.item() == pytest.approx(0.3)


def test_a_good_first_trial_is_kept():
    curve = Curve(lambda t: (t - 1.01) ** 2, is_attended=False)
    trial, _ = secant_search(curve, FIRST, c2=0.1)
    assert trial.step == 1


def test_two_trials_are_not_accepted_at_infinite_values():
    curve = Curve(lambda t: -torch.log(1e-3 - t) - 5 * t, is_attended=False)
    _, is_accepted = secant_search(curve, FIRST)
    assert not is_accepted
