"""Probabilities of all rows, next to scikit-learn's from the same coefficients."""

import math
import statistics
import time

from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from benchmarks.runner import PAUSE
from torchlogreg import TorchLogisticRegression

ROUNDS, TURN = 15, 0.1
"""Turns of each; seconds that a turn lasts at least, in which short calls are repeated."""


def predictions(dataset, data, C=1.0):
    """Alternate; return one record for each competitor, with the median time of a call."""
    X, y = data.X_train, data.y_train
    ours = TorchLogisticRegression(C).fit(X, y)
    theirs = LogisticRegression(C=C)
    for name in ("coef_", "intercept_", "classes_", "n_features_in_"):
        setattr(theirs, name, getattr(ours, name))
    calls = {
        "torchlogreg": (ours.predict_proba, None),
        "sklearn, 1 thread": (theirs.predict_proba, 1),
        "sklearn, all threads": (theirs.predict_proba, None),
    }
    times = {name: [] for name in calls}
    for number in range(ROUNDS + 1):
        for name, (predict_proba, n_threads) in calls.items():
            time.sleep(PAUSE)
            with threadpool_limits(n_threads):
                n_calls = math.ceil(TURN / _seconds(predict_proba, X, 1))
                seconds = _seconds(predict_proba, X, n_calls)
            if number > 0:  # the first round warms up
                times[name].append(seconds)
    return [
        {"dataset": dataset, "competitor": name, "n_predicted": len(y), "seconds": median}
        for name, median in ((name, statistics.median(some)) for name, some in times.items())
    ]


def _seconds(predict_proba, X, n_calls):
    start = time.perf_counter()
    for _ in range(n_calls):
        predict_proba(X)
    return (time.perf_counter() - start) / n_calls
