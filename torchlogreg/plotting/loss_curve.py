"""A fit as a curve."""

from __future__ import annotations

import math
from typing import Any, Literal, Self

import numpy as np

from torchlogreg.nets import MiniBatchNet
from torchlogreg.plotting.needs import classifier_of, pyplot

_PLACES = ("iterations", "seconds")
_LABELS = {
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
        Mean penalised loss after every iteration. Of a mini-batch solver it is the mean over an
        epoch, of each batch before its step: half an epoch or so behind.
    optimality : array-like of shape (n_iter,)
        Gradient norm, largest absolute entry.
    seconds : array-like of shape (n_iter,)
        Time since the start of the first iteration.
    valid_loss : array-like of shape (n_iter,), default=None
        Loss on the rows that ``early_stopping`` holds out.
    name : str, default=None
        Label of the curve; none by default.
    unit : {"iterations", "epochs"}, default="iterations"
        What an entry stands for, for the label of the axis.

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
        unit: str = "iterations",
    ) -> None:
        self.loss = loss
        self.optimality = optimality
        self.seconds = seconds
        self.valid_loss = valid_loss
        self.name = name
        self.unit = unit

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        x: Literal["iterations", "seconds"] = "iterations",
        y: Literal["loss", "valid_loss", "optimality"] = "loss",
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

        Raises
        ------
        ValueError
            If the estimator has no history, or is a search with ``refit=False``.
        """
        classifier = classifier_of(estimator)
        if not hasattr(classifier, "history_"):
            raise ValueError(
                f"estimator={classifier!r} has no history of its fit. Give a "
                "TorchLogisticRegression."
            )
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
            unit="epochs" if isinstance(classifier.net_, MiniBatchNet) else "iterations",
        )
        return display.plot(x=x, y=y, minimum=minimum, ax=ax, **line_kw)

    def plot(
        self,
        ax: Any = None,
        *,
        x: Literal["iterations", "seconds"] = "iterations",
        y: Literal["loss", "valid_loss", "optimality"] = "loss",
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
            If ``x`` or ``y`` is none of these, if no rows were held out, or if ``minimum`` is
            given for something that is no loss.
        """
        plt = pyplot(f"{type(self).__name__}.plot")
        for parameter, value, accepted in (("x", x, _PLACES), ("y", y, _LABELS)):
            if value not in accepted:
                raise ValueError(f"{parameter}={value!r} is none of {sorted(accepted)}.")
        if minimum is not None and y == "optimality":
            raise ValueError(f"minimum={minimum!r} is for a loss; y='optimality' has 0. Leave it.")
        values, label = getattr(self, y), _LABELS[y]
        if values is None:
            raise ValueError("y='valid_loss': no rows were held out. Fit with early_stopping=True.")
        values = np.asarray(values, dtype=float)
        if minimum is not None:
            values, label = values - minimum, f"{label} above the minimum"
            values = np.where(values > 0, values, math.nan)
        places = np.arange(1, len(values) + 1) if x == "iterations" else self.seconds
        line_kw = {"label": self.name if name is None else name, **line_kw}
        ax = plt.subplots()[1] if ax is None else ax
        (self.line_,) = ax.plot(places, values, **line_kw)
        ax.set(xlabel=self.unit if x == "iterations" else x, ylabel=label)
        if y == "optimality" or minimum is not None:
            ax.set_yscale("log")
        if line_kw["label"] is not None:
            ax.legend()
        self.ax_, self.figure_ = ax, ax.figure
        return self
