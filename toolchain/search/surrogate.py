"""What a search believes of losses: summed sensitivities, corrected by what was measured."""

from dataclasses import dataclass
from itertools import product
from typing import Self

import numpy as np

from .problem import Floats, Indices

_OWN = (0.1, 0.3, 1.0, 3.0)  # by what fraction of itself a sensitivity is wrong
_PAIR = (0.03, 0.1, 0.3)  # correlation of the errors that two choices make
_NOISE = (0.02, 0.1)  # what all that is left out does, as a fraction of the loss
_LEAST = 1e-3  # no choice is surer to cost nothing than this fraction of the mean sensitivity
_FLOOR = 1e-2  # no loss is known better than one of this fraction of the median
_BROKEN = 4.0  # what could not be built is as bad as this many times the worst that could


@dataclass(frozen=True, slots=True, eq=False)
class Surrogate:
    """A Gaussian process over plans whose prior mean is the sum of sensitivities.

    A choice of sensitivity w adds an error of size sqrt(w) to the outputs, and the loss grows with
    the square of their sum: w for each choice and 2 r sqrt(w w') for each pair of correlation r.
    With sensitivities that are wrong by a fraction `own` of themselves and correlations of
    deviation `pair`, the losses of two plans have the covariance
    own^2 sum w^2 + 2 pair^2 ((sum w)^2 - sum w^2), sums over the slots where they choose alike.
    (Rasmussen and Williams 2006, equations 2.23 and 2.30.)

    Attributes:
        table: The sensitivities w in the unit of the losses; shape (S, K).
        plans: What was measured; shape (N, S).
        own: See above; with `pair`, what makes the measured losses likeliest.
        pair: See above.
        weights: Inverse covariance of the measured times what the prior mean missed; shape (N,).
    """

    table: Floats
    plans: Indices
    own: float
    pair: float
    weights: Floats

    @classmethod
    def fit(cls, sensitivity: Floats, plans: Indices, losses: Floats) -> Self:
        """Believe what makes the measured losses likeliest.

        Args:
            sensitivity: In any unit; shape (S, K), what is not finite counts as 0.
            plans: Shape (N, S), at least one.
            losses: Shape (N,); infinite for what could not be built.
        """
        losses = _finite(losses)
        unit = float(np.median(np.abs(losses))) or float(np.abs(losses).max()) or 1.0
        table = _scaled(np.where(np.isfinite(sensitivity), sensitivity, 0.0), plans, unit)
        missed = losses - _sums(table, plans)
        squares, products = _shared(table, plans, plans)
        spread = np.maximum(np.abs(losses), _FLOOR * unit)
        guesses = np.array(list(product(_OWN, _PAIR, _NOISE)))
        own, pair, noise = guesses.T[:, :, None, None]
        covariances = own**2 * squares + pair**2 * products + np.diag(spread**2) * noise**2
        weights = np.linalg.solve(
            covariances, np.broadcast_to(missed[:, None], (len(own), len(missed), 1))
        )[..., 0]
        likelihoods = -0.5 * (weights @ missed + np.linalg.slogdet(covariances).logabsdet)
        best = int(np.argmax(likelihoods))
        return cls(table, plans, float(guesses[best, 0]), float(guesses[best, 1]), weights[best])

    def predict(self, plans: Indices) -> Floats:
        """Losses; shape (B,) for plans of shape (B, S)."""
        squares, products = _shared(self.table, plans, self.plans)
        covariance = self.own**2 * squares + self.pair**2 * products
        predicted: Floats = _sums(self.table, plans) + covariance @ self.weights
        return predicted


def _finite(losses: Floats) -> Floats:
    """The losses, with a large one for what could not be built; shape (N,)."""
    built = np.isfinite(losses)
    worst = np.abs(losses[built]).max(initial=0.0) or 1.0
    return np.where(built, losses, _BROKEN * worst)


def _scaled(table: Floats, plans: Indices, unit: float) -> Floats:
    """Sensitivities, shape (S, K), so that they sum to about `unit` over a plan."""
    sums = _sums(table, plans)
    typical = float(np.median(sums)) or float(sums.max())
    if typical == 0.0:
        return np.full_like(table, unit / max(1, len(table)))
    table = table * (unit / typical)
    floored: Floats = np.maximum(table, _LEAST * table.mean())
    return floored


def _sums(table: Floats, plans: Indices) -> Floats:
    total: Floats = table[np.arange(plans.shape[1]), plans].sum(axis=1)
    return total


def _shared(table: Floats, plans: Indices, others: Indices) -> tuple[Floats, Floats]:
    """Sum w^2 and 2 ((sum w)^2 - sum w^2) over the slots where plans choose alike; (B, N)."""
    own = table[np.arange(plans.shape[1]), plans]
    squares = np.zeros((len(plans), len(others)))
    total = np.zeros_like(squares)
    for slot in range(plans.shape[1]):  # one at a time: (B, N, S) would fill the memory
        alike = plans[:, slot, None] == others[:, slot]
        total += alike * own[:, slot, None]
        squares += alike * own[:, slot, None] ** 2
    return squares, 2.0 * (total**2 - squares)
