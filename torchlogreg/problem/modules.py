"""Logistic models as ``torch.nn.Module``: parameters and the map from features to logits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from torchlogreg.problem.products import linear_predictor


class LogisticModule(nn.Module):
    """Linear map to R logits, with the intercept in the last column of one parameter.

    One tensor for both keeps every full-batch optimizer free of bookkeeping; ``weight`` and
    ``bias`` are views of it under the names that torch users know from ``torch.nn.Linear``. These
    two are what ``state_dict`` has, so that it loads into a ``torch.nn.Linear``, and one of that
    kind into the module.

    Attributes
    ----------
    coef : Parameter of shape (*batch_shape, R, n_features + bias)
        The coefficients, zero at the start: the loss is convex.
    """

    def __init__(
        self,
        n_features: int,
        n_outputs: int,
        *,
        bias: bool = True,
        batch_shape: tuple[int, ...] = (),
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if n_features < 1 or n_outputs < 1:
            raise ValueError(
                f"n_features={n_features!r} and n_outputs={n_outputs!r} must both be at least 1."
            )
        self.n_features = n_features
        shape = (*batch_shape, n_outputs, n_features + bias)
        self.coef = nn.Parameter(torch.zeros(shape, device=device, dtype=dtype))

    @property
    def weight(self) -> Tensor:
        """Weights, shape (..., R, n_features): a view."""
        return self.coef[..., : self.n_features]

    @property
    def bias(self) -> Tensor | None:
        """Intercepts, shape (..., R), a view; None without an intercept."""
        has_bias = self.coef.shape[-1] > self.n_features
        return self.coef[..., self.n_features] if has_bias else None

    def forward(self, X: Tensor) -> Tensor:
        """Logits (..., n, R) of the rows of X (n, n_features)."""
        if X.ndim != 2 or X.shape[1] != self.n_features:
            raise ValueError(
                f"X has the shape {tuple(X.shape)}, but {type(self).__name__} takes rows of "
                f"{self.n_features} features: (n, {self.n_features})."
            )
        if torch.compiler.is_compiling():  # the other kernels are chosen by looking at the data
            eta = X @ self.weight.mT
            return eta if self.bias is None else eta + self.bias.unsqueeze(-2)
        return linear_predictor(X, self.coef).mT

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool
    ) -> None:
        """Save the coefficients under the names of ``torch.nn.Linear``."""
        for name, part in self._parts():
            destination[prefix + name] = part if keep_vars else part.detach().clone()

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Load what was saved, here or by a ``torch.nn.Linear``."""
        expected = dict(self._parts())
        found = {k.removeprefix(prefix): v for k, v in state_dict.items() if k.startswith(prefix)}
        missing_keys.extend(prefix + name for name in expected if name not in found)
        if strict:
            unexpected_keys.extend(prefix + name for name in found if name not in expected)
        fitting = {}
        for name, part in expected.items():
            shape = tuple(getattr(found.get(name, part), "shape", ()))
            if shape == tuple(part.shape):
                fitting[name] = found.get(name, part)
            else:
                error_msgs.append(
                    f"{prefix}{name} has the shape {shape}, but the module has {tuple(part.shape)}."
                )
        if local_metadata.get("assign_to_params_buffers") and fitting.keys() == expected.keys():
            columns = [fitting["weight"].detach()]
            if "bias" in fitting:
                columns.append(fitting["bias"].detach().unsqueeze(-1).to(columns[0]))
            self.coef = nn.Parameter(torch.cat(columns, -1), self.coef.requires_grad)
            return
        with torch.no_grad():
            for name, values in fitting.items():
                expected[name].copy_(values)

    def _parts(self) -> list[tuple[str, Tensor]]:
        """Return weights and intercepts by their names."""
        parts = [("weight", self.weight)]
        return parts if self.bias is None else [*parts, ("bias", self.bias)]

    def extra_repr(self) -> str:
        """Describe the shape as ``torch.nn.Linear`` does."""
        shape = tuple(self.coef.shape)
        bias = shape[-1] > self.n_features
        return f"n_features={self.n_features}, n_outputs={shape[-2]}, bias={bias}"


class BinaryLogistic(LogisticModule):
    """Binary logistic regression: one logit, that of the second class.

    Use with :class:`torch.nn.BCEWithLogitsLoss`; ``torch.sigmoid`` of the output is the
    probability of the second class.

    Parameters
    ----------
    n_features : int
        Number d of columns of X.
    n_outputs : int, default=1
        Number of logits, always 1; there so that both modules are built in the same way.
    bias : bool, default=True
        Whether there is an intercept.
    batch_shape : tuple of int, default=()
        Leading axes of the parameter: (B,) for B problems that share X.
    device, dtype : optional
        As for every torch module.

    Examples
    --------
    >>> import torch
    >>> from torchlogreg import BinaryLogistic
    >>> BinaryLogistic(4)(torch.ones(3, 4)).shape
    torch.Size([3, 1])
    """

    def __init__(
        self,
        n_features: int,
        n_outputs: int = 1,
        *,
        bias: bool = True,
        batch_shape: tuple[int, ...] = (),
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if n_outputs != 1:
            raise ValueError(
                f"n_outputs={n_outputs!r}: BinaryLogistic has one logit. "
                "Use MultinomialLogistic for more classes."
            )
        super().__init__(
            n_features, n_outputs, bias=bias, batch_shape=batch_shape, device=device, dtype=dtype
        )


class MultinomialLogistic(LogisticModule):
    """Multinomial logistic regression: one logit per class.

    Use with :class:`torch.nn.CrossEntropyLoss`; the softmax of the output over its last axis
    gives the class probabilities.

    Parameters
    ----------
    n_features : int
        Number d of columns of X.
    n_outputs : int
        Number K of classes.
    bias : bool, default=True
        Whether there are intercepts.
    batch_shape : tuple of int, default=()
        Leading axes of the parameter: (B,) for B problems that share X.
    device, dtype : optional
        As for every torch module.

    Examples
    --------
    >>> import torch
    >>> from torchlogreg import MultinomialLogistic
    >>> MultinomialLogistic(4, 3)(torch.ones(5, 4)).shape
    torch.Size([5, 3])
    """


def module_class(n_classes: int) -> type[LogisticModule]:
    """Return the module that models ``n_classes`` classes."""
    return BinaryLogistic if n_classes == 2 else MultinomialLogistic
