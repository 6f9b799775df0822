"""What of scikit-learn and of the libraries that its checks can use is at hand."""

from unittest import SkipTest

import pytest
import sklearn
from sklearn.utils import _array_api
from sklearn.utils._testing import _array_api_for_tests

IS_OLD = tuple(map(int, sklearn.__version__.split(".")[:2])) < (1, 9)
"""Whether scikit-learn is the oldest that is supported, 1.8."""


def needs_young(reason):
    """Mark a test that the oldest scikit-learn cannot be compared in."""
    return pytest.mark.skipif(IS_OLD, reason=f"scikit-learn 1.8 {reason}")


needs_callbacks = needs_young("has no callbacks")
needs_same_library = needs_young("checks the libraries of arrays otherwise: that of classes_, too")


def combinations(**options):
    """Yield scikit-learn's library, device and dtype, where they are at hand."""
    for combination in _array_api.yield_namespace_device_dtype_combinations(**options):
        if combination[1] == "cuda" and not _has_cuda():
            continue
        try:
            _array_api_for_tests(*combination[:2])
        except SkipTest:
            continue
        yield combination


def mixtures():
    """Yield scikit-learn's pairs of libraries and devices, where they are at hand."""
    for mixture in _array_api.yield_mixed_namespace_input_permutations():
        *pair, _ = mixture
        if any(part.device == "cuda" and not _has_cuda() for part in pair):
            continue
        try:
            for part in pair:
                _array_api_for_tests(part.xp, part.device)
        except SkipTest:
            continue
        yield mixture


def _has_cuda():
    """scikit-learn asks whether torch was built for a GPU, not whether there is one."""
    import torch

    return torch.cuda.is_available()
