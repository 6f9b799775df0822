"""Displays: a fit as curves, coefficients as pictures.

They follow scikit-learn's conventions: ``from_estimator`` makes and draws one, ``plot`` draws it
again, ``ax_`` and ``figure_`` are there to go on with. They need the extra ``torchlogreg[plot]``;
matplotlib is imported when the first one is drawn.
"""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils.validation import check_is_fitted

from torchlogreg.validation import as_numpy

_X_LABELS = {"iterations": "iterations", "seconds": "seconds"}
_Y_LABELS = {
    "loss": "training loss",
    "valid_loss": "loss on rows held out",
    "optimality": "gradient norm",
}


class LossCurveDisplay:
    """Loss or gradient norm against iterations or seconds.

    Use :meth:`from_estimator` to make one from a fitted estimator.

    Parameters
    ----------
    loss : array-like of shape (n_iter,)
        Mean penalised loss after every iteration or epoch.
    optimality : array-like of shape (n_iter,)
        Gradient norm, largest absolute entry.
    seconds : array-like of shape (n_iter,)
        Time since the start of the first iteration.
    valid_loss : array-like of shape (n_iter,), default=None
        Loss on the rows that ``early_stopping`` holds out.
    name : str, default=None
        Label of the curve; none by default.

    Attributes
    ----------
    line_ : matplotlib Line2D
        The curve.
    ax_ : matplotlib Axes
        Where it is drawn.
    figure_ : matplotlib Figure
        The figure of ``ax_``.

    See Also
    --------
    CoefficientImageDisplay : Coefficients as pictures.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from sklearn.datasets import load_iris
    >>> from torchlogreg import TorchLogisticRegression
    >>> from torchlogreg.plotting import LossCurveDisplay
    >>> model = TorchLogisticRegression().fit(*load_iris(return_X_y=True))
    >>> display = LossCurveDisplay.from_estimator(model, y="optimality")
    >>> display.ax_.get_ylabel()
    'gradient norm'
    """

    def __init__(
        self,
        *,
        loss: Any,
        optimality: Any,
        seconds: Any,
        valid_loss: Any = None,
        name: str | None = None,
    ) -> None:
        self.loss = loss
        self.optimality = optimality
        self.seconds = seconds
        self.valid_loss = valid_loss
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        x: str = "iterations",
        y: str = "loss",
        minimum: float | None = None,
        name: str | None = None,
        ax: Any = None,
        **line_kw: Any,
    ) -> Self:
        """Draw how the fit of an estimator went.

        Parameters
        ----------
        estimator : TorchLogisticRegression
            Fitted; or a pipeline that ends with it, or a search for its parameters.
        x, y, minimum, name, ax, **line_kw
            As for :meth:`plot`; ``name`` is the class of the estimator by default.

        Returns
        -------
        display : LossCurveDisplay
            The display, drawn.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        classifier = _classifier(estimator)
        check_is_fitted(classifier, "net_")
        history = list(classifier.history_)

        def column(key: str) -> np.ndarray:
            return np.array([row.get(key, math.nan) for row in history], dtype=float)

        display = cls(
            loss=column("train_loss"),
            optimality=column("optimality"),
            seconds=np.nancumsum(column("seconds")),
            valid_loss=column("valid_loss")
            if any("valid_loss" in row for row in history)
            else None,
            name=type(classifier).__name__ if name is None else name,
        )
        return display.plot(x=x, y=y, minimum=minimum, ax=ax, **line_kw)

    def plot(
        self,
        ax: Any = None,
        *,
        x: str = "iterations",
        y: str = "loss",
        minimum: float | None = None,
        name: str | None = None,
        **line_kw: Any,
    ) -> Self:
        """Draw the curve.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None for a new figure.
        x : {"iterations", "seconds"}, default="iterations"
            What to draw against.
        y : {"loss", "valid_loss", "optimality"}, default="loss"
            What to draw. "optimality" is the gradient norm, on a logarithmic scale.
        minimum : float, default=None
            Smallest loss there is. If given, the loss is drawn above it, on a logarithmic scale;
            what is not above it is left out.
        name : str, default=None
            Label of the curve; None for ``self.name``.
        **line_kw : dict
            For ``matplotlib.axes.Axes.plot``.

        Returns
        -------
        display : LossCurveDisplay
            Itself.

        Raises
        ------
        ValueError
            If ``x`` or ``y`` is none of these, or if no rows were held out.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        import matplotlib.pyplot as plt

        for parameter, value, accepted in (("x", x, _X_LABELS), ("y", y, _Y_LABELS)):
            if value not in accepted:
                raise ValueError(f"{parameter}={value!r} is none of {sorted(accepted)}.")
        values = getattr(self, y)
        if values is None:
            raise ValueError("y='valid_loss': no rows were held out. Fit with early_stopping=True.")
        values, label = np.asarray(values, dtype=float), _Y_LABELS[y]
        if y != "optimality" and minimum is not None:
            values, label = values - minimum, f"{label} above the minimum"
            values = np.where(values > 0, values, math.nan)
        name = self.name if name is None else name
        places = np.arange(1, len(values) + 1) if x == "iterations" else self.seconds
        ax = plt.subplots()[1] if ax is None else ax
        (self.line_,) = ax.plot(places, values, **{"label": name, **line_kw})
        ax.set(xlabel=_X_LABELS[x], ylabel=label)
        if y == "optimality" or minimum is not None:
            ax.set_yscale("log")
        if name is not None:
            ax.legend()
        self.ax_, self.figure_ = ax, ax.figure
        return self


