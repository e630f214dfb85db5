"""DDPG as PocketFlow, AMC and HAQ use it: one continuous action a slot, mapped to a choice."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from ..ledger import Ledger
from ..problem import Floats, Indices, Problem
from .episode import CONTEXT, Bools, Observations, split
from .extra import needs_rl
from .playground import Playground

Actor = Callable[[Observations], Floats]  # (N, CONTEXT) to actions (N,)


@dataclass(frozen=True, slots=True)
class Ddpg:
    """Deep deterministic policy gradient over plans (Lillicrap et al. 2016, arXiv:1509.02971).

    PocketFlow ("Reinforcement Learning"), AMC (He et al. 2018, arXiv:1802.03494) and HAQ (Wang et
    al. 2019, arXiv:1811.08886) search so: the actor's action in [0, 1] is a place among a slot's
    choices, from the one that loses most to the safest (HAQ's linear map from actions to bits);
    every transition of a roll-out is rewarded by the roll-out's true reward R less a moving
    average B, undiscounted (HAQ: Q_k = R - B + Q(O_k+1, mu(O_k+1))). R is `playground.rewards`,
    and each of the S steps is given 1 / S of it, so that an episode's steps sum to R - B.
    Exploration is AMC's: uniform while the agent warms up, then normal around the actor's action,
    truncated to [0, 1], of a deviation that decays. The agent sees the slot and the state as theirs
    do, not the columns of each choice: with those, few evaluations taught it less (measured).

    Where HAQ lowers the bits of a complete plan until it is within the budget, masks keep every
    step within it, and the executed action, not the actor's own, goes into the replay buffer. R is
    measured on data for searching, and latencies come from the table.

    Attributes:
        lanes: Roll-outs between two rounds of learning.
        warm_up: The part of the budget that is explored uniformly (AMC: 100 of 400 episodes).
        deviation: Of the exploration after that.
        final: The part of it that is left at the end (AMC: 0.99^300 = 0.05).
        average: How much of the baseline stays at each roll-out (HAQ: 0.95).
        batch: Transitions in a step of learning; there is one such step for each transition.
        hidden: Units of each of the two hidden layers of actor and critic.
    """

    lanes: int = 2
    warm_up: float = 0.25
    deviation: float = 0.5
    final: float = 0.05
    average: float = 0.95
    batch: int = 64
    hidden: int = 64
    name: str = "ddpg"

    def explore(self, ledger: Ledger, rng: np.random.Generator) -> None:
        """Spend the budget.

        Raises:
            ConstraintError: No plan meets the limits.
            UsageError: The extra [rl] is not installed.
        """
        with needs_rl(self.name):
            from .ddpg_learner import Learner  # noqa: PLC0415 - heavy and optional
        ground = Playground.of(ledger, self.name)
        learner = Learner(self.hidden, seed=int(rng.integers(2**31)))
        ladder, replay = Ladder.of(ground.problem), Replay(self.average)
        while ground.open:
            seen, actions, plans = self._play(ground, ladder, learner.act, rng)
            ground.score(plans, rng)
            replay.add(seen, actions, plans)
            if ground.progress >= self.warm_up:
                rewards = replay.rewards(ground)
                for _ in range(actions.size):
                    learner.learn(*replay.draw(rewards, rng, self.batch))

    def _play(
        self, ground: Playground, ladder: "Ladder", actor: Actor, rng: np.random.Generator
    ) -> tuple[Observations, Floats, Indices]:
        """Roll out: what was seen (L, S + 1, CONTEXT), executed (L, S), and the plans (L, S)."""
        episodes = ground.episodes(self.lanes)
        seen, actions, slot = [], [], 0
        while not episodes.done.all():
            seen.append(split(episodes.observe())[0])
            wanted = self._explored(actor(seen[-1]), ground.progress, rng)
            choices, executed = ladder.executed(slot, wanted, episodes.masks())
            episodes.step(choices)
            actions.append(executed)
            slot += 1
        seen.append(np.zeros_like(seen[-1]))  # after the last step nothing follows
        plans = np.stack([episodes.plan(lane) for lane in range(self.lanes)])
        return np.stack(seen, axis=1), np.stack(actions, axis=1), plans

    def _explored(self, actions: Floats, progress: float, rng: np.random.Generator) -> Floats:
        """Actions with the noise of this part of the search; shape (N,)."""
        if progress < self.warm_up:
            return rng.random(len(actions))
        decay = (progress - self.warm_up) / max(1.0 - self.warm_up, 1e-9)
        return truncated_normal(actions, self.deviation * self.final**decay, rng)


@dataclass(frozen=True, slots=True, eq=False)
class Ladder:
    """The legal choices of each slot from the one that loses most to the safest.

    Attributes:
        order: Choices by rung, the illegal ones last; shape (S, K).
        counts: How many rungs there are; shape (S,).
    """

    order: Indices
    counts: Indices

    @classmethod
    def of(cls, problem: Problem) -> Self:
        """Order the choices; of equals in loss the faster is the lower."""
        legal = problem.legal
        drops = np.where(legal, problem.drops, -np.inf)
        return cls(np.lexsort((problem.cost.node_us, -drops)), legal.sum(axis=1))

    def executed(self, slot: int, wanted: Floats, masks: Bools) -> tuple[Indices, Floats]:
        """The allowed choices nearest to what is wanted.

        Args:
            slot: Which slot is decided.
            wanted: In [0, 1]; shape (N,).
            masks: Which choices are allowed; shape (N, K_MAX).

        Returns:
            The choices, and the actions that stand for them: what was wanted where it was allowed,
            else the middle of the rung that was taken; shape (N,) each.
        """
        count = int(self.counts[slot])
        rungs = np.minimum((wanted * count).astype(np.intp), count - 1)
        allowed = masks[:, self.order[slot, :count]]
        distance = np.abs(np.arange(count) - rungs[:, None]) + np.where(allowed, 0.0, np.inf)
        taken = distance.argmin(axis=1)
        actions = np.where(taken == rungs, wanted, (taken + 0.5) / count)
        return self.order[slot, taken], actions


@dataclass(slots=True, eq=False)
class Replay:
    """E episodes of S steps, with rewards as they are judged now.

    Attributes:
        average: How much of the baseline stays at each roll-out.
        seen: Shape (E, S + 1, CONTEXT); beyond the last step zeros.
        actions: Shape (E, S).
        plans: Shape (E, S).
    """

    average: float
    seen: Observations = field(default_factory=lambda: np.zeros((0, 1, len(CONTEXT)), np.float32))
    actions: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    plans: Indices = field(default_factory=lambda: np.zeros((0, 0), np.intp))

    def add(self, seen: Observations, actions: Floats, plans: Indices) -> None:
        """Remember episodes."""
        first = not len(self.plans)
        self.seen = seen if first else np.concatenate([self.seen, seen])
        self.actions = actions if first else np.concatenate([self.actions, actions])
        self.plans = plans if first else np.concatenate([self.plans, plans])

    def rewards(self, ground: Playground) -> Floats:
        """R - B of each episode; shape (E,), NaN where the budget did not reach."""
        known = ground.rewards()
        values = np.array([known.get(tuple(plan), np.nan) for plan in self.plans.tolist()])
        told = values[np.isfinite(values)]
        baseline = told[0]
        for value in told[1:]:
            baseline = self.average * baseline + (1.0 - self.average) * value
        gains: Floats = values - baseline
        return gains

    def draw(
        self, rewards: Floats, rng: np.random.Generator, count: int
    ) -> tuple[Observations, Floats, Floats, Observations, Bools]:
        """Random transitions: seen, actions, rewards, seen next, whether it was the last step."""
        steps = self.actions.shape[1]
        episode = rng.choice(np.flatnonzero(np.isfinite(rewards)), count)
        step = rng.integers(0, steps, count)
        return (
            self.seen[episode, step],
            self.actions[episode, step],
            rewards[episode] / steps,
            self.seen[episode, step + 1],
            step == steps - 1,
        )


def truncated_normal(mean: Floats, deviation: float, rng: np.random.Generator) -> Floats:
    """Draw from normal distributions truncated to [0, 1], by rejection; from (N,) to (N,)."""
    drawn = rng.normal(mean, deviation)
    while (outside := (drawn < 0.0) | (drawn > 1.0)).any():
        drawn[outside] = rng.normal(mean[outside], deviation)
    return drawn
