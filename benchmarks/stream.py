"""Memory of ``partial_fit`` over a stream that is generated on the fly."""

import time

import numpy as np

from benchmarks.memory import resident
from torchlogreg import TorchLogisticRegression

CHUNKS, ROWS, FEATURES, CLASSES = 100, 32_000, 784, 10
"""A hundred chunks of 100 MB: 10 GB in all."""


def chunks(n_chunks, n_rows):
    """Draw chunk after chunk, the same every time."""
    rng = np.random.default_rng(0)
    coef = rng.normal(size=(FEATURES, CLASSES)).astype(np.float32)
    for _ in range(n_chunks):
        X = rng.normal(size=(n_rows, FEATURES)).astype(np.float32)
        yield X, (X @ coef + 10 * rng.gumbel(size=(n_rows, CLASSES))).argmax(axis=1)


def stream(n_chunks=CHUNKS, n_rows=ROWS):
    """Fit chunk by chunk; return a record a chunk, with the memory afterwards."""
    model = TorchLogisticRegression(solver="adam")
    records = []
    for number, (X, y) in enumerate(chunks(n_chunks, n_rows)):
        start = time.perf_counter()
        model.partial_fit(X, y, classes=range(CLASSES))
        seconds = time.perf_counter() - start
        records.append(
            {
                "chunk": number,
                "seconds": seconds,
                "accuracy": model.score(X, y),
                "megabytes": X.nbytes * (number + 1) / 1e6,  # so far
                "resident": resident() / 1e6,
            }
        )
    return records


def summary(records):
    """Sentence on the memory that a stream takes, from the sixth chunk on."""
    resident = [record["resident"] for record in records[5:]]
    return (
        f"{len(records)} chunks, {records[-1]['megabytes'] / 1e3:.1f} GB in all: after the fifth "
        f"the resident memory of the process is between {min(resident):.1f} and "
        f"{max(resident):.1f} MB."
    )
