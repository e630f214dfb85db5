"""From a policy to plans: the likeliest, random ones, and the best of them by what is predicted."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from ...errors import ConstraintError
from ..problem import Indices, Problem, Proposal
from .episode import Episodes, split
from .opening import opening
from .policy import Policy, draw, highest
from .policy_file import shipped
from .task import Start, Task
from .terms import between, corners

SAMPLES = 64  # plans at once: 64 take hardly longer than one
HEAT = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Decoder:
    """Makes plans of one problem with a policy.

    Attributes:
        policy: Which choices are likely.
        task: The problem, ready for episodes.
        start: Its limits.
    """

    policy: Policy
    task: Task
    start: Start

    @classmethod
    def of(cls, policy: Policy, problem: Problem) -> Self:
        """Make a problem ready; what is limited is what its limits say."""
        return cls(policy, *opening(problem))

    def sample(self, count: int, rng: np.random.Generator, *, heat: float = HEAT) -> Indices:
        """The likeliest plan, the one that predictions alone lead to, and random ones.

        Args:
            count: How many.
            rng: Where chance comes from.
            heat: The higher, the more different they are.

        Returns:
            All are within the limits; shape (count, S).

        Raises:
            ConstraintError: No plan is.
        """
        episodes = Episodes([self.task], [self.start] * count)
        while not episodes.done.all():
            masks = episodes.masks()
            scores = self.policy.scores(*split(episodes.observe()))
            chosen = draw(scores, masks, rng, heat=heat)
            chosen[:1] = highest(scores[:1], masks[:1])
            chosen[1:2] = episodes.guided()[1:2]
            episodes.step(chosen)
        return np.stack([episodes.plan(lane) for lane in range(count)])

    def plan(self, rng: np.random.Generator, *, count: int = SAMPLES) -> Indices:
        """The best of several plans by what is predicted; shape (S,).

        Raises:
            ConstraintError: No plan is within the limits.
        """
        return self.best(self.sample(count, rng))

    def best(self, plans: Indices) -> Indices:
        """The first of the best of several plans by what is predicted; from (B, S) to (S,)."""
        best: Indices = plans[self.task.problem.figures(plans)[self.task.bounds.objective].argmin()]
        return best


@dataclass(frozen=True, slots=True)
class Pretrained:
    """Proposes the plan of a policy that was trained before: no model is run, and no solver.

    Attributes:
        policy: None: the one that comes with hwc.
        seed: Of the random plans that it chooses from.
    """

    policy: Policy | None = field(default=None, compare=False)
    seed: int = 0
    name: str = "policy"

    def propose(self, problem: Problem) -> Iterator[Proposal]:
        """One plan; none where no plan meets the limits.

        A weighted sum gets the best by it of plans that each keep one figure low.
        """
        policy = self.policy or shipped().policy
        found = [self._plan(policy, alone) for alone in corners(problem)]
        plans = [plan for plan in found if plan]
        if problem.weights and len(plans) == len(found):
            more = (self._plan(policy, alone) for alone in between(problem, plans))
            plans += [plan for plan in more if plan]
        if plans:
            yield min(plans, key=problem.value)

    def _plan(self, policy: Policy, problem: Problem) -> Proposal | None:
        """The plan for one objective; None where none meets the limits."""
        try:
            plan = Decoder.of(policy, problem).plan(np.random.default_rng(self.seed))
        except ConstraintError:
            return None
        proposal = problem.proposal(plan, self.name)
        return proposal if problem.meets(proposal) else None
