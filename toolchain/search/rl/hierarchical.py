"""HiReLC: one agent gives every section a part of the budget, an ensemble of others spends it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from ..goal import Trial
from ..ledger import Ledger
from ..problem import Floats, Indices, Objective
from ..surrogate import Surrogate
from .agents import Agents, Played, play
from .playground import Playground, rewards
from .sections import sections

Recover = Callable[[Trial], None]
_SHARP = 2.0  # by how much a member's weight grows with its best reward


@dataclass(frozen=True, slots=True)
class Hierarchical:
    """Two levels of policies that learn on a surrogate, in cycles (HiReLC, "The Training Loop").

    Level 1 takes one step a section (a run of slots): its action is the share of the budget that is
    left over the cheapest plan. Level 2 takes one step a slot, by masks within the share; what a
    section leaves goes to the next. Both learn from one reward, which a surrogate predicts; each
    member of the ensemble has a surrogate of its own, from a random part of what was measured.
    A cycle: fit the surrogates, train, let members and their vote propose, measure that, tell
    `recover`; then again, from the policies as they are and the best plan. HiReLC's loss, alpha
    drop + beta compression + gamma deviation from the budget + delta sensitivity, becomes the drop
    alone: masks leave no deviation, and the surrogate starts from the sensitivities.

    A vote sums masked log-probabilities, log p(k) = sum_m w_m log p_m(k) + constant: the average of
    votes for categories, which HiReLC takes, can be a choice that nobody voted for. A member's
    weight w_m is the softmax of the best reward that its own proposals truly had.

    Attributes:
        members: How many policies are in the ensemble.
        cycles: How often there is something new to learn from.
        updates: Steps of learning in each.
        lanes: Episodes in each of them.
        first: The part of the budget for random plans, which the first surrogates learn from.
        recover: Is told the best plan after each cycle: the place to retrain the model.
    """

    members: int = 3
    cycles: int = 8
    updates: int = 8
    lanes: int = 24
    first: float = 0.15
    recover: Recover = lambda _: None
    name: str = "hierarchical"

    def explore(self, ledger: Ledger, rng: np.random.Generator) -> None:
        """Spend the budget.

        Raises:
            ConstraintError: No plan meets the limits.
        """
        ground = Playground.of(ledger, self.name)
        runs = sections(ground.problem.graph)
        crew = [_Member(ground, runs, Agents.of(runs)) for _ in range(self.members)]
        ground.score(ground.space.sample(rng, max(2, int(self.first * ledger.budget))), rng)
        share = max(self.members + 1, -(-ledger.left // self.cycles))
        while ground.open and ledger.best is not None:
            for member in crew:
                member.train(self.updates, self.lanes, rng)
            self._propose(crew, share, rng)
            self.recover(ledger.best)

    def _propose(self, crew: list["_Member"], share: int, rng: np.random.Generator) -> None:
        """Measure what each member proposes and, with the rest of the share, what they elect."""
        ground, runs = crew[0].ground, crew[0].runs
        own = [member.propose(self.lanes, rng) for member in crew]
        ground.score(np.concatenate(own), rng)
        known = ground.rewards()
        best = np.array([member.best(known) for member in crew])
        votes = np.exp(_SHARP * (best - best.max()))
        agents = [member.agents for member in crew]
        elected = play(ground.episodes(self.lanes), runs, agents, votes / votes.sum(), rng).plans
        leader = crew[int(best.argmax())]
        ground.score(leader.promising(elected)[: max(1, share - len(crew))], rng)


@dataclass(slots=True, eq=False)
class _Member:
    """One of the ensemble.

    Attributes:
        ground: Where it plays.
        runs: The section of each slot; shape (S,).
        agents: Its policies.
        proposed: The plans that it proposed.
        surrogate: What it believes; None before it was trained.
    """

    ground: Playground
    runs: Indices
    agents: Agents
    proposed: list[tuple[int, ...]] = field(default_factory=list)
    surrogate: Surrogate | None = None

    def train(self, updates: int, lanes: int, rng: np.random.Generator) -> None:
        """Learn anew what to believe, and from that what to do."""
        trials = self.ground.ledger.trials
        sample = np.unique(rng.integers(0, len(trials), len(trials)))  # each plan once
        plans = np.array([trials[i].indices for i in sample], np.intp)
        losses = np.array([trials[i].loss for i in sample])
        self.surrogate = Surrogate.fit(self.ground.problem.drops, plans, losses)
        self.agents.lean(np.array(self.ground.ledger.ranked()[0].indices, np.intp))
        for _ in range(updates):
            played = self.play(lanes, rng)
            self.agents.learn(played, self.predicted(played.plans))

    def play(self, lanes: int, rng: np.random.Generator) -> Played:
        """Make plans."""
        return play(self.ground.episodes(lanes), self.runs, [self.agents], np.ones(1), rng)

    def predicted(self, plans: Indices) -> Floats:
        """The rewards of plans, as far as it knows; shape (N,)."""
        if self.surrogate is None:
            return np.zeros(len(plans))
        figures = self.ground.problem.figures(plans)
        figures = {**figures, Objective.DROP: self.surrogate.predict(plans)}
        return rewards(self.ground.ledger.goal, figures)

    def promising(self, plans: Indices) -> Indices:
        """Those of several plans that were not measured, the most promising first; (N, S)."""
        new = self.ground.ledger.unknown(plans)
        ordered: Indices = new[np.argsort(-self.predicted(new), kind="stable")]
        return ordered

    def propose(self, lanes: int, rng: np.random.Generator) -> Indices:
        """The most promising of some plans; shape (1, S), or (0, S) where all were measured."""
        chosen = self.promising(self.play(lanes, rng).plans)[:1]
        self.proposed += map(tuple, chosen.tolist())
        return chosen

    def best(self, known: Mapping[tuple[int, ...], float]) -> float:
        """The best true reward of what it proposed, or the least of all."""
        least = min(known.values())
        return max((known.get(plan, least) for plan in self.proposed), default=least)
