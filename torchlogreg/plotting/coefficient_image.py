"""Coefficients as pictures."""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np
from scipy import sparse

from torchlogreg.data.containers import as_numpy
from torchlogreg.plotting.needs import classifier_of, pyplot


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
        The axes around them all; None if there was one given for each.
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
        self.coef = coef.toarray() if sparse.issparse(coef) else np.asarray(as_numpy(coef))
        self.titles = list(titles)
        if self.coef.ndim != 2 or len(self.titles) != len(self.coef):
            raise ValueError(
                f"titles={self.titles!r} are {len(self.titles)} for coef of shape "
                f"{self.coef.shape}; one row of coef a title is needed."
            )
        n_pixels = self.coef.shape[1]
        self.image_shape = (math.isqrt(n_pixels),) * 2 if image_shape is None else image_shape
        if np.shape(self.image_shape) != (2,) or math.prod(self.image_shape) != n_pixels:
            raise ValueError(
                f"image_shape={image_shape!r}: {n_pixels} coefficients make no picture of shape "
                f"{self.image_shape!r}. Give (height, width) with that product."
            )

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

        Raises
        ------
        ValueError
            If the estimator has no coefficients, if they make no picture of that shape, or if it
            is a search with ``refit=False``.
        """
        classifier = classifier_of(estimator)
        if not hasattr(classifier, "coef_"):
            raise ValueError(f"estimator={classifier!r} has no coef_. Give a linear classifier.")
        titles = [str(label) for label in classifier.classes_]
        if len(titles) == 2:
            titles = [f"{titles[1]}, not {titles[0]}"]
        display = cls(classifier.coef_, titles=titles, image_shape=image_shape)
        return display.plot(ax, n_cols=n_cols, colorbar=colorbar, **image_kw)

    def plot(
        self, ax: Any = None, *, n_cols: int = 5, colorbar: bool = True, **image_kw: Any
    ) -> Self:
        """Draw the pictures.

        Parameters
        ----------
        ax : matplotlib Axes, or array or dict of R of them or more, default=None
            Axes that the pictures divide among them, or one for each; None for a new figure. The
            axes in which an earlier call has drawn are drawn again.
        n_cols : int, default=5
            Most pictures in a row.
        colorbar : bool, default=True
            Whether to show the scale.
        **image_kw : dict
            For ``matplotlib.axes.Axes.imshow``, such as ``cmap``, "RdBu_r" by default: red
            speaks for the class, blue against it. The scale ends at the largest absolute value,
            or at ``vmax``; ``norm`` replaces it.

        Returns
        -------
        display : CoefficientImageDisplay
            Itself.

        Raises
        ------
        ValueError
            If ``n_cols`` is less than 1, or there are fewer axes than pictures.
        """
        plt = pyplot(f"{type(self).__name__}.plot")
        if n_cols < 1:
            raise ValueError(f"n_cols={n_cols!r} must be at least 1.")
        n_cols = min(n_cols, len(self.coef))
        if ax is None:
            n_rows = -(-len(self.coef) // n_cols)
            _, ax = plt.subplots(
                figsize=(1.6 * n_cols + 1, 1.8 * n_rows + 0.2), layout="constrained"
            )
        self._draw_into(ax, n_cols)
        image_kw = {"cmap": "RdBu_r", **self._scale(image_kw), **image_kw}
        self.images_ = []
        for panel, row, title in zip(self.axes_, self.coef, self.titles, strict=True):
            self.images_.append(panel.imshow(row.reshape(self.image_shape), **image_kw))
            panel.set(title=title, xticks=[], yticks=[])
        self.figure_ = self.axes_[0].figure
        self.colorbar_ = None
        if colorbar:
            around = list(self.axes_) if self.ax_ is None else self.ax_
            self.colorbar_ = self.figure_.colorbar(
                self.images_[-1], ax=around, label="coefficient", shrink=0.8
            )
        return self

    def _scale(self, image_kw: dict[str, Any]) -> dict[str, float]:
        """Ends of a scale that is symmetric about 0."""
        if "norm" in image_kw:
            return {}
        given = [abs(image_kw[name]) for name in ("vmax", "vmin") if name in image_kw]
        limit = given[0] if given else float(np.abs(self.coef).max())
        return {"vmin": -(limit or 1.0), "vmax": limit or 1.0}

    def _draw_into(self, ax: Any, n_cols: int) -> None:
        """Find axes (R,) for the pictures: those given, or insets of the one that is given."""
        n_images = len(self.coef)
        if isinstance(ax, dict):
            ax = list(ax.values())
        if isinstance(ax, (np.ndarray, list, tuple)):
            axes = np.asarray(ax, dtype=object).ravel()
            if len(axes) < n_images:
                raise ValueError(f"ax has {len(axes)} axes for {n_images} pictures.")
            for spare in axes[n_images:]:
                spare.set_axis_off()
            self.ax_, self.axes_ = None, axes[:n_images]
            return
        if ax is getattr(self, "ax_", None):
            self._clear()
        panels = [ax] if n_images == 1 else _insets(ax, n_images, n_cols)
        self.ax_, self.axes_ = ax, np.array(panels, dtype=object)

    def _clear(self) -> None:
        """Remove what an earlier call has drawn."""
        if self.colorbar_ is not None:
            self.colorbar_.remove()
        for image, panel in zip(self.images_, self.axes_, strict=True):
            (image if panel is self.ax_ else panel).remove()


def _insets(ax: Any, n_images: int, n_cols: int) -> list[Any]:
    """Divide axes into cells, a picture with room for its title in each."""
    ax.set_axis_off()
    n_rows = -(-n_images // n_cols)
    width, height = 1 / n_cols, 1 / n_rows
    cells = [divmod(number, n_cols) for number in range(n_images)]
    return [
        ax.inset_axes([column * width, 1 - (row + 1) * height, 0.94 * width, 0.85 * height])
        for row, column in cells
    ]
