"""What a fitted logistic model can do, whichever estimator has fitted it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, overload

import numpy as np
import torch
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from torchlogreg.data.containers import (
    ARRAYS,
    Container,
    as_numpy,
    as_tensor,
    container_of,
    is_known_to_torch,
)
from torchlogreg.data.sources import BlockSource
from torchlogreg.data.stored import tell_features
from torchlogreg.data.torch_data import batches_of, is_loaded
from torchlogreg.data.validation import check_features, feature_blocks
from torchlogreg.estimators.documented import DocumentedMixin
from torchlogreg.estimators.persistence import PersistentMixin
from torchlogreg.estimators.scikit_learn import check_same_namespace
from torchlogreg.estimators.sparse_coef import SparseCoefMixin
from torchlogreg.problem.families import Family, family_of
from torchlogreg.problem.modules import LogisticModule, module_class
from torchlogreg.problem.products import full_precision, logits
from torchlogreg.problem.threads import threads_for


class LogisticClassifierMixin(DocumentedMixin, SparseCoefMixin, PersistentMixin, ClassifierMixin):
    """Predictions from ``coef_``, ``intercept_`` and ``classes_``, and nothing else.

    Predictions come in the container of the features they are made for; the fitted attributes
    are in that of the training features.
    """

    coef_: Any
    intercept_: Any
    classes_: np.ndarray
    fit_intercept: bool

    @overload
    def decision_function(self, X: Tensor) -> Tensor: ...
    @overload
    def decision_function(self, X: Any) -> np.ndarray: ...
    def decision_function(self, X: Any) -> Any:
        """Return the logits.

        Parameters
        ----------
        X : {array-like, sparse matrix, Tensor} of shape (n, d), Dataset, DataLoader or blocks
            Features. Those of a data set are read batch by batch, in its order; labels next to
            them are passed over.

        Returns
        -------
        eta : ndarray or Tensor of shape (n,) or (n, K)
            For two classes the logit of ``classes_[1]``, otherwise one logit per class.
        """
        return self._predict(
            X, "decision_function", lambda family, eta: eta[..., 0] if eta.shape[-1] == 1 else eta
        )

    @overload
    def predict(self, X: Tensor) -> Any: ...
    @overload
    def predict(self, X: Any) -> np.ndarray: ...
    def predict(self, X: Any) -> Any:
        """Return the most probable label of every row.

        Parameters
        ----------
        X : {array-like, sparse matrix, Tensor} of shape (n, d), Dataset, DataLoader or blocks
            Features. Those of a data set are read batch by batch, in its order; labels next to
            them are passed over.

        Returns
        -------
        labels : ndarray or Tensor of shape (n,)
            Labels; a tensor if ``X`` is one and the labels are numbers.
        """
        container, codes = self._outputs(X, "predict", lambda family, eta: family.classify(eta))
        if container is ARRAYS or not is_known_to_torch(self.classes_.dtype):
            return self.classes_[as_numpy(codes)]
        with threads_for(len(codes), codes.device):
            return container.of(as_tensor(self.classes_, codes.device)[codes])

    @overload
    def predict_proba(self, X: Tensor) -> Tensor: ...
    @overload
    def predict_proba(self, X: Any) -> np.ndarray: ...
    def predict_proba(self, X: Any) -> Any:
        """Return the probabilities of the classes.

        Parameters
        ----------
        X : {array-like, sparse matrix, Tensor} of shape (n, d), Dataset, DataLoader or blocks
            Features. Those of a data set are read batch by batch, in its order; labels next to
            them are passed over.

        Returns
        -------
        proba : ndarray or Tensor of shape (n, K)
            Probabilities in the order of ``classes_``; rows sum to one.
        """
        return self._predict(X, "predict_proba", lambda family, eta: family.proba(eta))

    @overload
    def predict_log_proba(self, X: Tensor) -> Tensor: ...
    @overload
    def predict_log_proba(self, X: Any) -> np.ndarray: ...
    def predict_log_proba(self, X: Any) -> Any:
        """Return the logarithms of the probabilities of the classes.

        Computed from the logits, so that no class gets minus infinity however improbable.

        Parameters
        ----------
        X : {array-like, sparse matrix, Tensor} of shape (n, d), Dataset, DataLoader or blocks
            Features. Those of a data set are read batch by batch, in its order; labels next to
            them are passed over.

        Returns
        -------
        log_proba : ndarray or Tensor of shape (n, K)
            Log-probabilities in the order of ``classes_``.
        """
        return self._predict(X, "predict_log_proba", lambda family, eta: family.log_proba(eta))

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return the accuracy.

        Parameters
        ----------
        X : {array-like, sparse matrix, Tensor} of shape (n, d), Dataset, DataLoader or blocks
            Features; or pairs of features and label, which are read once.
        y : array-like or Tensor of shape (n,)
            True labels. None with a data set.
        sample_weight : array-like or Tensor of shape (n,), default=None
            Weights of the rows. None with a data set.

        Returns
        -------
        accuracy : float
            Share of rows, by weight, whose label is predicted.

        Raises
        ------
        ValueError
            If the labels of arrays are missing, or given besides a data set.
        """
        if is_loaded(X) or isinstance(X, BlockSource):
            return self._score_of_batches(X, y, sample_weight)
        if y is None:
            raise ValueError("y=None: the accuracy needs the labels of the rows of X.")
        labels = as_numpy(self.predict(X))
        return float(accuracy_score(as_numpy(y), labels, sample_weight=as_numpy(sample_weight)))

    @property
    def module_(self) -> LogisticModule:
        """A new ``torch.nn.Module`` with the coefficients, on the device of the fit.

        Made whenever it is asked for: changes to it do not change the estimator.
        """
        check_is_fitted(self, "coef_")
        coef = self._coef()
        n_outputs, n_columns = coef.shape
        module = module_class(len(self.classes_))(
            n_columns - 1,
            n_outputs,
            bias=self.fit_intercept,
            device=coef.device,
            dtype=coef.dtype,
        )
        with torch.no_grad():
            module.coef.copy_(coef[:, : module.coef.shape[-1]])
        return module

    def _predict(self, X: Any, method: str, output: Callable[[Family, Tensor], Tensor]) -> Any:
        """Apply ``output(family, eta)``, with eta of shape (n, R), to X."""
        container, result = self._outputs(X, method, output)
        return container.of(result)

    def _outputs(
        self, X: Any, method: str, output: Callable[[Family, Tensor], Tensor]
    ) -> tuple[Container, Tensor]:
        """Return the container of the results, and these: one tensor, found block by block."""
        check_is_fitted(self, "coef_")
        if isinstance(X, BlockSource):
            tell_features(self, X, is_new=False)
            return ARRAYS, torch.cat([self._of_checked(block, output) for block in X.features()])
        if is_loaded(X):
            batches = (self._of_block(X_batch, output) for X_batch, _ in batches_of(X))
            return ARRAYS, torch.cat([result.cpu() for result in batches])
        check_same_namespace(X, self, attribute="coef_", method=method)
        return container_of(X), self._of_block(X, output)

    def _score_of_batches(self, X: Any, y: Any, sample_weight: Any) -> float:
        """Return the accuracy for the labels that a data set has."""
        for name, value in (("y", y), ("sample_weight", sample_weight)):
            if value is not None:
                raise ValueError(
                    f"{name} must be None with a {type(X).__name__}, whose items are pairs of "
                    "features and label. Pass arrays."
                )
        check_is_fitted(self, "coef_")
        total, right = 0.0, 0.0
        for codes, labels, weight in self._classified(X):
            found = self.classes_[as_numpy(codes)]
            total += len(found) if weight is None else weight.sum()
            right += accuracy_score(labels, found, normalize=False, sample_weight=weight)
        return float(right / total)

    def _classified(self, X: Any) -> Iterator[tuple[Tensor, np.ndarray, np.ndarray | None]]:
        """Yield predicted codes, labels and weights of the rows of a data set, or of blocks."""

        def output(family: Family, eta: Tensor) -> Tensor:
            return family.classify(eta)

        if isinstance(X, BlockSource):
            tell_features(self, X, is_new=False)
            for block, (labels, weight) in X.blocks():
                if labels is None:
                    raise ValueError(f"X={X!r} has no labels: the accuracy needs them.")
                yield self._of_checked(block, output), labels, weight
            return
        for X_batch, labels in batches_of(X, with_labels=True):
            yield self._of_block(X_batch, output), labels, None

    def _of_block(self, X: Any, output: Callable[[Family, Tensor], Tensor]) -> Tensor:
        """Return the outputs for arrays."""
        return self._of_checked(check_features(self, X), output)

    def _of_checked(self, X: Any, output: Callable[[Family, Tensor], Tensor]) -> Tensor:
        """Return the outputs for features that are fit."""
        weights, intercept = self._parameters(X.device if isinstance(X, Tensor) else None)
        family, device = family_of(len(self.classes_)), weights.device
        outputs = []
        n_weights = weights.numel() if weights.layout is torch.strided else weights.values().numel()
        work = float(X.shape[0]) * n_weights
        with threads_for(work, device), full_precision(device):
            for X_block in feature_blocks(X, len(weights)):
                features = as_tensor(X_block, device)
                dtype = torch.promote_types(features.dtype, weights.dtype)
                eta = logits(features.to(dtype), weights.to(dtype), intercept.to(dtype))
                outputs.append(output(family, eta))
        joined = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
        return joined.contiguous()

    def _parameters(self, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
        """Weights (R, d), dense or CSR, and intercepts (R,); where the weights are by default."""
        weights = as_tensor(self.coef_, device)
        return weights, as_tensor(self.intercept_, weights.device).to(weights.dtype)

    def _coef(self, device: torch.device | None = None) -> Tensor:
        """Weights and intercepts as one tensor of shape (R, d + 1)."""
        weights, intercept = self._parameters(device)
        weights = weights if weights.layout is torch.strided else weights.to_dense()
        return torch.cat([weights, intercept.unsqueeze(-1)], dim=-1)

    def __sklearn_tags__(self) -> Tags:
        """Declare what the estimator can do."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.array_api_support = True
        return tags


def with_coef(model: Any, coef: Tensor, container: Container) -> Any:
    """Give a classifier the coefficients (R, D), as users get them; return it."""
    for name, value in coef_attributes(model, coef, container).items():
        setattr(model, name, value)
    return model


def fitted_attributes(
    model: Any, container: Container, classes: np.ndarray
) -> Callable[[Tensor], dict[str, Any]]:
    """Return what makes all that predictions need, of a classifier with coefficients (R, D)."""

    def attributes_of(coef: Tensor) -> dict[str, Any]:
        return {**coef_attributes(model, coef, container), "classes_": classes}

    return attributes_of


def coef_attributes(model: Any, coef: Tensor, container: Container) -> dict[str, Any]:
    """Return ``coef_`` and ``intercept_`` of coefficients (R, D)."""
    d = model.n_features_in_
    intercept = coef[:, d] if model.fit_intercept else coef.new_zeros(len(coef))
    return {
        "coef_": container.of(coef[:, :d].clone()),
        "intercept_": container.of(intercept.clone()),
    }
