"""Which penalty is chosen, given the scores of all folds."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import rankdata

TIE = 1e-12
"""Relative difference up to which two scores are the same: that is rounding."""


@dataclass(frozen=True)
class Chosen:
    """A penalty, or one for each fold."""

    C: float
    """Inverse strength; the mean over the folds."""

    l1_ratio: float
    """Part on the absolute values; likewise."""

    places: list[tuple[int, int]]
    """Places of ratio and strength: one for all folds, or for each of them."""


def choose(
    scores: np.ndarray, Cs: np.ndarray, l1_ratios: np.ndarray, rule: str, *, each_fold: bool
) -> Chosen:
    """Choose by the scores (n_folds, n_l1_ratios, n_cs).

    Of equal scores the first counts, first in ``Cs`` and then in ``l1_ratios``.

    Parameters
    ----------
    scores : ndarray of shape (n_folds, n_l1_ratios, n_cs)
        The higher, the better.
    Cs, l1_ratios : ndarray
        The penalties.
    rule : {"best", "one_standard_error"}
        What is chosen.
    each_fold : bool
        Whether every fold has a place of its own, with which "best" is the fold's own best.

    Raises
    ------
    ValueError
        If no penalty has scores that are numbers in all folds.
    """
    total = scores.sum(axis=0)
    if np.isnan(total).all():
        raise ValueError(
            "No penalty has a score in every fold: all are nan. Use another scoring, or folds that "
            "have rows of all classes."
        )
    if np.isnan(total).any():
        warnings.warn(
            f"{int(np.isnan(total).sum())} of {total.size} penalties have scores that are not a "
            "number; none of these is chosen.",
            UserWarning,
            stacklevel=5,
        )
    if rule == "one_standard_error":
        places = [_within_an_error(scores, Cs)] * (len(scores) if each_fold else 1)
    elif each_fold:
        places = [_best(of_fold) for of_fold in scores]
    else:
        places = [_best(total)]
    ratios, strengths = zip(*places, strict=True)
    C, l1_ratio = Cs[list(strengths)].mean(), l1_ratios[list(ratios)].mean()
    return Chosen(float(C), float(l1_ratio), places)


def results_table(scores: np.ndarray, Cs: np.ndarray, l1_ratios: np.ndarray) -> dict[str, Any]:
    """Scores (n_folds, n_l1_ratios, n_cs) as columns, in the form of ``cv_results_``."""
    flat = scores.reshape(len(scores), -1)
    ratios, strengths = (array.ravel() for array in np.meshgrid(l1_ratios, Cs, indexing="ij"))
    mean = flat.mean(axis=0)
    with np.errstate(invalid="ignore"):  # scores may be infinite
        spread = flat.std(axis=0)
    worst = np.nanmin(mean) - 1 if np.isfinite(mean).any() else 0.0
    return {
        "param_C": strengths,
        "param_l1_ratio": ratios,
        "params": [
            {"C": float(C), "l1_ratio": float(ratio)}
            for C, ratio in zip(strengths, ratios, strict=True)
        ],
        **{f"split{fold}_test_score": of_fold for fold, of_fold in enumerate(flat)},
        "mean_test_score": mean,
        "std_test_score": spread,
        "rank_test_score": rankdata(-np.nan_to_num(mean, nan=worst), method="min").astype(np.int32),
    }


def _best(scores: np.ndarray) -> tuple[int, int]:
    """Place of the best of the scores (n_l1_ratios, n_cs)."""
    by_strength = scores.T
    best = np.nanmax(by_strength)
    tie = TIE * abs(best) if np.isfinite(best) else 0.0
    strength, ratio = np.argwhere(by_strength >= best - tie)[0]
    return int(ratio), int(strength)


def _within_an_error(scores: np.ndarray, Cs: np.ndarray) -> tuple[int, int]:
    """Place of the strongest penalty within a standard error of the best, with its ratio."""
    mean, n_folds = scores.mean(axis=0), len(scores)
    ratio, strength = _best(mean)
    best = scores[:, ratio, strength]
    has_error = n_folds > 1 and np.isfinite(best).all()
    error = best.std(ddof=1) / np.sqrt(n_folds) if has_error else 0.0
    is_within = mean[ratio] >= mean[ratio, strength] - error - TIE
    strongest = min(np.flatnonzero(is_within), key=lambda place: Cs[place])
    return ratio, int(strongest)
