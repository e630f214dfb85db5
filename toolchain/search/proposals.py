"""Strategies that only propose, as explorers: what they propose is scored, and nothing more."""

from dataclasses import dataclass, replace

import numpy as np

from .exact import Exact
from .feasible import Space
from .front import front
from .goal import Goal
from .greedy import Greedy
from .ledger import Ledger
from .problem import Indices, Objective, Strategy
from .uniform import Uniform


@dataclass(frozen=True, slots=True)
class Proposals:
    """Scores what a strategy proposes for the limits; most of the budget is left.

    Attributes:
        strategy: Who proposes.
    """

    strategy: Strategy

    @property
    def name(self) -> str:
        """The strategy's."""
        return self.strategy.name

    def explore(self, ledger: Ledger, rng: np.random.Generator) -> None:  # noqa: ARG002 - no chance in it
        """Score its proposals, the most promising first."""
        ledger.score(proposed(Space.of(ledger), ledger.goal, self.strategy), self.name)


def proposed(space: Space, goal: Goal, strategy: Strategy) -> Indices:
    """A strategy's plans for a goal; shape (N, S).

    Where the goal is the least loss, its proposals for that, the least predicted first. Where loss
    is traded for latency or size, its front, since predicted losses are not the true ones.
    """
    objective = Objective.LATENCY if goal.weights else goal.objective
    problem = replace(space.problem, objective=objective)
    if objective is Objective.DROP:
        found = sorted(strategy.propose(problem), key=lambda p: p.figure(objective))
    else:
        found = list(front(problem, strategy))
    plans = dict.fromkeys(proposal.indices for proposal in found)
    return np.array(list(plans), np.intp).reshape(len(plans), len(space.anchor))


def starts(space: Space, goal: Goal) -> Indices:
    """What the solver, the greedy search and uniform precision propose, and the fastest plan.

    Returns:
        Shape (N, S), in this order; at least one.
    """
    strategies: tuple[Strategy, ...] = (Exact(), Greedy(), Uniform())
    plans = [proposed(space, goal, strategy) for strategy in strategies]
    return np.concatenate([*plans, space.anchor[None]])
