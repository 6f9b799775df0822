"""Proximal Newton beyond small data: working sets, sampled Hessians, many problems at once."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.datasets import load_digits

from tests.judge import judge
from torchlogreg import TorchLogisticRegression
from torchlogreg.data.training_sets import ArrayRows
from torchlogreg.optim import ProximalNewton, minimise
from torchlogreg.optim.working_set import FLOOR, MOST_FLOOR, adapted_floor, expected_decrease
from torchlogreg.problem.families import family_of
from torchlogreg.problem.objective import Objective
from torchlogreg.problem.penalties import Penalty

SAMPLED = {"few": 20, "most_work": 0.0, "min_rows": 300, "rows_per_column": 4}
"""Models that are estimated from a part of the rows, even where that would not pay."""


def digits():
    X, y = load_digits(return_X_y=True)
    return X / 16, y


@pytest.mark.parametrize("l1_ratio", [0.5, 1.0])
@pytest.mark.parametrize("most_entries", [10**6, 100], ids=["blocks", "small blocks"])
def test_sampled_models_lead_to_the_same_minimiser(l1_ratio, most_entries):
    X, y = digits()
    options = {f"optimizer__{k}": v for k, v in SAMPLED.items()}
    options["optimizer__most_entries"] = most_entries
    model = TorchLogisticRegression(
        C=0.1, l1_ratio=l1_ratio, tol=1e-7, net_params=options, max_iter=2000
    ).fit(X, y)
    assert judge(model, X, y).optimality <= 1e-7
    exact = TorchLogisticRegression(C=0.1, l1_ratio=l1_ratio, tol=1e-9).fit(X, y)
    assert judge(model, X, y).objective == pytest.approx(judge(exact, X, y).objective, rel=1e-8)
    assert np.mean((model.coef_ != 0) == (exact.coef_ != 0)) > 0.99


def test_the_sample_follows_the_random_state():
    X, y = digits()
    options = {f"optimizer__{k}": v for k, v in SAMPLED.items()}
    paths = [
        TorchLogisticRegression(
            C=0.1, l1_ratio=1.0, net_params=options, random_state=seed, max_iter=2000
        )
        .fit(X, y)
        .history_[:, "train_loss"]
        for seed in (0, 0, 1)
    ]
    assert paths[0] == paths[1] != paths[2]


@pytest.mark.parametrize("options", [{}, {"few": 4}, SAMPLED | {"few": 4}], ids=str)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_problems_with_their_own_penalties_and_rows_are_solved_together(options, n_classes):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 6)) * np.logspace(0, 1, 6)
    scores = 0.3 * X @ rng.normal(size=(6, n_classes))
    codes = torch.from_numpy((scores + rng.gumbel(size=scores.shape)).argmax(axis=1))
    weight = torch.from_numpy(rng.exponential(size=(4, 300)) * (rng.random((4, 300)) < 0.8))
    rows = ArrayRows(torch.from_numpy(X), codes, weight, family_of(n_classes))
    l1 = torch.tensor([0.1, 0.02, 0.01, 9.0], dtype=torch.float64).view(4, 1, 1).repeat(1, 1, 7)
    l2 = torch.tensor([0.0, 0.05, 0.001, 0.0], dtype=torch.float64).view(4, 1, 1).repeat(1, 1, 7)
    l1[..., -1] = l2[..., -1] = 0
    objective = Objective(rows.rows, rows.family, Penalty(l2, l1))
    start = torch.zeros(4, rows.family.n_outputs(n_classes), 7, dtype=torch.float64)
    algorithm = ProximalNewton(tol=1e-8, **options)
    together = minimise(objective, start, algorithm, 500)
    assert list(together.status) == ["converged"] * 4
    assert (together.coef[3, :, :6] == 0).all()
    for b in range(4):
        alone = minimise(objective.take([b]), start[[b]], algorithm, 500)
        assert_allclose(together.coef[b], alone.coef[0], atol=1e-5)
        assert together.value[b] == pytest.approx(alone.value[0], rel=1e-10)


@pytest.mark.parametrize("C", [1.0, 10.0])
def test_an_estimated_model_does_not_end_a_fit_far_from_the_minimum(C):
    """It may promise hundreds of times too little."""
    X, y = digits()
    options = {f"optimizer__{k}": v for k, v in SAMPLED.items()}
    model = TorchLogisticRegression(C=C, l1_ratio=1.0, net_params=options, max_iter=2000).fit(X, y)
    exact = TorchLogisticRegression(C=C, l1_ratio=1.0, tol=1e-9).fit(X, y)
    excess = judge(model, X, y).objective / judge(exact, X, y).objective - 1
    assert excess < 1e-6
    assert model.suboptimality_ > 0.1 * (excess * model.history_[-1, "train_loss"])


def test_the_floor_rises_after_short_steps_and_falls_after_long_ones():
    direction = torch.ones(3, 1, 2, dtype=torch.float64)
    step = direction * torch.tensor([0.1, 0.7, 1.0], dtype=torch.float64)[:, None, None]
    floor = adapted_floor(None, step, direction, lr=1.0)
    assert floor.tolist() == [FLOOR, 0, 0]
    for _ in range(9):
        floor = adapted_floor(floor, step, direction, lr=1.0)
    assert floor.tolist() == [MOST_FLOOR, 0, 0]
    for _ in range(9):
        floor = adapted_floor(floor, 0.4 * direction, direction, lr=0.4)
    assert floor.tolist() == [0, 0, 0]
    assert adapted_floor(floor, -step, direction, lr=1.0)[2] == FLOOR  # another way was gone


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, 0.5, 0.25], 0.75),
        ([2.0**-k for k in range(11)], 2.0**-10),
        ([10.0 - k for k in range(11)], 10.0),
        ([1.0] * 6 + [0.9, 0.8, 0.7, 0.6, 0.5], 0.5),
        ([1.0] * 11, 0.0),
        *(([0.9**k for k in range(m)], 0.9 ** (m - 1)) for m in (9, 11)),
        ([0.9**k for k in range(10)], 0.9**9),
        ([0.1**k + 1e-2 * 0.9**k for k in range(11)], 1e-2 * 0.9**10),
    ],
    ids=[
        *("few", "a series", "no slower", "faster than before", "none"),
        *("nine of a slow one", "a slow one", "ten of it", "hidden by a fast one"),
    ],
)
def test_what_is_to_come_follows_from_the_last_decreases(values, expected):
    found = expected_decrease(torch.tensor([values], dtype=torch.float64))
    assert found.tolist() == pytest.approx([expected], rel=0.1)
