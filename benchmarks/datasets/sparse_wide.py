"""Sparse and wide, for sparse models: of 100,000 columns 500 have to do with the class. float64."""

from functools import partial

from benchmarks.datasets.synthetic import few_useful

DATASETS = {
    "sparse_wide": partial(few_useful, 20_000, 100_000, 2),
    "sparse_wide_20": partial(few_useful, 20_000, 100_000, 20),
}
