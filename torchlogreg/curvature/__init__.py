r"""Approximate Hessians, and how they are estimated from a sample of the rows.

A method needs hundreds of iterations where the columns of X are correlated or of different
scales. It needs a few dozen if it knows the Hessian roughly. All forms are a
:class:`~torchlogreg.curvature.base.Curvature`: they multiply, solve, take a penalty and leave out
problems. Shapes follow the legend in :mod:`torchlogreg.problem.objective`.

==================  =========================  ==================================================
form                comes from                 what it keeps
==================  =========================  ==================================================
:class:`Dense`      all rows                   a matrix over all coefficients
:class:`Diagonal`   all rows                   a number for every coefficient
:class:`Kronecker`  a sample of rows           an R x R and a D x D matrix
:class:`Blocks`     a sample for every output  a D x D matrix for every output
:class:`Pairs`      the last moves             two vectors per move, on top of any other form
==================  =========================  ==================================================

Rows are drawn with probabilities proportional to their leverage in the Hessian and weighted by the
inverse: the estimate is unbiased, and the rows that matter are in it, such as those with rare
features. The diagonal is made exact, which costs one pass over the data.
"""

from torchlogreg.curvature.base import Curvature
from torchlogreg.curvature.blocks import Blocks
from torchlogreg.curvature.dense import Dense
from torchlogreg.curvature.diagonal import Diagonal
from torchlogreg.curvature.kronecker import Kronecker
from torchlogreg.curvature.pairs import Pairs

__all__ = ["Blocks", "Curvature", "Dense", "Diagonal", "Kronecker", "Pairs"]
