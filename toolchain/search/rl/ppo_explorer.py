"""The learned search: a policy proposes, true losses correct what it is shown, moves refine."""

from dataclasses import dataclass, field, replace
from math import inf

import numpy as np

from ...errors import ConstraintError
from ..exact import Exact
from ..feasible import Space
from ..goal import Goal
from ..greedy import Greedy
from ..ledger import Ledger
from ..problem import Floats, Indices, Objective, Problem
from ..promising import believed, promising
from ..proposals import proposed
from ..surrogate import Surrogate
from .decode import Decoder
from .generator import within_share
from .policy import Policy
from .policy_file import shipped

_LEAST = 1e-3  # a corrected sensitivity is at least this fraction of the measured one


@dataclass(frozen=True, slots=True)
class Ppo:
    """Spends a budget on what a policy, trained by imitation and PPO, makes of its beliefs.

    The policy reads the sensitivities, so what true losses teach about them is shown to it: before
    each batch they are corrected by all trials so far, and drawn anew around that (Thompson
    sampling). Its plans compete with small changes of the best plans for a place in the batch. The
    first trials are the plans of the exact solver and of the greedy search, so that it is never
    worse than these.

    Attributes:
        policy: None: the one that comes with hwc.
        batch: Plans that are scored between two looks at what was learnt.
        samples: Plans that the policy makes for each batch.
        origins: How many of the best plans are changed.
        shortlist: How many changes of each are looked at.
        explored: The share of a batch that comes from the policy whatever the changes promise.
        heat: Of the policy's draws.
    """

    policy: Policy | None = field(default=None, compare=False)
    batch: int = 8
    samples: int = 64
    origins: int = 6
    shortlist: int = 128
    explored: float = 0.25
    heat: float = 1.0
    name: str = "ppo"

    def explore(self, ledger: Ledger, rng: np.random.Generator) -> None:
        """Spend the budget.

        Raises:
            ConstraintError: No plan meets the limits.
            InputError: The policy that comes with hwc is damaged.
        """
        policy = self.policy or shipped().policy
        space = Space.of(ledger)
        for solver in (Exact(), Greedy()):
            ledger.score(proposed(space, ledger.goal, solver), self.name)
        if not ledger.trials:
            ledger.score(space.anchor[None], self.name)
        while ledger.left:
            plans = self._batch(policy, space, ledger, rng)
            if not len(plans):
                return
            ledger.score(plans, self.name)

    def _batch(
        self, policy: Policy, space: Space, ledger: Ledger, rng: np.random.Generator
    ) -> Indices:
        """Plans to score next: the policy's share first, then the most promising of all."""
        model = believed(space, ledger)
        table = corrected(model)
        imagined = table * np.exp(rng.normal(0.0, min(model.own, 1.0), table.shape))
        drawn = self._drawn(policy, imagined_problem(space, imagined, ledger.goal, rng), rng)
        own = promising(space, ledger, drawn, model)
        best = np.array([trial.indices for trial in ledger.ranked()[: self.origins]], np.intp)
        near = [space.neighbours(plan, table, ledger.goal, count=self.shortlist) for plan in best]
        both = promising(space, ledger, np.concatenate([drawn, *near]), model)
        plans = np.concatenate([own[: int(self.explored * self.batch)], both])
        distinct = list(dict.fromkeys(tuple(plan) for plan in plans.tolist()))[: self.batch]
        return np.array(distinct, np.intp).reshape(-1, plans.shape[1])

    def _drawn(self, policy: Policy, problem: Problem, rng: np.random.Generator) -> Indices:
        """The policy's plans for what is imagined; none where it imagines that none will do."""
        try:
            return Decoder.of(policy, problem).sample(self.samples, rng, heat=self.heat)
        except ConstraintError:
            return np.empty((0, len(problem.graph.slots)), np.intp)


def corrected(model: Surrogate) -> Floats:
    """The sensitivities that the measured losses make likeliest; shape (S, K).

    The posterior mean of the part of `Surrogate` that is a sum over choices.
    """
    blame = np.zeros_like(model.table)
    slots = np.arange(model.plans.shape[1])
    np.add.at(blame, (slots, model.plans), model.weights[:, None])
    table: Floats = model.table + model.own**2 * model.table**2 * blame
    return np.maximum(table, _LEAST * model.table)


def imagined_problem(space: Space, table: Floats, goal: Goal, rng: np.random.Generator) -> Problem:
    """The search problem as it is with sensitivities in the unit of the losses; shape (S, K).

    Where loss is traded for latency or size, it asks for the least loss at some latency.
    """
    problem = replace(space.problem, sensitivity=table, objective=Objective.DROP)
    if goal.weights or (goal.objective is not Objective.DROP and goal.limits.drop == inf):
        traded = within_share(problem, float(rng.random()))
        latency = min(traded.limits.latency_us, problem.limits.latency_us)
        return traded.within(latency_us=latency)
    if goal.objective is Objective.DROP:
        return problem
    return replace(problem, objective=goal.objective).within(drop=goal.limits.drop)
