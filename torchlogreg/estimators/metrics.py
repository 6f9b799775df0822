"""Scores of many models at once, on the device: those of scikit-learn of the same names.

Every function takes logits ``eta`` (M, n, R) of M models, and what is known of the n rows that are
held out. It returns the scores (M,) in float64. Scores are higher for better models.

All K classes are known to the scores, also those that no held-out row has. Where several processes
have rows, the scores are those of all; only the area under a curve makes logits travel for that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from torchlogreg.problem.families import Family, family_of
from torchlogreg.problem.group import Group


@dataclass(frozen=True, eq=False)
class HeldOut:
    """What is known of rows that models were not fitted to, but for their features."""

    codes: Tensor
    """Class codes (n,)."""

    weight: Tensor
    """Weights (n,), float64."""

    n_classes: int
    """Number K of classes."""

    group: Group
    """The processes that have such rows: these are those of this one."""

    @property
    def family(self) -> Family:
        """Loss of a row."""
        return family_of(self.n_classes)

    @property
    def mean_rows(self) -> float:
        """Number of rows of a process, on average; at least 1."""
        (total,) = self.total(torch.tensor([len(self.codes)], device=self.codes.device))
        return max(total.item() / self.group.size, 1.0)

    @property
    def own(self) -> Tensor:
        """Weight (n, K) of every row, in the column of its class."""
        return F.one_hot(self.codes, self.n_classes).to(torch.float64) * self.weight.unsqueeze(-1)

    def total(self, *sums: Tensor) -> tuple[Tensor, ...]:
        """Add up sums over the rows of every process."""
        return self.group.total(*sums)

    def mean(self, of_rows: Tensor) -> Tensor:
        """Weighted mean (M,) of what is known for every row (M, n)."""
        total, weight = self.total(of_rows.to(torch.float64) @ self.weight, self.weight.sum())
        return total / weight

    def all_of(self, rows: Tensor) -> Tensor:
        """Join what is known for the rows of every process, along the last axis."""
        device = rows.device
        parts = [rows] if self.group.size == 1 else self.group.gathered(rows.cpu())
        return torch.cat([part.to(device) for part in parts], dim=-1)


Metric = Callable[[Tensor, HeldOut], Tensor]

TOP = 2
"""How many of the most probable classes count as right for "top_k_accuracy"."""


def neg_log_loss(eta: Tensor, held_out: HeldOut) -> Tensor:
    """Weighted mean of the logarithm of the probability of the row's class.

    No probability counts as less than the resolution of its dtype, as in
    :func:`sklearn.metrics.log_loss`.
    """
    resolution = torch.finfo(eta.dtype).eps
    proba = held_out.family.proba(eta).clamp_(resolution, 1 - resolution)
    codes = held_out.codes.expand(len(eta), -1).unsqueeze(-1)
    own = proba.gather(-1, codes).squeeze(-1)
    return held_out.mean(own.to(torch.float64).log_())


def neg_brier_score(eta: Tensor, held_out: HeldOut) -> Tensor:
    """Minus the weighted mean of the squares of the errors of the probabilities.

    Summed over the classes if there are more than two, otherwise of one of them.
    """
    K = held_out.n_classes
    proba = held_out.family.proba(eta).to(torch.float64)
    errors = (proba - F.one_hot(held_out.codes, K)).square_().sum(-1)
    return -held_out.mean(errors if K > 2 else errors / 2)


def accuracy(eta: Tensor, held_out: HeldOut) -> Tensor:
    """Part of the weight that is on rows whose class is predicted."""
    return held_out.mean(held_out.family.classify(eta) == held_out.codes)


def balanced_accuracy(eta: Tensor, held_out: HeldOut) -> Tensor:
    """Mean accuracy of the classes that are there."""
    is_hit = held_out.family.classify(eta) == held_out.codes
    own = held_out.own
    hits, total = held_out.total(is_hit.to(torch.float64) @ own, own.sum(0))
    return (hits / total)[:, total > 0].mean(-1)


def top_k_accuracy(eta: Tensor, held_out: HeldOut) -> Tensor:
    """Part of the weight that is on rows whose class is among the two most probable.

    Of classes with the same logit, the later one counts as more probable.
    """
    codes = held_out.codes.unsqueeze(-1)
    own = eta.gather(-1, codes.expand(len(eta), -1, -1))
    is_later = torch.arange(held_out.n_classes, device=eta.device) > codes
    n_better = ((eta > own) | ((eta == own) & is_later)).sum(-1)
    return held_out.mean(n_better < TOP)


def f1(eta: Tensor, held_out: HeldOut) -> Tensor:
    """F1 of the second of two classes."""
    return _f1_scores(eta, held_out)[0][:, 1]


def f1_macro(eta: Tensor, held_out: HeldOut) -> Tensor:
    """Mean of the F1 of all classes."""
    return _f1_scores(eta, held_out)[0].mean(-1)


def f1_weighted(eta: Tensor, held_out: HeldOut) -> Tensor:
    """Mean of the F1 of all classes, by their weight."""
    scores, own = _f1_scores(eta, held_out)
    return scores @ (own / own.sum())


def roc_auc(eta: Tensor, held_out: HeldOut) -> Tensor:
    """Area under the ROC curve of two classes, which both have to be there.

    That is how often a row of the second class has a higher logit than one of the first, by weight;
    ties count half (the statistic of Mann and Whitney).
    """
    logits, weight = held_out.all_of(eta.squeeze(-1)), held_out.all_of(held_out.weight)
    is_second = held_out.all_of(held_out.codes) == 1
    first, order = logits[:, ~is_second].sort(-1)
    second = logits[:, is_second].contiguous()
    below = F.pad(weight[~is_second][order].cumsum(-1), (1, 0))
    ranks = [torch.searchsorted(first, second, right=right) for right in (False, True)]
    lower, upper = (below.gather(-1, rank) for rank in ranks)
    pairs = (0.5 * (lower + upper)) @ weight[is_second]
    return pairs / (weight[is_second].sum() * below[:, -1])


def _f1_scores(eta: Tensor, held_out: HeldOut) -> tuple[Tensor, Tensor]:
    """F1 (M, K) of every class, 0 for those neither there nor predicted; and their weights (K,)."""
    predicted = held_out.family.classify(eta)
    per_model = held_out.weight.expand(len(eta), -1)
    right = torch.where(predicted == held_out.codes, per_model, 0.0)
    empty = per_model.new_zeros(len(eta), held_out.n_classes)
    counts, hits, own = held_out.total(
        empty.scatter_add(1, predicted, per_model),
        empty.scatter_add(1, predicted, right),
        held_out.own.sum(0),
    )
    total = counts + own
    return torch.where(total > 0, 2 * hits / total, 0.0), own


METRICS: dict[str, Metric] = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "f1_macro": f1_macro,
    "f1_micro": accuracy,  # the same if every row has one label
    "f1_weighted": f1_weighted,
    "neg_brier_score": neg_brier_score,
    "neg_log_loss": neg_log_loss,
}
"""By scikit-learn's names."""

OF_TWO_CLASSES: dict[str, Metric] = {"f1": f1, "roc_auc": roc_auc}
OF_MORE: dict[str, Metric] = {"top_k_accuracy": top_k_accuracy}


def metric_of(scoring: object, held_out: HeldOut) -> Metric | None:
    """Return the metric of that name; None if there is none, or not for such rows."""
    (own,) = held_out.total(held_out.own.sum(0))
    if not isinstance(scoring, str) or not own.sum() > 0:
        return None
    if scoring == "roc_auc" and (own > 0).sum() < 2:
        return None
    others = OF_TWO_CLASSES if held_out.n_classes == 2 else OF_MORE
    return (METRICS | others).get(scoring)
