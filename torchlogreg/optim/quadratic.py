"""Minimise a quadratic model plus a penalty on absolute values, for B problems at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from torchlogreg.curvature.working import SHIFT, WorkingHessian
from torchlogreg.problem.batched import Batched
from torchlogreg.problem.penalties import least_subgradient

NEAR = 0.02
"""Part of the signs in which a face may differ from the present one. (Of 200 faces further away, of
models of Iris, wine, breast cancer and digits, two had the signs of their minimiser.)"""

SPLITTINGS = 3
"""Times that the splitting method may help."""

SPLITTING_STEPS = 40
"""Its steps each time."""

RELAXATION = 0.8
"""How far it goes, in units of the way of both reflections."""

ENTRANTS = 3
"""Times that entries which would enter with the wrong sign are sent back before a descent."""

FORCING = 0.1
"""Part of the distance from the condition of a minimum that may be left."""


@dataclass(frozen=True, eq=False)
class KinkedQuadratic(Batched):
    r"""The model :math:`q(s) = g^\top s + \tfrac{1}{2} s^\top H s + \mu^\top (|w + s| - |w|)`.

    A *face* is a set of entries of w + s that are not zero, with their signs. The minimiser over a
    face, whatever signs it has, follows from linear equations. If it has the signs that were
    assumed, and at the zeros the gradient is not above :math:`\mu`, it is the minimiser.

    Parameters
    ----------
    hessian : WorkingHessian
        H, of B problems in p coefficients.
    gradient : Tensor of shape (B, p)
        g.
    start : Tensor of shape (B, p)
        w.
    kink : Tensor of shape (B, p)
        :math:`\mu \ge 0`.

    References
    ----------
    .. [1] Hintermüller, Ito & Kunisch, The primal-dual active set strategy as a semismooth Newton
       method, SIAM J. Optim. 13 (2002): faces that follow from the last minimiser.
    .. [2] Lee, Battle, Raina & Ng, Efficient sparse coding algorithms, NIPS 2006, Algorithm 1
       (feature-sign search): the descent where these go round in circles.
    """

    hessian: WorkingHessian
    gradient: Tensor
    start: Tensor
    kink: Tensor

    def value(self, step: Tensor, product: Tensor) -> Tensor:
        """Return q(s) (B,), given H s."""
        smooth = (self.gradient + 0.5 * product) * step
        end, sign = self.start + step, self.start.sign()
        # The difference of large numbers that keep their sign would be rounded to nothing.
        grown = torch.where(end * sign > 0, sign * step, end.abs() - self.start.abs())
        return torch.addcmul(smooth, self.kink, grown).sum(-1)

    def minimise(self) -> tuple[Tensor, Tensor]:
        """Return a step s (B, p) near the minimiser, and q there (B,).

        A step goes to the minimiser over the face that the last gradient suggests, if that is near,
        cut off where it has the wrong sign. Where q would not decrease, the splitting method leads
        closer, some times; a descent is what always helps.
        """
        diagonal = self.hessian.diagonal
        scale = torch.where(diagonal > 0, 1 / diagonal, 0)
        step, product = torch.zeros_like(self.start), torch.zeros_like(self.start)
        lowest, n_failed, splitting = torch.zeros_like(self.start[:, 0]), 0, None
        violation = self._residual(step, product)
        part = (violation / self.kink.amax(-1)).clamp(max=FORCING)
        goal = torch.where(violation > 0, violation * part, 0)
        is_done = violation <= goal
        for _ in range(self.hessian.most_steps):
            gradient = self.gradient + product
            # Where w + s would go if H were its diagonal, before it is drawn to 0.
            moved = self.start + step - scale * gradient
            face = ((scale > 0) & (moved.abs() > scale * self.kink)) | self._is_free
            sign = torch.where(face, moved.sign() * ~self._is_free, 0)
            state = step, product, lowest
            if self._is_near(sign, step):
                end = self._on_face(face, sign)
                end = torch.where((self.start + end) * sign < 0, -self.start, end)
                state = self._lower(end, *state)
            if not (is_done | (state[2] < lowest)).all():
                n_failed += 1
                if n_failed <= SPLITTINGS:
                    splitting = splitting or Splitting(self, step, gradient)
                    state = self._lower(splitting.run(), *state)
                else:
                    state = self._lower(self._descend(step, gradient), *state)
                if not (state[2] < lowest).any() and n_failed > SPLITTINGS:
                    break
            step, product, lowest = state
            is_done = self._residual(step, product) <= goal
            if is_done.all():
                break
        return step, lowest

    def _is_near(self, sign: Tensor, step: Tensor) -> bool:
        """Whether for some problem few entries of w + s have other signs than a face."""
        is_other = (sign != (self.start + step).sign()) & ~self._is_free
        return bool((is_other.sum(-1) <= NEAR * is_other.shape[-1]).any())

    def _lower(
        self, new: Tensor, step: Tensor, product: Tensor, lowest: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the lower of two steps, with H times it and q there."""
        new_product = self.hessian.multiply(new)
        value = self.value(new, new_product)
        is_lower = (value < lowest).unsqueeze(-1)
        return (
            torch.where(is_lower, new, step),
            torch.where(is_lower, new_product, product),
            torch.where(value < lowest, value, lowest),
        )

    def _residual(self, step: Tensor, product: Tensor) -> Tensor:
        """Largest distance (B,) from the condition of a minimum, given H s."""
        least = least_subgradient(self.gradient + product, self.start + step, self.kink)
        norm: Tensor = torch.linalg.vector_norm(least, torch.inf, -1)
        return norm

    @property
    def _is_free(self) -> Tensor:
        """Which entries have no kink."""
        return self.kink == 0

    def _on_face(self, face: Tensor, sign: Tensor) -> Tensor:
        """Minimise over the entries of a face, with these signs; the others of w + s are 0."""
        fixed = torch.where(face, 0, -self.start)
        right = self.gradient + self.kink * sign
        if not face.all():
            right = right + self.hessian.multiply(fixed)
        return fixed - self.hessian.solve_on(face, right)

    def _descend(self, step: Tensor, gradient: Tensor) -> Tensor:
        """Go to the lowest point on the way to the minimiser over the face where s is.

        Zeros with a gradient above the kink enter, but for those which that minimiser would give
        the other sign. Entries may change their signs on the way; where q is lowest at a zero, it
        is left at it.
        """
        end = self.start + step
        enters = (end == 0) & (gradient.abs() > self.kink) & ~self._is_free
        sign = torch.where(end == 0, -gradient.sign() * enters, end.sign()) * ~self._is_free
        face = (sign != 0) | self._is_free
        for n_sent_back in range(ENTRANTS + 1):
            direction = self._on_face(face, sign) - step
            is_against = enters & (direction * sign < 0)
            if not is_against.any():
                break
            if n_sent_back == ENTRANTS:
                direction = torch.where(is_against, 0, direction)
            face, sign = face & ~is_against, torch.where(is_against, 0, sign)
            enters = enters & ~is_against
        length, crossing = self._exact_length(end, direction, sign, gradient)
        moved = step + length * direction
        return torch.where(crossing == length, -self.start, moved)

    def _exact_length(
        self, end: Tensor, direction: Tensor, sign: Tensor, gradient: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Where q is lowest on a line, (B, 1), up to 1; and where entries become zero, (B, p).

        The slope of q is linear between these, and jumps up at them.
        """
        slope = ((gradient + self.kink * sign) * direction).sum(-1, keepdim=True)
        curvature = (direction * self.hessian.multiply(direction)).sum(-1, keepdim=True)
        is_crossed = (end * direction < 0) & ~self._is_free
        crossing = torch.where(is_crossed, -end / direction, torch.inf)
        jump = torch.where(is_crossed, 2 * self.kink * direction.abs(), 0)
        places, order = crossing.sort(-1)
        total = jump.gather(-1, order).cumsum(-1)
        n_passed = ((slope + places * curvature + total) < 0).sum(-1, keepdim=True)
        padded = torch.nn.functional.pad(total, (1, 0))
        following = torch.nn.functional.pad(places, (0, 1), value=torch.inf).gather(-1, n_passed)
        lowest = -(slope + padded.gather(-1, n_passed)) / curvature
        lowest = torch.where(curvature > 0, lowest, 1)
        length = torch.minimum(torch.minimum(lowest, following).clamp(0, 1), following)
        return torch.where(slope < 0, length, 0), crossing


class Splitting:
    r"""The method of Douglas & Rachford, in the metric of the diagonal of H.

    With the reflected resolvents :math:`R_q` of the quadratic and :math:`R_\mu` of the kinks, it
    iterates :math:`v \gets (1 - \kappa) v + \kappa R_q R_\mu v`. The second resolvent draws v to
    zero by the threshold.

    Parameters
    ----------
    model : KinkedQuadratic
        What is minimised.
    step : Tensor of shape (B, p)
        Where to begin.
    gradient : Tensor of shape (B, p)
        Gradient of the model there, without the kink.

    References
    ----------
    .. [1] Eckstein & Bertsekas, On the Douglas-Rachford splitting method and the proximal point
       algorithm for maximal monotone operators, Math. Programming 55 (1992), equation (GDR).
    """

    def __init__(self, model: KinkedQuadratic, step: Tensor, gradient: Tensor) -> None:
        self.model = model
        root = model.hessian.root
        unit = 1 / (SHIFT * root)
        self.threshold = model.kink * unit
        start = root * model.start
        moved = start + unit * model.gradient
        self._offset = 2 * start - moved - model.hessian.reflect(moved)
        self._v = start + root * step + self._clipped(-unit * gradient)

    def run(self) -> Tensor:
        """Go on for some steps. Returns the step s (B, p) that it has come to."""
        v = self._v
        for _ in range(SPLITTING_STEPS):
            reflected = torch.sub(v, self._clipped(v), alpha=2)
            v = torch.lerp(v, self.model.hessian.reflect(reflected).add_(self._offset), RELAXATION)
        self._v = v
        return (v - self._clipped(v)) / self.model.hessian.root - self.model.start

    def _clipped(self, v: Tensor) -> Tensor:
        """What the kinks take away."""
        return torch.clamp(v, -self.threshold, self.threshold)
