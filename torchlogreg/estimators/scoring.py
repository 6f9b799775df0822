"""Scores of models on rows that they were not fitted to: on the device, or by scikit-learn."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from sklearn.metrics import get_scorer, make_scorer
from sklearn.utils import _safe_indexing
from torch import Tensor

from torchlogreg.data.containers import as_numpy
from torchlogreg.data.sharing import opened
from torchlogreg.data.sources import BlockSource
from torchlogreg.data.training_data import Features, TrainingData
from torchlogreg.estimators.metrics import HeldOut, metric_of
from torchlogreg.estimators.prediction import with_coef
from torchlogreg.problem.products import full_precision, linear_predictor
from torchlogreg.problem.row_block import select_rows
from torchlogreg.problem.stored import StoredMatrix
from torchlogreg.problem.threads import threads_for

LOGIT_ENTRIES = 2**22
"""Most logits that there are at a time."""


def held_out_scores(
    scoring: Any,
    model: Any,
    coef: Tensor,
    data: TrainingData,
    X: Any,
    index: np.ndarray,
    params: Mapping[str, Any],
) -> np.ndarray:
    """Score models on the rows of an index.

    Parameters
    ----------
    scoring : str or callable
        What users give.
    model : estimator
        Has all that a fitted one has, but coefficients.
    coef : Tensor of shape (..., R, D)
        Coefficients of the models.
    data : TrainingData
        All rows.
    X : array-like or Tensor
        Their features, as the user gave them.
    index : ndarray
        The rows to score.
    params : mapping
        What the scorer is given besides, for all rows.

    Returns
    -------
    scores : ndarray of shape (...)
        The higher, the better.
    """
    flat, scores = coef.flatten(0, -3), None
    has_blocks = isinstance(opened(X)[0], BlockSource)
    if has_blocks:  # which bring their weights
        params = {**params, "sample_weight": data.sample_weight}
    if params.keys() <= {"sample_weight"}:
        weight = params.get("sample_weight")
        if weight is not None:  # a number stands for that of every row
            weight = np.broadcast_to(np.asarray(as_numpy(weight)), len(data.codes))
        scores = score_on_device(scoring, flat, data, index, weight)
    if scores is None and (data.group.size > 1 or has_blocks):
        raise ValueError(
            f"scoring={scoring!r} cannot be computed over several processes, nor over blocks, for "
            "these rows: it needs all of them at once. Use 'neg_log_loss' or 'accuracy', or "
            "another score that is computed on the device, and folds that have rows of all classes "
            "to score."
        )
    if scores is None:
        models = [with_coef(copy.copy(model), cell, data.container) for cell in flat]
        labels = data.classes[as_numpy(data.codes)]
        scores = score_by_scikit_learn(scoring, models, X, labels, index, params)
    return scores.reshape(coef.shape[:-2])


def score_on_device(
    scoring: Any, coef: Tensor, data: TrainingData, index: np.ndarray, weight: np.ndarray | None
) -> np.ndarray | None:
    """Score models (M, R, D) on the rows of an index; None if scikit-learn has to do it.

    The weights are those of all rows, for the scores only; None for 1.
    """
    place = torch.from_numpy(index).to(data.X.device)
    codes = data.codes[place]
    row_weight = torch.ones(len(codes), dtype=torch.float64)
    if weight is not None:
        row_weight = torch.from_numpy(weight[index].astype(np.float64))
    row_weight = row_weight.to(codes.device)
    held_out = HeldOut(codes, row_weight, len(data.classes), data.group)
    metric = metric_of(scoring, held_out)
    if metric is None:
        return None
    work = float(len(codes)) * coef.numel()
    with torch.inference_mode(), threads_for(work, coef.device), full_precision(coef.device):
        n_logits = held_out.mean_rows * coef.shape[1]
        n_at_once = max(int(LOGIT_ENTRIES / n_logits), 1)
        logits = _logits(data.X, place, coef, n_at_once)
        scores = [metric(eta, held_out) for eta in logits]
    return torch.cat(scores).cpu().numpy()


def _logits(X: Features, index: Tensor, coef: Tensor, n_at_once: int) -> Iterator[Tensor]:
    """Yield logits (m, n, R) of some models at a time, for the rows of an index.

    Rows that are not in memory are read once, for all models.
    """
    if isinstance(X, StoredMatrix):
        order, parts, start = index.argsort(), [], 0
        rising = index[order]
        for part in X.parts:
            stop = start + part.shape[0]
            some = rising[(rising >= start) & (rising < stop)] - start
            if len(some):
                rows = select_rows(part.matrix.load(part.number).X, some).to(coef.dtype)
                parts.append(linear_predictor(rows, coef))
            start = stop
        eta = torch.cat(parts, dim=-1) if parts else coef.new_empty(*coef.shape[:-1], 0)
        yield from eta[..., order.argsort()].mT.split(n_at_once)
        return
    rows = select_rows(X, index).to(coef.dtype)
    for some in coef.split(n_at_once):
        yield linear_predictor(rows, some).mT


def score_by_scikit_learn(
    scoring: Any,
    models: list[Any],
    X: Any,
    y: np.ndarray,
    index: np.ndarray,
    params: Mapping[str, Any],
) -> np.ndarray:
    """Score fitted models on the rows of an index, as scikit-learn does.

    ``params`` are the scorer's, those with an entry for each row for all rows.
    """
    scorer = scorer_of(scoring, models[0].classes_)
    held_out, labels = rows_of(X, index), y[index]
    own = {name: _part(value, index, len(y)) for name, value in params.items()}
    return np.array([scorer(model, held_out, labels, **own) for model in models])


def scorer_of(scoring: Any, classes: np.ndarray | None = None) -> Any:
    """Return scikit-learn's scorer, which knows of all classes where it asks for them.

    Held-out rows may not have all of them. Of two, the second one is the positive class.
    """
    scorer = get_scorer("accuracy" if scoring is None else scoring)
    function = getattr(scorer, "_score_func", None)
    if classes is None or function is None:
        return scorer
    asked = inspect.signature(function).parameters
    if "labels" not in asked:
        return scorer
    known = {"labels": classes}
    if len(classes) == 2 and "pos_label" in asked:
        known["pos_label"] = classes[-1]
    return make_scorer(
        function,
        greater_is_better=scorer._sign == 1,
        response_method=scorer._response_method,
        **{**known, **scorer._kwargs},
    )


def rows_of(X: Any, index: np.ndarray) -> Any:
    """Return the rows of an index of features in any container."""
    if isinstance(X, Tensor):
        return select_rows(X, torch.from_numpy(index).to(X.device))
    return _safe_indexing(X, index)


def _part(value: Any, index: np.ndarray, n_rows: int) -> Any:
    """What belongs to some of the rows, if there is something for every row."""
    if not hasattr(value, "__len__") or isinstance(value, str) or len(value) != n_rows:
        return value
    return _safe_indexing(as_numpy(value), index)
