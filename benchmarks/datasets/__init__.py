"""Data sets, one a file: ``load`` returns a :class:`torchlogreg.datasets.Split`."""

from benchmarks.datasets import (
    breast_cancer,
    breast_cancer_raw,
    digits,
    iris,
    many_classes,
    mnist,
    mnist_float64,
    probe,
    sparse,
    tall,
    wide,
    wine,
    wine_raw,
)

DATASETS = {
    "iris": iris.load,
    "wine": wine.load,
    "wine_raw": wine_raw.load,
    "breast_cancer": breast_cancer.load,
    "breast_cancer_raw": breast_cancer_raw.load,
    "digits": digits.load,
    "tall": tall.load,
    "wide": wide.load,
    "sparse": sparse.load,
    "many_classes": many_classes.load,
    "probe": probe.load,
    "mnist": mnist.load,
    "mnist_float64": mnist_float64.load,
}
