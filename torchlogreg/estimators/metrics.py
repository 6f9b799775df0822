"""Scores of many models at once, on the device: those of scikit-learn of the same names.

Every function takes what is known of n held-out rows: logits ``eta`` (M, n, R) of M models, class
codes (n,), weights (n,) in float64, the family, and the number K of classes. It returns the scores
(M,) in float64. Scores are higher for better models.

All K classes are known to the scores, also those that no held-out row has.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from torchlogreg.problem.families import Family

Metric = Callable[[Tensor, Tensor, Tensor, Family, int], Tensor]

TOP = 2
"""How many of the most probable classes count as right for "top_k_accuracy"."""


def neg_log_loss(eta: Tensor, codes: Tensor, weight: Tensor, family: Family, K: int) -> Tensor:
    """Weighted mean of the logarithm of the probability of the row's class.

    No probability counts as less than the resolution of its dtype, as in
    :func:`sklearn.metrics.log_loss`.
    """
    resolution = torch.finfo(eta.dtype).eps
    proba = family.proba(eta).clamp_(resolution, 1 - resolution)
    own = proba.gather(-1, codes.expand(len(eta), -1).unsqueeze(-1)).squeeze(-1)
    return _mean(own.to(torch.float64).log_(), weight)


def neg_brier_score(eta: Tensor, codes: Tensor, weight: Tensor, family: Family, K: int) -> Tensor:
    """Minus the weighted mean of the squares of the errors of the probabilities.

    Summed over the classes if there are more than two, otherwise of one of them.
    """
    proba = family.proba(eta).to(torch.float64)
    errors = (proba - F.one_hot(codes, K)).square_().sum(-1)
    return -_mean(errors if K > 2 else errors / 2, weight)


def accuracy(eta: Tensor, codes: Tensor, weight: Tensor, family: Family, K: int) -> Tensor:
    """Part of the weight that is on rows whose class is predicted."""
    return _mean(family.classify(eta) == codes, weight)


def balanced_accuracy(eta: Tensor, codes: Tensor, weight: Tensor, family: Family, K: int) -> Tensor:
    """Mean accuracy of the classes that are there."""
    is_hit = family.classify(eta) == codes
    own = F.one_hot(codes, K).to(torch.float64) * weight.unsqueeze(-1)
    total = own.sum(0)
    recall = (is_hit.to(torch.float64) @ own) / total
    return recall[:, total > 0].mean(-1)


def top_k_accuracy(eta: Tensor, codes: Tensor, weight: Tensor, family: Family, K: int) -> Tensor:
    """Part of the weight that is on rows whose class is among the two most probable.

    Of classes with the same logit, the later one counts as more probable.
    """
    own = eta.gather(-1, codes.expand(len(eta), -1).unsqueeze(-1))
    is_later = torch.arange(K, device=eta.device) > codes.unsqueeze(-1)
    n_better = ((eta > own) | ((eta == own) & is_later)).sum(-1)
    return _mean(n_better < TOP, weight)


def f1(eta: Tensor, codes: Tensor, weight: Tensor, family: Family, K: int) -> Tensor:
    """F1 of the second of two classes."""
    return _f1_scores(eta, codes, weight, family, K)[0][:, 1]


def f1_macro(eta: Tensor, codes: Tensor, weight: Tensor, family: Family, K: int) -> Tensor:
    """Mean of the F1 of all classes."""
    return _f1_scores(eta, codes, weight, family, K)[0].mean(-1)


def f1_weighted(eta: Tensor, codes: Tensor, weight: Tensor, family: Family, K: int) -> Tensor:
    """Mean of the F1 of all classes, by their weight."""
    scores, own = _f1_scores(eta, codes, weight, family, K)
    return scores @ (own / own.sum())


def roc_auc(eta: Tensor, codes: Tensor, weight: Tensor, family: Family, K: int) -> Tensor:
    """Area under the ROC curve of two classes, which both have to be there.

    That is how often a row of the second class has a higher logit than one of the first, by weight;
    ties count half (the statistic of Mann and Whitney).
    """
    logits = eta.squeeze(-1)
    is_second = codes == 1
    first, order = logits[:, ~is_second].sort(-1)
    second = logits[:, is_second].contiguous()
    below = F.pad(weight[~is_second][order].cumsum(-1), (1, 0))
    ranks = [torch.searchsorted(first, second, right=right) for right in (False, True)]
    lower, upper = (below.gather(-1, rank) for rank in ranks)
    pairs = (0.5 * (lower + upper)) @ weight[is_second]
    return pairs / (weight[is_second].sum() * below[:, -1])


def _mean(of_rows: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean (M,) of what is known for every row (M, n)."""
    return (of_rows.to(torch.float64) @ weight) / weight.sum()


def _f1_scores(
    eta: Tensor, codes: Tensor, weight: Tensor, family: Family, K: int
) -> tuple[Tensor, Tensor]:
    """F1 (M, K) of every class, 0 for those neither there nor predicted; and their weights (K,)."""
    predicted = family.classify(eta)
    per_model = weight.expand(len(eta), -1)
    empty = per_model.new_zeros(len(eta), K)
    counts = empty.scatter_add(1, predicted, per_model)
    hits = empty.scatter_add(1, predicted, torch.where(predicted == codes, per_model, 0.0))
    own = weight.new_zeros(K).index_add_(0, codes, weight)
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


def metric_of(scoring: object, codes: Tensor, weight: Tensor, n_classes: int) -> Metric | None:
    """Return the metric of that name; None if there is none, or not for such rows."""
    if not isinstance(scoring, str) or not weight.sum() > 0:
        return None
    if scoring == "roc_auc" and len(codes[weight > 0].unique()) < 2:
        return None
    others = OF_TWO_CLASSES if n_classes == 2 else OF_MORE
    return (METRICS | others).get(scoring)
