"""What a fitted logistic model can do, whichever estimator has fitted it."""

from __future__ import annotations

import copy
from typing import Any, Self, overload

import numpy as np
import torch
from scipy import sparse
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from torchlogreg.data.containers import as_numpy, as_tensor, outgoing
from torchlogreg.data.validation import check_features, feature_blocks
from torchlogreg.problem.families import family_of
from torchlogreg.problem.modules import LogisticModule, module_class
from torchlogreg.problem.products import full_precision, logits
from torchlogreg.problem.threads import threads_for


class LogisticClassifierMixin(ClassifierMixin):
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
        X : {array-like, sparse matrix, Tensor} of shape (n, d)
            Features.

        Returns
        -------
        eta : ndarray or Tensor of shape (n,) or (n, K)
            For two classes the logit of ``classes_[1]``, otherwise one logit per class.
        """
        return self._predict(X, lambda family, eta: eta.squeeze(-1) if eta.shape[-1] == 1 else eta)

    @overload
    def predict(self, X: Tensor) -> Any: ...
    @overload
    def predict(self, X: Any) -> np.ndarray: ...
    def predict(self, X: Any) -> Any:
        """Return the most probable label of every row.

        Parameters
        ----------
        X : {array-like, sparse matrix, Tensor} of shape (n, d)
            Features.

        Returns
        -------
        labels : ndarray or Tensor of shape (n,)
            Labels; a tensor if ``X`` is one and the labels are numbers.
        """
        codes = self._predict(X, lambda family, eta: family.classify(eta))
        if isinstance(codes, Tensor) and self.classes_.dtype.kind in "biuf":
            return torch.from_numpy(self.classes_).to(codes.device)[codes]
        return self.classes_[as_numpy(codes)]

    @overload
    def predict_proba(self, X: Tensor) -> Tensor: ...
    @overload
    def predict_proba(self, X: Any) -> np.ndarray: ...
    def predict_proba(self, X: Any) -> Any:
        """Return the probabilities of the classes.

        Parameters
        ----------
        X : {array-like, sparse matrix, Tensor} of shape (n, d)
            Features.

        Returns
        -------
        proba : ndarray or Tensor of shape (n, K)
            Probabilities in the order of ``classes_``; rows sum to one.
        """
        return self._predict(X, lambda family, eta: family.proba(eta))

    @overload
    def predict_log_proba(self, X: Tensor) -> Tensor: ...
    @overload
    def predict_log_proba(self, X: Any) -> np.ndarray: ...
    def predict_log_proba(self, X: Any) -> Any:
        """Return the logarithms of the probabilities of the classes.

        Computed from the logits, so that no class gets minus infinity however improbable.

        Parameters
        ----------
        X : {array-like, sparse matrix, Tensor} of shape (n, d)
            Features.

        Returns
        -------
        log_proba : ndarray or Tensor of shape (n, K)
            Log-probabilities in the order of ``classes_``.
        """
        return self._predict(X, lambda family, eta: family.log_proba(eta))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy.

        Parameters
        ----------
        X : {array-like, sparse matrix, Tensor} of shape (n, d)
            Features.
        y : array-like or Tensor of shape (n,)
            True labels.
        sample_weight : array-like or Tensor of shape (n,), default=None
            Weights of the rows.

        Returns
        -------
        accuracy : float
            Share of rows, by weight, whose label is predicted.
        """
        labels = as_numpy(self.predict(X))
        return float(accuracy_score(as_numpy(y), labels, sample_weight=as_numpy(sample_weight)))

    def sparsify(self) -> Self:
        """Keep the weights as a sparse matrix: ``coef_`` becomes a SciPy matrix in CSR format.

        Worth it where most weights are zero, as with a large ``l1_ratio`` and a small ``C``: they
        take less memory, and predictions for dense features less time. A tensor becomes a sparse
        CSR tensor.

        Returns
        -------
        self : estimator
            The same estimator, with the same predictions.
        """
        check_is_fitted(self, "coef_")
        if isinstance(self.coef_, Tensor):
            self.coef_ = self.coef_.to_sparse_csr()
        else:
            self.coef_ = sparse.csr_matrix(self.coef_)
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Copy all that there is: sparse tensors, too, which torch does not copy so."""
        coef = getattr(self, "coef_", None)
        if isinstance(coef, Tensor) and coef.layout is not torch.strided:
            memo[id(coef)] = coef.clone()
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        twin.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return twin

    def densify(self) -> Self:
        """Undo :meth:`sparsify`: ``coef_`` becomes an array, or a dense tensor.

        Returns
        -------
        self : estimator
            The same estimator, with the same predictions.
        """
        check_is_fitted(self, "coef_")
        if isinstance(self.coef_, Tensor):
            self.coef_ = self.coef_.to_dense()
        elif sparse.issparse(self.coef_):
            self.coef_ = self.coef_.toarray()
        return self

    @property
    def module_(self) -> LogisticModule:
        """A new ``torch.nn.Module`` with the coefficients, on the device of the fit.

        Made whenever it is asked for: changes to it do not change the estimator.
        """
        check_is_fitted(self, "coef_")
        coef = self._coef(_device_of(self.coef_))
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

    def _predict(self, X: Any, output: Any) -> Any:
        """Apply ``output(family, eta)``, with eta of shape (n, R), to X block by block."""
        check_is_fitted(self, "coef_")
        X = check_features(self, X)
        is_tensor = isinstance(X, Tensor)
        weights, intercept = self._parameters(X.device if is_tensor else _device_of(self.coef_))
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
        return outgoing(joined.contiguous(), is_tensor)

    def _parameters(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Weights (R, d), dense or CSR, and intercepts (R,)."""
        weights, intercept = (  # which may be read-only memory maps
            as_tensor(
                part if isinstance(part, Tensor) or sparse.issparse(part) else np.asarray(part),
                device,
            )
            for part in (self.coef_, self.intercept_)
        )
        return weights, intercept.to(weights.dtype)

    def _coef(self, device: torch.device) -> Tensor:
        """Weights and intercepts as one tensor of shape (R, d + 1)."""
        weights, intercept = self._parameters(device)
        weights = weights if weights.layout is torch.strided else weights.to_dense()
        return torch.cat([weights, intercept.unsqueeze(-1)], dim=-1)

    def __sklearn_tags__(self) -> Tags:
        """Declare what the estimator can do."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def with_coef(model: Any, coef: Tensor, is_tensor: bool) -> Any:
    """Give a classifier the coefficients (R, D), as tensors or as arrays; return it."""
    d = model.n_features_in_
    intercept = coef[:, d] if model.fit_intercept else coef.new_zeros(len(coef))
    model.coef_ = outgoing(coef[:, :d].clone(), is_tensor)
    model.intercept_ = outgoing(intercept.clone(), is_tensor)
    return model


def _device_of(array: Any) -> torch.device:
    """Device of a tensor; the CPU for anything else."""
    return array.device if isinstance(array, Tensor) else torch.device("cpu")
