"""Displays: a fit as curves, coefficients as pictures.

They follow scikit-learn's conventions: ``from_estimator`` makes and draws one, ``plot`` draws it
again, ``ax_`` and ``figure_`` are there to go on with. They need the extra ``torchlogreg[plot]``;
matplotlib is imported when the first one is drawn.
"""

from torchlogreg.plotting.coefficient_image import CoefficientImageDisplay
from torchlogreg.plotting.coefficient_path import CoefficientPathDisplay
from torchlogreg.plotting.loss_curve import LossCurveDisplay
from torchlogreg.plotting.score_curve import ScoreCurveDisplay

__all__ = [
    "CoefficientImageDisplay",
    "CoefficientPathDisplay",
    "LossCurveDisplay",
    "ScoreCurveDisplay",
]
