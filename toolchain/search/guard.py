"""The last word on a search: its best plans against the exact one, on data that no search saw."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf

import numpy as np
import numpy.typing as npt

from ..plan import Plan
from ..timing import Interval
from .bootstrap import RESAMPLES, simultaneous
from .goal import Figures, Goal, Trial
from .problem import Floats, Objective, Problem, allowed
from .verdict import Finalist, Verdict

FINALISTS = 16

Bools = npt.NDArray[np.bool_]
Fresh = Callable[[Sequence[Plan]], Floats]  # the loss of each sample; shape (plans, samples)


@dataclass(frozen=True, slots=True, eq=False)
class Guard:
    """Ranks the best plans of searches again, and keeps the exact plan unless another is better.

    Attributes:
        problem: Whose plans they are.
        goal: What is minimised.
        fresh: Losses on samples that neither calibration nor any search has seen, the same for all
            plans; not finite for a plan that cannot be built.
        count: How many plans enter beside the exact one.
        margin: The fraction by which a plan's loss may be above the exact plan's. None: what the
            goal allows in all counts.
        resamples: Of the bootstrap.
    """

    problem: Problem
    goal: Goal
    fresh: Fresh
    count: int = FINALISTS
    margin: float | None = None
    resamples: int = RESAMPLES

    def judge(
        self, trials: Sequence[Trial], exact: Sequence[int], rng: np.random.Generator
    ) -> Verdict:
        """Compare the best of some trials, of one search or of several, with the exact plan.

        Raises:
            ValueError: `fresh` does not give one row of losses for each plan.
        """
        kept = tuple(int(k) for k in exact)
        ranked = dict.fromkeys(trial.indices for trial in self.goal.ranked(trials))
        plans = [kept, *[plan for plan in ranked if plan != kept][: self.count]]
        losses = self._losses(plans)
        figures = {
            **self.problem.figures(np.array(plans, np.intp)),
            Objective.DROP: losses.mean(axis=1),
        }
        built = np.isfinite(figures[Objective.DROP])
        own = _intervals(losses, built, rng, self.resamples)
        paired = _paired(losses, built, rng, self.resamples)
        differences = self._differences(figures, paired)
        goal, limit = self.goal, allowed(self.goal.limits.drop)
        if self.margin is None:
            holds = [interval.high <= limit for interval in own]
        else:  # the limit held for other samples
            goal = replace(goal, limits=replace(goal.limits, drop=inf))
            spare = self.margin * figures[Objective.DROP][0]
            holds = [interval.high <= spare for interval in paired]
        finalists = [
            Finalist(
                indices=plan,
                strategies=_strategies(trials, plan),
                loss=float(figures[Objective.DROP][i]),
                us=float(figures[Objective.LATENCY][i]),
                size=int(figures[Objective.SIZE][i]),
                difference=differences[i],
                holds=holds[i],
            )
            for i, plan in enumerate(plans)
        ]
        ranking = [finalists[i] for i in goal.order(figures)]
        # then whatever holds is better
        broken = self.margin is None and own[0].low > limit
        better = [f for f in ranking if f.holds and (broken or f.difference.high < 0.0)]
        return Verdict(
            winner=next(iter(better), finalists[0]),
            exact=finalists[0],
            finalists=tuple(ranking),
            value=float(self.goal.values(figures)[0]),
            samples=losses.shape[1],
        )

    def _losses(self, plans: Sequence[tuple[int, ...]]) -> Floats:
        """The fresh losses, infinite throughout for what could not be built; shape (P, n)."""
        losses = np.asarray(self.fresh([self.problem.plan_of(plan) for plan in plans]), np.float64)
        if losses.ndim != 2 or len(losses) != len(plans) or not losses.size:  # noqa: PLR2004 - a matrix
            raise ValueError(f"fresh losses have shape {losses.shape} for {len(plans)} plans")
        return np.where(np.isfinite(losses).all(axis=1, keepdims=True), losses, inf)

    def _differences(self, figures: Figures, paired: Sequence[Interval]) -> list[Interval]:
        """What is minimised, less the first plan's, of each plan."""
        values = self.goal.values(figures)
        if not np.isfinite(paired[0].value):  # it was not built
            return list(paired)
        return [
            Interval(
                float(value - values[0]),
                float(value - values[0]) + self.goal.slope * (found.low - found.value),
                float(value - values[0]) + self.goal.slope * (found.high - found.value),
            )
            if np.isfinite(found.value)
            else found
            for value, found in zip(values, paired, strict=True)
        ]


def _paired(
    losses: Floats, built: Bools, rng: np.random.Generator, resamples: int
) -> list[Interval]:
    """The loss of each plan, less the first's; losses have shape (P, n)."""
    if not built[0]:
        return [Interval(*[-inf if there else inf] * 3) for there in built]
    return _intervals(np.where(built[:, None], losses, 0.0) - losses[0], built, rng, resamples)


def _intervals(
    samples: Floats, built: Bools, rng: np.random.Generator, resamples: int
) -> list[Interval]:
    """The mean of each row, infinite for what was not built; samples have shape (P, n)."""
    bounds = np.full((3, len(samples)), inf)
    bounds[0, built] = samples[built].mean(axis=1)
    bounds[1:, built] = simultaneous(samples[built], rng, resamples=resamples)
    return [Interval(*map(float, each)) for each in bounds.T]


def _strategies(trials: Sequence[Trial], plan: tuple[int, ...]) -> tuple[str, ...]:
    """Who scored a plan, in order."""
    return tuple(dict.fromkeys(trial.strategy for trial in trials if trial.indices == plan))
