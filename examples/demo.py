"""Iris, digits and MNIST next to scikit-learn: one table and two pictures.

Run it with ``make demo``. MNIST takes part when it is at hand or can be downloaded.
"""

import time
import warnings
from pathlib import Path

import matplotlib
import numpy as np
from sklearn.datasets import load_digits, load_iris
from sklearn.inspection import DecisionBoundaryDisplay
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from torchlogreg import TorchLogisticRegression
from torchlogreg.datasets import load_mnist
from torchlogreg.plotting import CoefficientImageDisplay

matplotlib.use("agg")

OUTPUT = Path("demo-output")


def compare(name, X_train, X_test, y_train, y_test):
    """Fit both estimators with their defaults; print a row of the table for each."""
    for label, model in [
        ("torchlogreg", TorchLogisticRegression()),
        ("scikit-learn", LogisticRegression()),
    ]:
        if len(X_train) < 10_000:
            model.fit(X_train, y_train)  # warm up
        start = time.perf_counter()
        model.fit(X_train, y_train)
        seconds = time.perf_counter() - start
        loss = log_loss(y_train, model.predict_proba(X_train))
        loss += np.sum(np.square(model.coef_, dtype=float)) / (2 * model.C * len(X_train))
        print(
            f"{name:8} {label:14} {seconds * 1e3:10.1f} {loss:13.7f} {model.n_iter_[0]:11d}"
            f" {model.score(X_test, y_test):14.4f}",
            flush=True,
        )


def draw_iris(X, y, features, classes):
    """Save the decision regions of the two petal features."""
    model = TorchLogisticRegression().fit(X[:, 2:], y)
    colors = ["tab:blue", "tab:orange", "tab:green"]
    display = DecisionBoundaryDisplay.from_estimator(
        model,
        X[:, 2:],
        grid_resolution=500,
        response_method="predict",
        multiclass_colors=colors,
        alpha=0.3,
        xlabel=features[2],
        ylabel=features[3],
    )
    for code, (color, species) in enumerate(zip(colors, classes, strict=True)):
        display.ax_.scatter(*X[y == code, 2:].T, color=color, edgecolors="k", label=species)
    display.ax_.legend(loc="lower right")
    display.ax_.set_title("Iris: decision regions")
    display.figure_.savefig(OUTPUT / "iris-decision-regions.png", dpi=100)


def draw_templates(X, y):
    """Save the weights of every digit as a picture, with one symmetric scale."""
    model = TorchLogisticRegression(C=0.01).fit(X, y)
    figure = CoefficientImageDisplay.from_estimator(model).figure_
    figure.suptitle("Weights of the pixels: red speaks for the digit, blue against it")
    figure.savefig(OUTPUT / "digit-templates.png", dpi=100)


def main():
    """Print the table, search over C, save the pictures."""
    warnings.simplefilter("ignore")  # scikit-learn's defaults stop short of convergence
    OUTPUT.mkdir(exist_ok=True)
    iris, digits = load_iris(), load_digits()
    print("data     model             fit / ms     objective  iterations  test accuracy")
    for name, data in [("Iris", iris), ("digits", digits)]:
        compare(name, *train_test_split(data.data, data.target, random_state=0))
    try:
        X_train, y_train, X_test, y_test = load_mnist()
    except FileNotFoundError as error:
        print(f"MNIST is left out: {error}")
    else:
        compare("MNIST", X_train, X_test, y_train, y_test)

    pipeline = make_pipeline(StandardScaler(), TorchLogisticRegression())
    grid = {"torchlogisticregression__C": np.logspace(-3, 1, 5)}
    search = GridSearchCV(pipeline, grid, cv=3).fit(iris.data, iris.target)
    best = search.best_params_["torchlogisticregression__C"]
    print(
        f"\nGrid search over C, Iris, scaled: best C = {best:g}, accuracy {search.best_score_:.4f}"
    )

    draw_iris(iris.data, iris.target, iris.feature_names, iris.target_names)
    draw_templates(digits.data, digits.target)
    print("Pictures:", *sorted(str(path) for path in OUTPUT.glob("*.png")))


if __name__ == "__main__":
    main()
