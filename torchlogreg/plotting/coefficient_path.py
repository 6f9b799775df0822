"""The weights of a path as curves."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
from torch import Tensor

from torchlogreg.plotting.needs import classifier_of, pyplot

_LABELS = {
    "C": "C",
    "n_nonzero": "weights that are not zero",
    "l1_norm": "sum of the absolute weights",
}


class CoefficientPathDisplay:
    """Weights against C, one curve a feature.

    Use :meth:`from_path` to make one from what
    :func:`~torchlogreg.logistic_regression_path` returns, and :meth:`from_estimator` for a
    cross-validation.

    Parameters
    ----------
    Cs : array-like of shape (n_Cs,)
        Inverse regularisation strengths, rising.
    coefs : array-like of shape (n_Cs, R, d)
        Weights.
    classes : array-like of shape (K,), default=None
        Labels; None for 0..K-1.
    feature_names : array-like of shape (d,), default=None
        Names of the features, for the legend; None for no legend.

    Attributes
    ----------
    lines_ : list of matplotlib Line2D
        The curves, in the order of the features that have one.
    ax_ : matplotlib Axes
        Where they are drawn.
    figure_ : matplotlib Figure
        The figure of ``ax_``.

    See Also
    --------
    LossCurveDisplay : A fit as a curve.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from sklearn.datasets import load_iris
    >>> from torchlogreg import logistic_regression_path
    >>> from torchlogreg.plotting import CoefficientPathDisplay
    >>> path = logistic_regression_path(*load_iris(return_X_y=True), n_Cs=10)
    >>> display = CoefficientPathDisplay.from_path(path, label=2)
    >>> len(display.lines_)
    4
    """

    def __init__(
        self, *, Cs: Any, coefs: Any, classes: Any = None, feature_names: Any = None
    ) -> None:
        self.Cs = Cs
        self.coefs = coefs
        self.classes = classes
        self.feature_names = feature_names

    @classmethod
    def from_path(
        cls,
        path: Any,
        *,
        label: Any = None,
        x: Literal["C", "n_nonzero", "l1_norm"] = "C",
        feature_names: Any = None,
        ax: Any = None,
        **line_kw: Any,
    ) -> Self:
        """Draw a path.

        Parameters
        ----------
        path : LogisticPath
            What :func:`~torchlogreg.logistic_regression_path` returns.
        label, x, ax, **line_kw
            As for :meth:`plot`.
        feature_names : array-like of shape (d,), default=None
            Names of the features, for the legend; None for no legend.

        Returns
        -------
        display : CoefficientPathDisplay
            The display, drawn.
        """
        coefs = path.coefs
        display = cls(
            Cs=path.Cs,
            coefs=coefs.detach().cpu().numpy() if isinstance(coefs, Tensor) else coefs,
            classes=path.classes,
            feature_names=feature_names,
        )
        return display.plot(label=label, x=x, ax=ax, **line_kw)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        label: Any = None,
        x: Literal["C", "n_nonzero", "l1_norm"] = "C",
        feature_names: Any = None,
        ax: Any = None,
        **line_kw: Any,
    ) -> Self:
        """Draw the weights of a cross-validation: their means over the folds.

        Parameters
        ----------
        estimator : TorchLogisticRegressionCV
            Fitted; or a pipeline that ends with one. Of its ``l1_ratios`` the chosen one is shown.
        label, x, ax, **line_kw
            As for :meth:`plot`.
        feature_names : array-like of shape (d,), default=None
            Names of the features, for the legend; None for those that the estimator has seen, if
            it has.

        Returns
        -------
        display : CoefficientPathDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If the estimator has no such weights.
        """
        model = classifier_of(estimator)
        if not hasattr(model, "coefs_paths_"):
            raise TypeError(
                f"{type(model).__name__} has no coefs_paths_: draw a fitted "
                "TorchLogisticRegressionCV, or use from_path."
            )
        paths = model.coefs_paths_
        paths = paths.detach().cpu().numpy() if isinstance(paths, Tensor) else paths
        nearest = np.abs(model.l1_ratios_ - model.l1_ratio_).argmin()
        order = np.argsort(model.Cs_)
        display = cls(
            Cs=model.Cs_[order],
            coefs=paths[:, nearest, order, :, : model.n_features_in_].mean(axis=0),
            classes=model.classes_,
            feature_names=(
                getattr(model, "feature_names_in_", None)
                if feature_names is None
                else feature_names
            ),
        )
        return display.plot(label=label, x=x, ax=ax, **line_kw)

    def plot(
        self,
        ax: Any = None,
        *,
        label: Any = None,
        x: Literal["C", "n_nonzero", "l1_norm"] = "C",
        **line_kw: Any,
    ) -> Self:
        """Draw the weights of a class. Features whose weight is zero throughout have no curve.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None for a new figure.
        label : object, default=None
            The class, one of ``classes``; None for the last one. Two classes have weights for the
            second one only.
        x : {"C", "n_nonzero", "l1_norm"}, default="C"
            What to draw against: C on a logarithmic scale; the number of weights of the class that
            are not zero; or the sum of their absolute values.
        **line_kw : dict
            For ``matplotlib.axes.Axes.plot``.

        Returns
        -------
        display : CoefficientPathDisplay
            Itself.

        Raises
        ------
        ValueError
            If ``x`` is none of these, or ``label`` none of the classes.
        """
        plt = pyplot(f"{type(self).__name__}.plot")
        if x not in _LABELS:
            raise ValueError(f"x={x!r} is none of {sorted(_LABELS)}.")
        weights = np.asarray(self.coefs)[:, self._output(label)]
        places = {
            "C": np.asarray(self.Cs),
            "n_nonzero": (weights != 0).sum(axis=1),
            "l1_norm": np.abs(weights).sum(axis=1),
        }[x]
        shown = np.flatnonzero((weights != 0).any(axis=0))
        ax = plt.subplots()[1] if ax is None else ax
        self.lines_ = ax.plot(places, weights[:, shown], **line_kw)
        ax.axhline(0, color="0.5", linewidth=0.5)
        ax.set(xlabel=_LABELS[x], ylabel="weight")
        if x == "C":
            ax.set_xscale("log")
        if self.feature_names is not None:
            for line, feature in zip(self.lines_, shown, strict=True):
                line.set_label(str(self.feature_names[feature]))
            ax.legend()
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _output(self, label: Any) -> int:
        """Place of the weights of a class."""
        n_outputs = int(np.asarray(self.coefs).shape[1])
        classes = range(max(n_outputs, 2)) if self.classes is None else self.classes
        labels = np.asarray(classes).tolist()
        known = labels[1:] if n_outputs == 1 else labels
        if label is None:
            return n_outputs - 1
        if label not in known:
            raise ValueError(f"label={label!r} has no weights; {known} have some.")
        return int(known.index(label))
