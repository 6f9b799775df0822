"""What younger versions of scikit-learn have, and older ones do without."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
    from sklearn.utils._array_api import check_same_namespace
except ImportError:  # before 1.9
    _Method = TypeVar("_Method", bound=Callable[..., Any])

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nobody calls back."""

    def with_callbacks(method: _Method) -> _Method:
        """Return the method as it is: there is nothing to end."""
        return method

    def check_same_namespace(X: Any, estimator: Any, *, attribute: str, method: str) -> None:
        """Do nothing: predictions come in the library of X, whichever the model was fitted with."""


HAS_CALLBACKS = hasattr(CallbackSupportMixin, "set_callbacks")
"""Whether scikit-learn has callbacks."""

__all__ = ["HAS_CALLBACKS", "CallbackSupportMixin", "check_same_namespace", "with_callbacks"]
