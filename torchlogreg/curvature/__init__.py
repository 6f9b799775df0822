r"""Preconditioners: approximate inverses of the Hessian, estimated from a sample of the rows.

L-BFGS needs hundreds of iterations where the columns of X are correlated or of different
scales. It needs a few dozen if its initial matrix is close to the inverse of the Hessian.
:func:`sampled_inverse_hessian` chooses the form. Shapes follow the legend in
:mod:`torchlogreg.problem.objective`, and m is the number of rows in the sample.

==================  ==================================  ========================================
form                when                                what it keeps
==================  ==================================  ========================================
:class:`Diagonal`   at the start                        a number for every coefficient
:class:`Kronecker`  it costs little, or there are too   an R x R and a D x D matrix
                    many outputs for blocks
:class:`Blocks`     the iterations so far took as long  a D x D matrix for every output
none                fewer rows than columns, over 256   --
==================  ==================================  ========================================

Rows are drawn with probabilities proportional to their leverage in the Hessian and weighted by the
inverse: the estimate is unbiased, and the rows that matter are in it, such as those with rare
features. The diagonal is made exact, which costs one pass over the data.
"""

from torchlogreg.curvature.blocks import Blocks
from torchlogreg.curvature.choice import sampled_inverse_hessian
from torchlogreg.curvature.diagonal import Diagonal
from torchlogreg.curvature.kronecker import Kronecker

__all__ = ["Blocks", "Diagonal", "Kronecker", "sampled_inverse_hessian"]
