"""Weights that are kept as a sparse matrix."""

from __future__ import annotations

import copy
from typing import Any, Self

import torch
from scipy import sparse
from sklearn.utils.validation import check_is_fitted
from torch import Tensor


class SparseCoefMixin:
    """``sparsify`` and ``densify``, as the linear models of scikit-learn have them."""

    coef_: Any

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

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Copy all that there is: sparse tensors, too, which torch does not copy so."""
        coef = getattr(self, "coef_", None)
        if isinstance(coef, Tensor) and coef.layout is not torch.strided:
            memo[id(coef)] = coef.clone()
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        twin.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return twin
