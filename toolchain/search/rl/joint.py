"""HAD-MC: the factors of a choice have a head each, on one trunk, and share one reward."""

from dataclasses import dataclass, field, fields
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from ...latency.wiring import FORMATS
from ...plan import NodeChoice
from ..ledger import Ledger
from ..problem import Floats, Indices, Problem
from .episode import CONTEXT, OPTION, Bools, Episodes, Observations, split
from .extra import needs_rl
from .features import K_MAX
from .pareto_reward import ParetoReward
from .playground import Playground
from .sight import sight

_READ = [CONTEXT.index(f"reads_{f}") for f in FORMATS]
_WRITTEN = [OPTION.index(f"format_{f}") for f in FORMATS]


@dataclass(frozen=True, slots=True, eq=False)
class Factors:
    """What choices are made of.

    Attributes:
        sizes: How many values each factor has; one for each part of a choice that slots differ in.
        values: The value of each choice of each slot; shape (S, K_MAX, F).
    """

    sizes: tuple[int, ...]
    values: Indices

    @classmethod
    def of(cls, problem: Problem) -> Self:
        """Take choices apart: precision, and whatever else a choice has."""
        slots = problem.graph.slots
        parts = [part.name for part in fields(NodeChoice)]
        found = [sorted({getattr(c, part) for s in slots for c in s.choices}) for part in parts]
        told = [(part, each) for part, each in zip(parts, found, strict=True) if len(each) > 1]
        values = np.zeros((len(slots), K_MAX, len(told)), np.intp)
        for s, slot in enumerate(slots):
            for k, choice in enumerate(slot.choices):
                values[s, k] = [each.index(getattr(choice, part)) for part, each in told]
        return cls(tuple(len(each) for _, each in told), values)


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """N x S steps of N episodes.

    Attributes:
        seen: Shape (N, S, SIGHT).
        kept: Share of what the slot reads that is in the format of each choice (N, S, K_MAX).
        masks: What was allowed; shape (N, S, K_MAX).
        taken: The plans; shape (N, S).
        likelihoods: Logarithm of the probability of what was taken; shape (N, S).
        values: What the critic expected; shape (N, S).
    """

    seen: Observations
    kept: Observations
    masks: Bools
    taken: Indices
    likelihoods: Floats
    values: Floats


class Heads(Protocol):
    """A policy and its critic."""

    def judge(
        self, slot: int, seen: Observations, kept: Observations, masks: Bools
    ) -> tuple[Floats, Floats]:
        """Log-probabilities of the choices of a slot, (N, K_MAX), and what to expect, (N,)."""
        ...


@dataclass(frozen=True, slots=True)
class Joint:
    """Proximal policy optimisation of all factors together (HAD-MC 2.0; Schulman et al. 2017).

    HAD-MC has five agents under one PPO controller: prune, quantize, fuse, distil, update. Each is
    a head on a shared trunk here. The score of a choice is the sum of what the heads give its
    parts (each part of a `NodeChoice` that is offered with several values) and, for fusing across
    an edge, what one head gives for keeping the format that the slot reads: the policy is their
    product over the choices that exist and are within the budget, so that no combination is drawn
    that cannot be built. Distillation and update strategy are no part of a plan, and have no head.

    The reward is `ParetoReward`, at the end of the episode; true losses and tables of latencies
    stand where HAD-MC has the test set and a simulated device.

    Attributes:
        lanes: Episodes between two updates.
        epochs: Passes over them in an update.
        rate: Of learning.
        clip: See Schulman et al. 2017, equation 7.
        entropy: Weight of the entropy of what is allowed.
        trace: Lambda of the generalised advantage (Schulman et al. 2016, equation 16); gamma is 1.
        hidden: Units of the two layers of the trunk.
        reward: What is learnt from.
    """

    lanes: int = 8
    epochs: int = 8
    rate: float = 1e-2
    clip: float = 0.2
    entropy: float = 0.01
    trace: float = 0.95
    hidden: int = 64
    reward: ParetoReward = field(default_factory=ParetoReward)
    name: str = "joint"

    def explore(self, ledger: Ledger, rng: np.random.Generator) -> None:
        """Spend the budget.

        Raises:
            ConstraintError: No plan meets the limits.
            UsageError: The extra [rl] is not installed.
        """
        with needs_rl(self.name):
            from .joint_learner import Learner  # noqa: PLC0415 - heavy and optional
        ground = Playground.of(ledger, self.name)
        learner = Learner(Factors.of(ground.problem), self, seed=int(rng.integers(2**31)))
        while ground.open:
            steps = self._play(ground.episodes(self.lanes), learner, rng)
            ground.score(steps.taken, rng)
            learner.learn(steps, self._advantages(ground, steps))

    def _play(self, episodes: Episodes, learner: Heads, rng: np.random.Generator) -> Steps:
        """Roll out."""
        rows: list[tuple[npt.NDArray[Any], ...]] = []
        lanes, slot = np.arange(len(episodes)), 0
        while not episodes.done.all():
            observed, masks = episodes.observe(), episodes.masks()
            seen, kept = sight(observed), kept_formats(observed)
            logs, values = learner.judge(slot, seen, kept, masks)
            taken = (logs + rng.gumbel(size=logs.shape)).argmax(axis=1)
            episodes.step(taken)
            rows.append((seen, kept, masks, taken, logs[lanes, taken], values))
            slot += 1
        return Steps(*(np.stack(column, axis=1) for column in zip(*rows, strict=True)))

    def _advantages(self, ground: Playground, steps: Steps) -> Floats:
        """Generalised advantages, standardised; shape (N, S), NaN beyond the budget."""
        trials = ground.ledger.trials
        scores = self.reward.of(ground.problem, ground.ledger.goal, trials)
        scores = (scores - scores.mean()) / (scores.std() + 1e-9)
        known = {trial.indices: s for trial, s in zip(trials, scores.tolist(), strict=True)}
        end = np.array([known.get(tuple(plan), np.nan) for plan in steps.taken.tolist()])
        after = np.concatenate([steps.values[:, 1:], end[:, None]], axis=1)
        gains = after - steps.values
        for slot in reversed(range(gains.shape[1] - 1)):
            gains[:, slot] += self.trace * gains[:, slot + 1]
        return gains


def kept_formats(observations: Observations) -> Observations:
    """The share of what a slot reads that is in the format of each choice; shape (N, K_MAX)."""
    context, options = split(observations)
    kept: Observations = np.einsum("nf,nkf->nk", context[:, _READ], options[..., _WRITTEN])
    return kept