class CoefficientImageDisplay:
    """Coefficients as pictures, one for every class, with one symmetric scale for all.

    Where features are pixels, they are templates: what speaks for a class, and what against it.
    Use :meth:`from_estimator` to make one from a fitted estimator.

    Parameters
    ----------
    coef : array-like or Tensor of shape (R, d)
        Coefficients.
    titles : sequence of length R
        Titles of the pictures.
    image_shape : tuple (height, width), default=None
        Shape of a picture, of d pixels in all; None for a square.

    Attributes
    ----------
    images_ : list of matplotlib AxesImage
        The pictures.
    axes_ : ndarray of matplotlib Axes, of shape (R,)
        Where they are drawn.
    colorbar_ : matplotlib Colorbar or None
        The scale.
    ax_ : matplotlib Axes or None
        The axes around them all, if one was given or made.
    figure_ : matplotlib Figure
        The figure.

    Raises
    ------
    ValueError
        If d pixels do not make up the shape, or the titles are not as many as the rows.

    See Also
    --------
    LossCurveDisplay : How a fit went.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from sklearn.datasets import load_digits
    >>> from torchlogreg import TorchLogisticRegression
    >>> from torchlogreg.plotting import CoefficientImageDisplay
    >>> model = TorchLogisticRegression(C=0.01).fit(*load_digits(return_X_y=True))
    >>> display = CoefficientImageDisplay.from_estimator(model)
    >>> display.axes_.shape
    (10,)
    """

    def __init__(
        self, coef: Any, *, titles: Any, image_shape: tuple[int, int] | None = None
    ) -> None:
        self.coef = np.asarray(as_numpy(coef))
        self.titles = titles
        self.image_shape = _square(self.coef.shape[1]) if image_shape is None else image_shape
        if math.prod(self.image_shape) != self.coef.shape[1] or len(self.image_shape) != 2:
            raise ValueError(
                f"image_shape={self.image_shape!r} is no picture of {self.coef.shape[1]} pixels, "
                "one a coefficient. Give (height, width) with that product."
            )
        if len(titles) != len(self.coef):
            raise ValueError(f"titles={titles!r} must be {len(self.coef)}, one a row of coef.")

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        image_shape: tuple[int, int] | None = None,
        n_cols: int = 5,
        colorbar: bool = True,
        ax: Any = None,
        **image_kw: Any,
    ) -> Self:
        """Draw the coefficients of a linear classifier.

        Parameters
        ----------
        estimator : TorchLogisticRegression
            Fitted, or another linear classifier of scikit-learn; or a pipeline that ends with
            it, or a search for its parameters.
        image_shape : tuple (height, width), default=None
            Shape of a picture; None for a square.
        n_cols, colorbar, ax, **image_kw
            As for :meth:`plot`.

        Returns
        -------
        display : CoefficientImageDisplay
            The display, drawn. With two classes there is one picture, for the second of them.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        classifier = _classifier(estimator)
        check_is_fitted(classifier, "coef_")
        titles = [str(label) for label in classifier.classes_]
        if len(classifier.coef_) == 1:
            titles = [f"{titles[1]}, not {titles[0]}"]
        display = cls(classifier.coef_, titles=titles, image_shape=image_shape)
        return display.plot(ax, n_cols=n_cols, colorbar=colorbar, **image_kw)

    def plot(
        self, ax: Any = None, *, n_cols: int = 5, colorbar: bool = True, **image_kw: Any
    ) -> Self:
        """Draw the pictures.

        Parameters
        ----------
        ax : matplotlib Axes or array of R of them, default=None
            Axes that the pictures divide among them, or one for each; None for a new figure.
        n_cols : int, default=5
            Most pictures in a row.
        colorbar : bool, default=True
            Whether to show the scale.
        **image_kw : dict
            For ``matplotlib.axes.Axes.imshow``, such as ``cmap``, "RdBu_r" by default: red
            speaks for the class, blue against it.

        Returns
        -------
        display : CoefficientImageDisplay
            Itself.

        Raises
        ------
        ValueError
            If ``n_cols`` is less than 1, or the axes are not as many as the pictures.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        if n_cols < 1:
            raise ValueError(f"n_cols={n_cols!r} must be at least 1.")
        self.axes_ = self._make_axes(ax, min(n_cols, len(self.coef)))
        limit = float(np.abs(self.coef).max()) or 1.0
        image_kw = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit, **image_kw}
        self.images_ = []
        for panel, row, title in zip(self.axes_, self.coef, self.titles, strict=True):
            self.images_.append(panel.imshow(row.reshape(self.image_shape), **image_kw))
            panel.set(title=title, xticks=[], yticks=[])
        self.figure_ = self.axes_[0].figure
        self.colorbar_ = None
        if colorbar:
            self.colorbar_ = self.figure_.colorbar(
                self.images_[-1], ax=list(self.axes_), label="coefficient", shrink=0.8
            )
        return self

    def _make_axes(self, ax: Any, n_cols: int) -> np.ndarray:
        """Make the axes of the pictures, shape (R,)."""
        import matplotlib.pyplot as plt

        n_images = len(self.coef)
        if isinstance(ax, (np.ndarray, list, tuple)):
            axes = np.asarray(ax, dtype=object).ravel()
            if len(axes) != n_images:
                raise ValueError(f"ax has {len(axes)} axes for {n_images} pictures.")
            self.ax_ = None
            return axes
        n_rows = -(-n_images // n_cols)
        if ax is None:
            size = (1.6 * n_cols + 1, 1.8 * n_rows + 0.2)
            _, ax = plt.subplots(figsize=size, layout="constrained")
        ax.set_axis_off()
        grid = ax.get_subplotspec().subgridspec(n_rows, n_cols)
        self.ax_ = ax
        panels = [ax.figure.add_subplot(cell) for cell in list(grid)[:n_images]]
        return np.array(panels, dtype=object)


def _classifier(estimator: Any) -> Any:
    """Return the classifier that a search has found best, or that a pipeline ends with."""
    estimator = getattr(estimator, "best_estimator_", estimator)
    return estimator[-1] if isinstance(estimator, Pipeline) else estimator


def _square(n_pixels: int) -> tuple[int, int]:
    """Shape of a square picture."""
    side = math.isqrt(n_pixels)
    if side**2 != n_pixels:
        raise ValueError(
            f"image_shape=None: {n_pixels} coefficients make no square. Give (height, width)."
        )
    return side, side
