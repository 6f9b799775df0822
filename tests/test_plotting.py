"""Displays: what they draw, where, and what they refuse."""

import subprocess
import sys

import matplotlib
import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from torchlogreg import TorchLogisticRegression
from torchlogreg.plotting import CoefficientImageDisplay, LossCurveDisplay

matplotlib.use("agg")
import matplotlib.pyplot as plt

X, y = load_iris(return_X_y=True)


@pytest.fixture(autouse=True)
def figures(monkeypatch):
    monkeypatch.setattr(plt, "show", lambda: pytest.fail("a display has called show"))
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def model():
    return TorchLogisticRegression().fit(X, y)


@pytest.fixture(scope="module")
def digits():
    return TorchLogisticRegression(C=0.01).fit(*load_digits(return_X_y=True))


@pytest.mark.parametrize("key", ["loss", "optimality"])
def test_curve_is_the_history(model, key):
    display = LossCurveDisplay.from_estimator(model, y=key)
    places, values = display.line_.get_data()
    assert places.tolist() == list(range(1, model.n_iter_[0] + 1))
    recorded = model.history_[:, "train_loss" if key == "loss" else key]
    assert values.tolist() == recorded
    assert display.ax_.get_xlabel() == "iterations"
    assert display.ax_.get_yscale() == ("log" if key == "optimality" else "linear")
    assert display.figure_ is display.ax_.figure


def test_seconds_add_up(model):
    display = LossCurveDisplay.from_estimator(model, x="seconds")
    assert display.line_.get_xdata() == pytest.approx(np.cumsum(model.history_[:, "seconds"]))
    assert display.ax_.get_xlabel() == "seconds"


def test_loss_above_the_minimum_is_positive(model):
    minimum = model.history_[-1, "train_loss"]
    display = LossCurveDisplay.from_estimator(model, minimum=minimum)
    values = display.line_.get_ydata()
    assert np.isnan(values[-1])
    assert values[0] == pytest.approx(model.history_[0, "train_loss"] - minimum)
    assert display.ax_.get_yscale() == "log"
    assert display.ax_.get_ylabel() == "training loss above the minimum"


def test_curves_share_given_axes(model):
    _, ax = plt.subplots()
    first = LossCurveDisplay.from_estimator(model, ax=ax, name="first", color="red")
    second = first.plot(ax, name="second", linestyle=":")
    assert second is first
    assert first.ax_ is ax
    assert [line.get_label() for line in ax.lines] == ["first", "second"]
    assert ax.lines[0].get_color() == "red"
    assert len(plt.get_fignums()) == 1


def test_pipelines_and_searches_show_their_classifier():
    pipeline = make_pipeline(StandardScaler(), TorchLogisticRegression())
    search = GridSearchCV(pipeline, {"torchlogisticregression__C": [0.1, 1.0]}, cv=2).fit(X, y)
    best = search.best_estimator_[-1]
    display = LossCurveDisplay.from_estimator(search)
    assert display.line_.get_ydata().tolist() == best.history_[:, "train_loss"]
    assert display.line_.get_label() == "TorchLogisticRegression"
    assert len(CoefficientImageDisplay.from_estimator(search).images_) == 3


def test_loss_of_the_rows_held_out(model):
    early = TorchLogisticRegression(solver="adam", early_stopping=True, max_iter=3, tol=None)
    display = LossCurveDisplay.from_estimator(early.fit(X, y), y="valid_loss")
    assert display.line_.get_ydata().tolist() == early.history_[:, "valid_loss"]
    with pytest.raises(ValueError, match=r"y='valid_loss'.*Fit with early_stopping=True"):
        LossCurveDisplay.from_estimator(model, y="valid_loss")


@pytest.mark.parametrize(("parameter", "value"), [("x", "epochs"), ("y", "accuracy")])
def test_unknown_quantities_are_refused(model, parameter, value):
    with pytest.raises(ValueError, match=rf"{parameter}='{value}' is none of \["):
        LossCurveDisplay.from_estimator(model, **{parameter: value})


@pytest.mark.parametrize("display", [LossCurveDisplay, CoefficientImageDisplay])
def test_unfitted_estimators_are_refused(display):
    with pytest.raises(NotFittedError):
        display.from_estimator(TorchLogisticRegression())


def test_pictures_are_the_coefficients_on_one_symmetric_scale(digits):
    display = CoefficientImageDisplay.from_estimator(digits)
    limit = np.abs(digits.coef_).max()
    for digit, image in enumerate(display.images_):
        np.testing.assert_array_equal(image.get_array(), digits.coef_[digit].reshape(8, 8))
        assert image.get_clim() == (-limit, limit)
        assert display.axes_[digit].get_title() == str(digit)
    assert display.colorbar_.mappable is display.images_[-1]
    assert display.figure_ is display.axes_[0].figure


def test_two_classes_have_one_picture():
    labels = np.where(y == 2, "virginica", "other")
    display = CoefficientImageDisplay.from_estimator(
        TorchLogisticRegression().fit(X, labels), image_shape=(1, 4), colorbar=False
    )
    assert [ax.get_title() for ax in display.axes_] == ["virginica, not other"]
    assert display.images_[0].get_array().shape == (1, 4)
    assert display.colorbar_ is None


def test_tensors_and_other_linear_classifiers_have_pictures(digits):
    tensor = CoefficientImageDisplay(torch.from_numpy(digits.coef_), titles=list("0123456789"))
    assert len(tensor.plot(cmap="PuOr").images_) == 10
    assert tensor.images_[0].get_cmap().name == "PuOr"
    theirs = LogisticRegression(max_iter=1000).fit(X, y)
    assert len(CoefficientImageDisplay.from_estimator(theirs).images_) == 3


def test_pictures_divide_given_axes_among_them(digits):
    figure, (left, right) = plt.subplots(1, 2)
    display = CoefficientImageDisplay.from_estimator(digits, ax=right, n_cols=4, colorbar=False)
    assert display.ax_ is right
    assert display.figure_ is figure
    assert all(ax.get_position().x0 > left.get_position().x1 for ax in display.axes_)
    assert display.axes_[4].get_position().y1 < display.axes_[0].get_position().y0


def test_pictures_in_axes_of_their_own(digits):
    _, axes = plt.subplots(2, 5)
    display = CoefficientImageDisplay.from_estimator(digits, ax=axes)
    assert list(display.axes_) == list(axes.flat)
    with pytest.raises(ValueError, match="ax has 5 axes for 10 pictures"):
        display.plot(axes[0])


def test_shapes_that_are_no_pictures_are_refused(digits):
    with pytest.raises(ValueError, match=r"image_shape=\(8, 9\) is no picture of 64 pixels"):
        CoefficientImageDisplay.from_estimator(digits, image_shape=(8, 9))
    with pytest.raises(ValueError, match="image_shape=None: 6 coefficients make no square"):
        CoefficientImageDisplay(np.zeros((1, 6)), titles=["a"])
    with pytest.raises(ValueError, match="must be 2, one a row of coef"):
        CoefficientImageDisplay(np.zeros((2, 4)), titles=["a"])
    with pytest.raises(ValueError, match="n_cols=0 must be at least 1"):
        CoefficientImageDisplay.from_estimator(digits, n_cols=0)


def test_a_missing_matplotlib_is_asked_for():
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from torchlogreg.plotting import LossCurveDisplay\n"
        "display = LossCurveDisplay(loss=[1], optimality=[1], seconds=[1])\n"
        "try: display.plot()\n"
        "except ImportError as error: print(error)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "LossCurveDisplay.plot requires matplotlib" in result.stdout
