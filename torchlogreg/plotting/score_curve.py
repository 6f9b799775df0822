"""Scores of a cross-validation against the strength of the penalty."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from torchlogreg.plotting.needs import classifier_of, pyplot


class ScoreCurveDisplay:
    """Mean scores against C with their spread over the folds, one curve for each ``l1_ratio``.

    Use :meth:`from_estimator` to make one from a fitted
    :class:`~torchlogreg.TorchLogisticRegressionCV`.

    Parameters
    ----------
    Cs : array-like of shape (n_cs,)
        Inverse regularisation strengths.
    scores : array-like of shape (n_folds, n_l1_ratios, n_cs)
        Scores on the rows held out.
    l1_ratios : array-like of shape (n_l1_ratios,), default=(0.0,)
        Parts of the penalty on the absolute values, for the legend.
    C : float, default=None
        The chosen one, which is marked; None for no mark.
    score_name : str, default="score"
        Name of the scores.

    Attributes
    ----------
    lines_ : list of matplotlib Line2D
        The curves, in the order of the ratios.
    bands_ : list of matplotlib FillBetweenPolyCollection
        A standard deviation over the folds to either side of them.
    mark_ : matplotlib Line2D or None
        The mark at the chosen C.
    ax_ : matplotlib Axes
        Where they are drawn.
    figure_ : matplotlib Figure
        The figure of ``ax_``.

    See Also
    --------
    CoefficientPathDisplay : The weights against C.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from sklearn.datasets import load_iris
    >>> from torchlogreg import TorchLogisticRegressionCV
    >>> from torchlogreg.plotting import ScoreCurveDisplay
    >>> model = TorchLogisticRegressionCV(Cs=5, cv=3).fit(*load_iris(return_X_y=True))
    >>> display = ScoreCurveDisplay.from_estimator(model)
    >>> len(display.lines_)
    1
    """

    def __init__(
        self,
        *,
        Cs: Any,
        scores: Any,
        l1_ratios: Any = (0.0,),
        C: float | None = None,
        score_name: str = "score",
    ) -> None:
        self.Cs = Cs
        self.scores = scores
        self.l1_ratios = l1_ratios
        self.C = C
        self.score_name = score_name

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, score_name: str | None = None, ax: Any = None, **line_kw: Any
    ) -> Self:
        """Draw the scores of a fitted estimator.

        Parameters
        ----------
        estimator : TorchLogisticRegressionCV
            Fitted; or a pipeline that ends with one.
        score_name : str, default=None
            Name of the scores; None for that of ``scoring``.
        ax, **line_kw
            As for :meth:`plot`.

        Returns
        -------
        display : ScoreCurveDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If the estimator has no scores.
        """
        model = classifier_of(estimator)
        if not hasattr(model, "scores_"):
            raise TypeError(
                f"{type(model).__name__} has no scores_: draw a fitted TorchLogisticRegressionCV."
            )
        scoring = model.scoring
        name = scoring if isinstance(scoring, str) else "accuracy" if scoring is None else "score"
        display = cls(
            Cs=model.Cs_,
            scores=model.scores_,
            l1_ratios=model.l1_ratios_,
            C=model.C_,
            score_name=name if score_name is None else score_name,
        )
        return display.plot(ax=ax, **line_kw)

    def plot(self, ax: Any = None, **line_kw: Any) -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None for a new figure.
        **line_kw : dict
            For ``matplotlib.axes.Axes.plot``.

        Returns
        -------
        display : ScoreCurveDisplay
            Itself.
        """
        plt = pyplot(f"{type(self).__name__}.plot")
        ax = plt.subplots()[1] if ax is None else ax
        order = np.argsort(self.Cs)
        Cs, scores = np.asarray(self.Cs)[order], np.asarray(self.scores)[..., order]
        self.lines_, self.bands_ = [], []
        for number, l1_ratio in enumerate(self.l1_ratios):
            mean, spread = scores[:, number].mean(axis=0), scores[:, number].std(axis=0)
            defaults = {"label": f"l1_ratio={l1_ratio:g}", "marker": "."}
            (line,) = ax.plot(Cs, mean, **{**defaults, **line_kw})
            band = ax.fill_between(
                Cs, mean - spread, mean + spread, color=line.get_color(), alpha=0.2, linewidth=0
            )
            self.lines_.append(line)
            self.bands_.append(band)
        self.mark_ = None
        if self.C is not None:
            self.mark_ = ax.axvline(self.C, color="0.5", linewidth=1, linestyle="--")
        if len(self.lines_) > 1:
            ax.legend()
        ax.set(xlabel="C", ylabel=self.score_name, xscale="log")
        self.ax_, self.figure_ = ax, ax.figure
        return self
