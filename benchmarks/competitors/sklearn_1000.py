"""scikit-learn's LogisticRegression, allowed to converge."""

from functools import partial

from benchmarks.competitors import sklearn_default

fit = partial(sklearn_default.fit, max_iter=1000)
