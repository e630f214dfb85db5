"""What a policy learns from: the best plans of many problems, as choices it should have made."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Self

import numpy as np

from ..exact import Exact
from ..problem import Floats, Indices, Problem
from .episode import Bools, Episodes, Observations, split
from .opening import limited_figures, opening
from .task import Start, Task

SECONDS = 120.0  # for one problem, far more than any takes: seeds decide, not the load
_TOGETHER = 16  # problems in one engine


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """A problem with limits, and the best plan within them.

    Attributes:
        problem: The problem.
        plan: Shape (S,).
        blind: Whether its sensitivities are not shown.
    """

    problem: Problem
    plan: Indices
    blind: bool = False

    @property
    def seen(self) -> Problem:
        """What a policy may see of the problem."""
        return replace(self.problem, sensitivity=None) if self.blind else self.problem

    @property
    def best(self) -> float:
        """The objective of the best plan."""
        return float(self.problem.figures(self.plan[None])[self.problem.objective][0])

    def opening(self, *, number: int = 0) -> tuple[Task, Start]:
        """The episode in which the plan is to be found; its losses are the true objective."""

        def losses(plans: Indices) -> Floats:
            return self.problem.figures(plans)[self.problem.objective]

        return opening(self.seen, losses, number=number, reference=self.best)


@dataclass(frozen=True, slots=True, eq=False)
class Lessons:
    """N choices that were made on the way to the best plans.

    Attributes:
        context: What was seen that all choices share; shape (N, D).
        options: What was seen of each choice; shape (N, K_MAX, C).
        masks: What was allowed; shape (N, K_MAX).
        chosen: What was right; shape (N,).
    """

    context: Observations
    options: Observations
    masks: Bools
    chosen: Indices

    @classmethod
    def of(cls, examples: Iterable[Example]) -> Self:
        """Follow each plan, and write down where there was a choice."""
        columns = zip(*(row for some in _alike(examples) for row in _follow(some)), strict=True)
        return cls(*(np.concatenate(column) for column in columns))

    def __len__(self) -> int:
        return len(self.chosen)


def solved(problems: Iterable[Problem], seconds: float = SECONDS) -> Iterator[Example]:
    """The problems whose best plan is found and proven, with it."""
    for problem in problems:
        for proposal in Exact(seconds).propose(problem):
            if proposal.optimal:
                yield Example(problem, np.array(proposal.indices, np.intp))


def _alike(examples: Iterable[Example]) -> Iterator[Sequence[Example]]:
    """Groups for one engine each: the same figures are limited."""

    def limited(example: Example) -> tuple[str, ...]:
        return (*limited_figures(example.seen), example.seen.objective)

    for _, group in groupby(sorted(examples, key=limited), limited):
        ordered = list(group)
        for start in range(0, len(ordered), _TOGETHER):
            yield ordered[start : start + _TOGETHER]


def _follow(
    examples: Sequence[Example],
) -> Iterator[tuple[Observations, Observations, Bools, Indices]]:
    """Play each plan in a lane of its own; a row of `Lessons` for each step."""
    openings = [example.opening(number=i) for i, example in enumerate(examples)]
    episodes = Episodes([task for task, _ in openings], [start for _, start in openings])
    plans = np.zeros((len(examples), max(len(example.plan) for example in examples)), np.intp)
    for row, example in zip(plans, examples, strict=True):
        row[: len(example.plan)] = example.plan
    lanes = np.arange(len(examples))
    for chosen in plans.T:
        masks = episodes.masks().copy()
        taught = ~episodes.done & (masks.sum(axis=1) > 1) & masks[lanes, chosen]
        context, options = split(episodes.observe())
        yield context[taught], options[taught], masks[taught], chosen[taught]
        episodes.step(chosen)
