"""The wide net: data of many shapes, to find out where we lose. float64, C = 1 but for one."""

from functools import partial

from benchmarks.datasets.synthetic import clusters, independent, one_hot, words

DATASETS = {
    "200x10": partial(independent, 200, 10, 2),
    "10,000x20": partial(independent, 10_000, 20, 2),
    "100,000x20": partial(independent, 100_000, 20, 2),
    "1,000,000x5": partial(independent, 1_000_000, 5, 2),
    "300x300": partial(independent, 300, 300, 2),
    "2,000x500": partial(independent, 2_000, 500, 2),
    "500x20,000": partial(independent, 500, 20_000, 2),
    "1,000x300 3 classes": partial(independent, 1_000, 300, 3),
    "20,000x300": partial(independent, 20_000, 300, 2),
    "20,000x200 correlated": partial(clusters, 20_000, 200, 2, noise=0.1, dtype="float64"),
    "50,000x100 10 classes": partial(independent, 50_000, 100, 10),
    "3,000x2,000 10 classes": partial(independent, 3_000, 2_000, 10),
    "5,000x50 100 classes": partial(independent, 5_000, 50, 100),
    "5,000x20 800 classes": partial(independent, 5_000, 20, 800),
    "one-hot 200,000x10,000": partial(one_hot, 200_000, 10_000),
    "text 20,000x50,000": partial(words, 20_000, 50_000, 2),
    "text 20,000x50,000 20 classes": partial(words, 20_000, 50_000, 20),
    "text 5,000x130,000 20 classes": partial(words, 5_000, 130_000, 20),
    "text 2,000x20,000 5 classes": partial(words, 2_000, 20_000, 5),
}
