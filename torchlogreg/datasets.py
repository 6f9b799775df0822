"""Data sets for examples and benchmarks; needs the extra ``torchlogreg[datasets]``."""

from __future__ import annotations

import os
import urllib.request
from pathlib import Path
from typing import NamedTuple

import numpy as np

DATA_VARIABLE = "TORCHLOGREG_DATA"
"""Environment variable that names the folder of the data sets."""


class Split(NamedTuple):
    """Training and test part of a data set."""

    X_train: np.ndarray
    y_train: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray


def data_root() -> Path:
    """Folder of the data sets: ``$TORCHLOGREG_DATA`` if set, else ``~/.cache/torchlogreg``."""
    return Path(os.environ.get(DATA_VARIABLE) or Path.home() / ".cache" / "torchlogreg")


def load_mnist(root: str | Path | None = None, *, timeout: float = 5.0) -> Split:
    """Load MNIST through torchvision, from disk or else from the network.

    Parameters
    ----------
    root : str or Path, default=None
        Folder that holds, or will hold, ``MNIST/raw``; None for :func:`data_root`. Archives
        that lie there are verified and unpacked in place.
    timeout : float, default=5.0
        Seconds to wait for a first answer of the servers, so that a machine without network
        is told so at once.

    Returns
    -------
    X_train, y_train, X_test, y_test : ndarrays
        60,000 and 10,000 rows of 784 pixels, float32 in [0, 1], with labels 0..9.

    Raises
    ------
    ImportError
        If torchvision is not installed.
    FileNotFoundError
        If the data is neither on disk nor to be had from the network.
    """
    try:
        from torchvision.datasets import MNIST
    except ImportError as error:
        raise ImportError(
            "load_mnist needs torchvision: pip install 'torchlogreg[datasets]'"
        ) from error
    root = data_root() if root is None else Path(root)
    raw = root / "MNIST" / "raw"
    names = [name for name, _ in MNIST.resources]
    if not all((raw / name).exists() or (raw / name).with_suffix("").exists() for name in names):
        _require_server(MNIST.mirrors, names[-1], raw, timeout)
    parts = [MNIST(root, train=train, download=True) for train in (True, False)]
    arrays = (
        array
        for part in parts
        for array in (
            part.data.numpy().reshape(len(part), -1).astype(np.float32) / 255,
            part.targets.numpy(),
        )
    )
    return Split(*arrays)


def _require_server(mirrors: list[str], name: str, raw: Path, timeout: float) -> None:
    """Raise FileNotFoundError unless a server answers."""
    for mirror in mirrors:
        try:
            request = urllib.request.Request(mirror + name, method="HEAD")
            with urllib.request.urlopen(request, timeout=timeout):
                return
        except OSError:
            continue
    raise FileNotFoundError(
        f"MNIST is not in {raw} and none of its servers answers. Put its four archives (*.gz) "
        f"there, or set {DATA_VARIABLE} to the folder that holds MNIST/raw."
    )
