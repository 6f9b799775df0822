"""Benchmarks. NumPy's BLAS runs with the kernels that suit the processor, whatever was set."""

import os

HOLD_BACK = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
"""Environment variables with which OpenBLAS, and so scikit-learn, is held to older kernels."""

for name in HOLD_BACK:
    os.environ.pop(name, None)  # it reads them when it is loaded, which is later
