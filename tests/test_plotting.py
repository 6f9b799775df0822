"""Displays: what they draw, where, and what they refuse."""

import subprocess
import sys

import matplotlib
import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_iris
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from torchlogreg import TorchLogisticRegression, logistic_regression_path
from torchlogreg.plotting import (
    CoefficientImageDisplay,
    CoefficientPathDisplay,
    LossCurveDisplay,
)

matplotlib.use("agg")
import matplotlib.pyplot as plt
from matplotlib.colors import CenteredNorm

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
    nested = make_pipeline(StandardScaler(), make_pipeline(search)).fit(X, y)
    for estimator in (search, search.best_estimator_, nested):
        display = LossCurveDisplay.from_estimator(estimator)
        assert display.line_.get_label() == "TorchLogisticRegression"
        assert len(CoefficientImageDisplay.from_estimator(estimator).images_) == 3


@pytest.mark.parametrize("display", [LossCurveDisplay, CoefficientImageDisplay])
def test_searches_that_kept_nothing_are_refused(display):
    search = GridSearchCV(TorchLogisticRegression(), {"C": [0.1, 1.0]}, cv=2, refit=False)
    with pytest.raises(ValueError, match="refit=False: GridSearchCV has searched"):
        display.from_estimator(search.fit(X, y))


def test_estimators_without_history_or_coefficients_are_refused():
    with pytest.raises(ValueError, match="has no history of its fit"):
        LossCurveDisplay.from_estimator(LogisticRegression(max_iter=1000).fit(X, y))
    with pytest.raises(ValueError, match="has no coef_"):
        CoefficientImageDisplay.from_estimator(DummyClassifier().fit(X, y))


def test_loss_of_the_rows_held_out(model):
    early = TorchLogisticRegression(solver="adam", early_stopping=True, max_iter=3, tol=None)
    display = LossCurveDisplay.from_estimator(early.fit(X, y), y="valid_loss")
    assert display.line_.get_ydata().tolist() == early.history_[:, "valid_loss"]
    with pytest.raises(ValueError, match=r"y='valid_loss'.*Fit with early_stopping=True"):
        LossCurveDisplay.from_estimator(model, y="valid_loss")


def test_epochs_are_called_so():
    sgd = TorchLogisticRegression(solver="sgd", max_iter=3, tol=None).fit(X, y)
    assert LossCurveDisplay.from_estimator(sgd).ax_.get_xlabel() == "epochs"


def test_a_label_is_shown_and_a_minimum_is_that_of_a_loss(model):
    display = LossCurveDisplay(loss=[2, 1], optimality=[1, 0.1], seconds=[1, 2])
    assert display.plot().ax_.get_legend() is None
    assert display.plot(label="ours").ax_.get_legend() is not None
    with pytest.raises(ValueError, match=r"minimum=0\.1 is for a loss"):
        LossCurveDisplay.from_estimator(model, y="optimality", minimum=0.1)


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


def box(ax):
    """Where axes are in their figure, once it is drawn."""
    ax.figure.canvas.draw()
    return ax.get_window_extent()


@pytest.mark.parametrize("layout", ["constrained", "none"])
def test_pictures_divide_given_axes_among_them(digits, layout):
    figure, (left, right) = plt.subplots(1, 2, layout=layout)
    display = CoefficientImageDisplay.from_estimator(digits, ax=right, n_cols=4)
    assert display.ax_ is right
    assert display.figure_ is figure
    assert all(box(ax).x0 > box(left).x1 for ax in display.axes_)
    assert all(box(ax).x1 < box(display.colorbar_.ax).x0 for ax in display.axes_)
    assert box(display.axes_[4]).y1 < box(display.axes_[0]).y0


def test_pictures_fit_into_axes_that_are_in_no_grid(digits):
    figure = plt.figure()
    display = CoefficientImageDisplay.from_estimator(digits, ax=figure.add_axes([0.5, 0, 0.5, 1]))
    assert all(box(ax).x0 >= 0.5 * figure.bbox.width for ax in display.axes_)


def test_a_single_picture_is_drawn_into_the_axes_themselves():
    _, ax = plt.subplots()
    display = CoefficientImageDisplay.from_estimator(TorchLogisticRegression().fit(X, y > 0), ax=ax)
    assert display.axes_.tolist() == [ax]
    assert ax.get_title() == "True, not False"
    display.plot(ax)
    assert len(ax.images) == 1


def test_drawing_again_draws_anew(digits):
    display = CoefficientImageDisplay.from_estimator(digits)
    n_axes = len(display.figure_.axes)
    display.plot(display.ax_, cmap="PuOr")
    assert len(display.figure_.axes) == n_axes
    assert len(display.ax_.child_axes) == 10


