"""Data sets, one a file: ``load`` returns a :class:`torchlogreg.datasets.Split`."""

from benchmarks.datasets import breast_cancer, digits, iris, mnist, wine

DATASETS = {
    "iris": iris.load,
    "wine": wine.load,
    "breast_cancer": breast_cancer.load,
    "digits": digits.load,
    "mnist": mnist.load,
}
