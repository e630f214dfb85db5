"""How good a policy's plans are: the share of the exact solution's gain over uniform precision."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf
from typing import Self

import numpy as np

from ..problem import Floats, Objective, Problem, choices_of
from ..uniform import uniform
from .decode import SAMPLES, Decoder
from .lessons import Example
from .policy import Policy

GOOD = 0.9  # of the gain
_GAIN = 1e-4  # of uniform's loss: with less to be gained there is no share


@dataclass(frozen=True, slots=True, eq=False)
class Shares:
    """Of N problems: (uniform - plan) / (uniform - best), 1 is the best plan there is.

    Attributes:
        likeliest: For the policy's likeliest plan; shape (N,).
        guided: For the plan that the features alone lead to, without a policy; shape (N,).
        chosen: For the plan that `Decoder.plan` chooses; shape (N,).
        seconds: CPU time that one plan took, from the problem on; shape (N,).
    """

    likeliest: Floats
    guided: Floats
    chosen: Floats
    seconds: Floats

    @classmethod
    def of(cls, policy: Policy, examples: Iterable[Example]) -> Self:
        """Measure a policy on problems that uniform precision can, but does not best, solve."""
        rows = []
        for example in examples:
            gain = uniform_loss(example.problem) - example.best
            if _GAIN * example.best < gain < inf:
                start = time.process_time()  # other programs on the machine do not count
                decoder = Decoder.of(policy, example.seen)
                plans = decoder.sample(SAMPLES, np.random.default_rng(0))
                chosen = decoder.best(plans)
                seconds = time.process_time() - start
                tried = np.stack([plans[0], plans[1], chosen])
                losses = example.problem.figures(tried)[example.problem.objective]
                rows.append((*(1.0 - (losses - example.best) / gain), seconds))
        return cls(*np.array(rows).reshape(-1, 4).T)

    def summary(self) -> dict[str, float]:
        """Named figures; a plan that is worse than uniform's by the whole gain or more is a -1.

        The seconds are not among them: they differ from run to run.
        """
        return {
            "problems": float(len(self.chosen)),
            "share_mean": float(np.maximum(self.chosen, -1.0).mean()),
            "share_median": float(np.median(self.chosen)),
            "share_of_likeliest_mean": float(np.maximum(self.likeliest, -1.0).mean()),
            "share_without_policy_mean": float(np.maximum(self.guided, -1.0).mean()),
            "good_plans": float((self.chosen >= GOOD).mean()),
        }


def uniform_loss(problem: Problem) -> float:
    """The least objective of the uniform plans within the limits; infinite where none is."""
    plans = np.stack([uniform(problem, choice) for choice in choices_of(problem)])
    figures = problem.figures(plans)
    held = np.all([figures[figure] <= problem.limit(figure) for figure in Objective], axis=0)
    return float(figures[problem.objective][held].min(initial=inf))
