"""Grid searches with two jobs, in units of the ideal: half of the time of one job with one thread.

Processes are those of joblib, which are there when a turn begins: starting them is not counted.
"""

import statistics
import time

import joblib
import numpy as np
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from threadpoolctl import threadpool_limits

from benchmarks.datasets import DATASETS
from benchmarks.runner import PAUSE
from torchlogreg import TorchLogisticRegression

BACKENDS = ("loky", "multiprocessing", "threading")
"""Those of joblib."""

N_CS, N_FOLDS, TURNS = 4, 4, 3
"""Shape of the grid, and turns of each."""


def jobs(dataset):
    """Return one record for each backend, with the median time over the turns."""
    data = DATASETS[dataset]()
    model = TorchLogisticRegression()
    grid = {"C": np.logspace(-2, 0, N_CS)}

    def search(n_jobs):
        folds = StratifiedKFold(N_FOLDS)
        searched = GridSearchCV(model, grid, cv=folds, refit=False, n_jobs=n_jobs)
        start = time.perf_counter()
        searched.fit(data.X_train, data.y_train)
        return time.perf_counter() - start

    model.fit(data.X_train, data.y_train)  # in the parent, with all threads
    times = {name: [] for name in ("one job", *BACKENDS)}
    for _ in range(TURNS):
        time.sleep(PAUSE)
        with threadpool_limits(1):
            times["one job"].append(search(1))
        for backend in BACKENDS:
            time.sleep(PAUSE)
            with joblib.parallel_config(backend=backend):
                search(2)
                times[backend].append(search(2))
    seconds = {name: statistics.median(some) for name, some in times.items()}
    ideal = seconds["one job"] / 2
    return [
        {
            "dataset": dataset,
            "backend": name,
            "seconds": median,
            "times_ideal": median / ideal,
            "all_seconds": times[name],
        }
        for name, median in seconds.items()
    ]