def test_pictures_in_axes_of_their_own(digits):
    _, axes = plt.subplots(3, 4)
    display = CoefficientImageDisplay.from_estimator(digits, ax=axes)
    assert list(display.axes_) == list(axes.flat)[:10]
    assert [ax.axison for ax in axes.flat] == 10 * [True] + 2 * [False]
    mosaic = plt.figure().subplot_mosaic("01234;56789")
    display.plot(mosaic)
    assert list(display.axes_) == list(mosaic.values())
    with pytest.raises(ValueError, match="ax has 4 axes for 10 pictures"):
        display.plot(axes[0])


def test_the_scale_can_be_given(digits):
    display = CoefficientImageDisplay.from_estimator(digits, vmax=0.1)
    assert display.images_[0].get_clim() == (-0.1, 0.1)
    norm = CenteredNorm(halfrange=0.3)
    assert display.plot(norm=norm).images_[0].norm is norm
    zeros = CoefficientImageDisplay(np.zeros((1, 4)), titles=["none"]).plot()
    assert zeros.images_[0].get_clim() == (-1, 1)


@pytest.mark.parametrize(
    ("coef", "parameters", "message"),
    [
        (np.zeros((1, 64)), {"image_shape": (8, 9)}, r"image_shape=\(8, 9\): 64 coefficients"),
        (np.zeros((1, 64)), {"image_shape": 8}, "image_shape=8: 64 coefficients"),
        (np.zeros((1, 6)), {}, "image_shape=None: 6 coefficients make no picture"),
        (np.zeros((2, 4)), {}, r"are 1 for coef of shape \(2, 4\)"),
        (np.zeros(4), {}, r"are 1 for coef of shape \(4,\)"),
    ],
)
def test_coefficients_that_are_no_pictures_are_refused(coef, parameters, message):
    with pytest.raises(ValueError, match=message):
        CoefficientImageDisplay(coef, titles=iter("a"), **parameters)


def test_sparse_coefficients_are_drawn():
    theirs = LogisticRegression(max_iter=1000).fit(X, y).sparsify()
    assert len(CoefficientImageDisplay.from_estimator(theirs).images_) == 3


def test_less_than_one_column_is_refused(digits):
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
    assert "LossCurveDisplay.plot needs matplotlib: pip install" in result.stdout


@pytest.fixture(scope="module")
def path():
    return logistic_regression_path(X, y, n_Cs=6)


@pytest.mark.parametrize("label", [None, 0, 1, 2])
def test_a_path_has_a_curve_for_every_feature_with_a_weight(path, label):
    display = CoefficientPathDisplay.from_path(path, label=label)
    weights = path.coefs[:, 2 if label is None else label]
    shown = np.flatnonzero(weights.any(axis=0))
    for line, feature in zip(display.lines_, shown, strict=True):
        assert line.get_xdata().tolist() == path.Cs.tolist()
        assert line.get_ydata().tolist() == weights[:, feature].tolist()
    assert display.ax_.get_xscale() == "log"
    assert display.figure_ is display.ax_.figure


def test_a_path_can_be_drawn_against_its_size(path):
    ax = plt.subplots()[1]
    display = CoefficientPathDisplay.from_path(path, x="l1_norm", ax=ax, linestyle=":")
    assert display.ax_ is ax
    expected = np.abs(path.coefs[:, 2]).sum(axis=1)
    assert display.lines_[0].get_xdata() == pytest.approx(expected)
    assert display.lines_[0].get_linestyle() == ":"
    display.plot(x="n_nonzero")
    assert display.lines_[0].get_xdata().tolist() == (path.coefs[:, 2] != 0).sum(axis=1).tolist()


def test_a_path_of_tensors_and_two_classes_is_drawn_with_names():
    path = logistic_regression_path(torch.from_numpy(X), np.where(y > 1, "b", "a"), n_Cs=4)
    names = ["one", "two", "three", "four"]
    display = CoefficientPathDisplay.from_path(path, label="b", feature_names=names)
    legend = {text.get_text() for text in display.ax_.get_legend().get_texts()}
    assert legend <= set(names)
    assert len(legend) == len(display.lines_)
    with pytest.raises(ValueError, match=r"label='a' has no weights; \['b'\] have some"):
        display.plot(label="a")


def test_unknown_axes_of_a_path_are_refused(path):
    with pytest.raises(ValueError, match="x='time' is none of"):
        CoefficientPathDisplay.from_path(path, x="time")
