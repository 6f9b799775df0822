"""
A fit where the rows are: a Dask cluster
========================================

Eight partitions of a frame are in the memory of the workers of a Dask cluster. They stay there:
every worker computes sums over its own rows, and what travels are these sums, of the size of the
coefficients. The result is that of one process with all of the rows.
"""

import time

import dask.dataframe as dd
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from distributed import Client, LocalCluster

from torchlogreg import TorchLogisticRegression
from torchlogreg.distributed import dask

N_FEATURES = 20
NAMES = [f"x{number}" for number in range(N_FEATURES)]
COEF = np.random.default_rng(0).normal(size=(N_FEATURES, 3))

# %%
# A worker makes its own partitions, as it would read files of its own. Labels are strings.


def partition(seed):
    """Return 20,000 rows: features, and the kind of each."""
    generator = np.random.default_rng(seed)
    X = generator.normal(size=(20_000, N_FEATURES))
    noise = generator.gumbel(scale=2, size=(len(X), 3))
    kinds = np.array(["ash", "elm", "oak"], dtype=object)[(X @ COEF + noise).argmax(axis=1)]
    return pd.DataFrame(X, columns=NAMES).assign(kind=kinds)


def frame_on_workers():
    """Return a frame whose partitions are in the memory of the workers."""
    return dd.from_map(partition, range(8), meta=partition(0)[:0]).persist()


# %%
# Workers are processes, which start by importing this file: hence the usual guard. On a cluster
# of many machines only the address of the client is another.

if __name__ == "__main__":
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        frame = frame_on_workers()
        X, y = frame[NAMES], frame["kind"]
        model = dask.fit(TorchLogisticRegression(), X, y)  # workers import torch
        start = time.perf_counter()
        dask.fit(model, X, y)
        print(f"{len(frame)} rows in {time.perf_counter() - start:.2f} s")

        proba = dask.predict_proba(model, X)  # nothing is computed yet
        print("probabilities:", proba)
        mean = proba.mean(axis=0).compute()

        rows = frame.compute()
        one = TorchLogisticRegression().fit(rows[NAMES], rows["kind"])
        print("largest difference from one process:", np.abs(model.coef_ - one.coef_).max())
        share = rows["kind"].value_counts(normalize=True)[model.classes_]

    fig, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    left.plot(one.coef_.T, model.coef_.T, "o", label=model.classes_)
    left.axline((0, 0), slope=1, color="k", linewidth=0.5)
    left.set(xlabel="one process", ylabel="cluster", title="Coefficients")
    left.legend()
    right.bar(model.classes_, share, label="share of the rows", width=0.8, alpha=0.4)
    right.plot(model.classes_, mean, "ko", label="mean probability")
    right.set(title="Predictions over all partitions")
    right.legend()
    plt.show()
