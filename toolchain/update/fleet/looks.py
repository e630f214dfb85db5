"""What repeated looks at a rollout do: how often and when a stop rule stops, computed exactly.

Source: P. Armitage, C. K. McPherson and B. C. Rowe, Repeated significance tests on accumulating
data, Journal of the Royal Statistical Society A 132 (1969), 235-244: the distribution of failures
among the rollouts that have not stopped yet, carried from look to look.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .wilson import StopRule

EVERY = 100  # reports of which each is a look; a failing release is to be seen among these
GROWTH = 0.02  # then a look after so many more: each look costs power, and late ones bring little
_Z_MOST = 64.0  # the score of a failing first device at a tolerated rate of 1 in 4,000
_STEPS = 24  # halvings: z to 4e-6
_IMPROBABLE = 1e-18
_REACH = 12.0  # standard deviations of a binomial; its upper tail is heavier where few are expected

Chances = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a rule does to rollouts of a release that fails at one rate.

    Attributes:
        stop: The probability that it stops at all.
        reports: Mean number of reports when it does; NaN where it never does.
    """

    stop: float
    reports: float


def looks(devices: int) -> tuple[int, ...]:
    """After how many reports the rule is asked, up to a whole fleet."""
    found = list(range(1, min(EVERY, devices) + 1))
    while found[-1] < devices:
        found.append(min(devices, found[-1] + max(1, round(GROWTH * found[-1]))))
    return tuple(found)


def outcome(rule: StopRule, at: Sequence[int], rate: float) -> Outcome:
    """How often and when the rule stops a release that fails on each device alike, on its own.

    More failures never stop later, so the probability of a stop only grows with `rate`: what holds
    at the tolerated rate bounds that of every better release.
    """
    critical = rule.critical(np.array(at))
    alive, before, stop, weighted = _Spread(0, np.ones(1)), 0, 0.0, 0.0
    for reports, limit in zip(at, critical, strict=True):
        alive = alive.plus(_binomial(reports - before, rate)).below(int(limit))
        # What was too improbable to be carried on counts as stopped: the promise errs to its side.
        gone = max(0.0, 1.0 - stop - float(alive.chances.sum()))
        stop, weighted, before = stop + gone, weighted + gone * reports, reports
    return Outcome(stop, weighted / stop if stop else float("nan"))


def calibrated(at: Sequence[int], *, tolerated: float, alpha: float, least: int) -> StopRule:
    """The rule of the smallest z that stops in at most `alpha` of all rollouts, over all looks.

    That is for a release exactly at the tolerated rate: better ones are stopped less often.

    Args:
        at: Numbers of reports at which the rule is asked.
        tolerated: Rate of failures, above 0 and below 1.
        alpha: Probability, above 0 and below 1.
        least: Failures below which nothing is stopped.
    """
    low, high = 0.0, _Z_MOST
    for _ in range(_STEPS):
        z = (low + high) / 2
        if outcome(StopRule(tolerated, z, least), at, tolerated).stop <= alpha:
            high = z
        else:
            low = z
    return StopRule(tolerated, high, least)


@dataclass(frozen=True, slots=True)
class _Spread:
    """Chances of `first`, `first` + 1, ... failures."""

    first: int
    chances: Chances

    def plus(self, more: "_Spread") -> "_Spread":
        """Of the sum of both, without its improbable ends."""
        chances = np.convolve(self.chances, more.chances)
        kept = np.flatnonzero(chances > _IMPROBABLE)
        if not len(kept):
            return _NOTHING
        low, high = int(kept[0]), int(kept[-1]) + 1
        return _Spread(self.first + more.first + low, chances[low:high])

    def below(self, limit: int) -> "_Spread":
        """Those of fewer failures than this."""
        return (
            _Spread(self.first, self.chances[: limit - self.first])
            if self.first < limit
            else _NOTHING
        )


_NOTHING = _Spread(0, np.zeros(1))


def _binomial(trials: int, rate: float) -> _Spread:
    """Failures in so many trials."""
    if rate in (0.0, 1.0):
        return _Spread(trials if rate else 0, np.ones(1))
    reach = _REACH * (1 + math.sqrt(trials * rate * (1 - rate)))
    low = max(0, math.floor(trials * rate - reach))
    counts = np.arange(low, min(trials, math.ceil(trials * rate + reach)) + 1)
    log = math.lgamma
    choices = [
        log(trials + 1) - log(count + 1) - log(trials - count + 1) for count in counts.tolist()
    ]
    logs = np.array(choices) + counts * math.log(rate) + (trials - counts) * math.log1p(-rate)
    return _Spread(low, np.exp(logs))
