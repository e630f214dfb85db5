"""The agents of two levels: one gives sections a share of what is left, one makes choices."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from ..problem import Floats, Indices
from .episode import CONTEXT, OPTION, Bools, Episodes, Observations, split
from .features import K_MAX

LEVELS = np.array([0.0, 0.5, 1.0, 2.0, 4.0])  # of the fair share of what is left
_LEFT, _AFTER = CONTEXT.index("slack"), OPTION.index("slack_after")
_TIGHT = 1e-6  # of the budget: observations are in single precision
_PATH = 0.3  # by how much a choice is likelier, as a logarithm, that the best plan makes
_TABLE_RATE, _WEIGHT_RATE = 2.0, 0.02


@dataclass(slots=True, eq=False)
class Agents:
    """The policies of both levels, log-linear.

    Attributes:
        shares: Scores of each section's levels; shape (B, L).
        choices: Scores of each slot's choices; shape (S, K_MAX).
        weights: Of the columns of OPTION; shape (D,).
    """

    shares: Floats
    choices: Floats
    weights: Floats = field(default_factory=lambda: np.zeros(len(OPTION)))

    @classmethod
    def of(cls, sections: Indices) -> Self:
        """Policies that know nothing."""
        shares = np.zeros((int(sections.max(initial=0)) + 1, len(LEVELS)))
        return cls(shares, np.zeros((len(sections), K_MAX)))

    def learn(self, played: "Played", rewards: Floats) -> None:
        """Follow the gradient of the rewards, REINFORCE (Williams 1992), with their mean as base.

        Args:
            played: By these policies.
            rewards: Of each of the plans; shape (N,).
        """
        gains = (rewards - rewards.mean()) / (rewards.std() + 1e-9) / len(rewards)
        self.shares += _TABLE_RATE * np.einsum("n,nbl->bl", gains, played.surprise_of_shares)
        self.choices += _TABLE_RATE * np.einsum("n,nsk->sk", gains, played.surprise)
        self.weights += _WEIGHT_RATE * gains @ played.surprise_of_options

    def lean(self, plan: Indices) -> None:
        """Go on from a plan, shape (S,): its choices become likelier."""
        self.choices[np.arange(len(plan)), plan] += _PATH


@dataclass(frozen=True, slots=True, eq=False)
class Played:
    """N plans and the gradients of their log-probabilities.

    Attributes:
        plans: Shape (N, S).
        surprise_of_shares: Chosen less expected, of each level; shape (N, B, L).
        surprise: Chosen less expected, of each choice; shape (N, S, K_MAX).
        surprise_of_options: The same, of what is seen of choices, summed over slots; shape (N, D).
    """

    plans: Indices
    surprise_of_shares: Floats
    surprise: Floats
    surprise_of_options: Floats


def play(
    episodes: Episodes,
    sections: Indices,
    agents: Sequence[Agents],
    votes: Floats,
    rng: np.random.Generator,
) -> Played:
    """Make the plans of new episodes.

    Args:
        episodes: N lanes.
        sections: Of each slot; shape (S,).
        agents: Those who vote.
        votes: Weight of each one's log-probabilities.
        rng: Where chance comes from.
    """
    count, slots = len(episodes), len(sections)
    lengths = np.bincount(sections)
    floor = np.zeros(count)  # what slack has to stay for later sections
    shares = np.zeros((count, *agents[0].shares.shape))
    surprise = np.zeros((count, slots, K_MAX))
    of_options = np.zeros((count, len(OPTION)))
    for slot, section in enumerate(sections.tolist()):
        context, options = split(episodes.observe())
        if slot == 0 or section != sections[slot - 1]:
            tables = [np.broadcast_to(a.shares[section], (count, len(LEVELS))) for a in agents]
            level, shares[:, section] = elect(tables, votes, np.ones(1, bool), rng)
            part = LEVELS[level] * lengths[section] / lengths[section:].sum()
            last = section == len(lengths) - 1
            floor = context[:, _LEFT] * (0.0 if last else 1.0 - np.minimum(part, 1.0))
        allowed = within(episodes.masks(), options[..., _AFTER], floor)
        scores = [options @ agent.weights + agent.choices[slot] for agent in agents]
        taken, surprise[:, slot] = elect(scores, votes, allowed, rng)
        of_options += np.einsum("nk,nkd->nd", surprise[:, slot], options)
        episodes.step(taken)
    plans = np.stack([episodes.plan(lane) for lane in range(count)])
    return Played(plans, shares, surprise, of_options)


def within(masks: Bools, slack: Observations, floor: Floats) -> Bools:
    """What leaves enough slack (N, K) for later sections, else what leaves most; shape (N, K)."""
    allowed = masks & (slack >= floor[:, None] - _TIGHT)
    most = np.where(masks, slack, -np.inf).argmax(axis=1)
    allowed[np.arange(len(most)), most] = True
    return allowed


def elect(
    scores: Sequence[Floats], votes: Floats, allowed: Bools, rng: np.random.Generator
) -> tuple[Indices, Floats]:
    """Draw by the weighted sum of masked log-probabilities.

    Args:
        scores: One array of shape (N, K) for each voter.
        votes: Weight of each voter.
        allowed: What may be drawn; shape (N, K), or what broadcasts to it.
        rng: Where chance comes from.

    Returns:
        What was drawn, shape (N,), and one at that place less the probabilities, shape (N, K): the
        gradient of its log-probability.
    """
    total = sum(
        vote * _log_softmax(np.where(allowed, one, -np.inf))
        for vote, one in zip(votes, scores, strict=True)
    )
    together = _log_softmax(np.asarray(total))
    drawn = (together + rng.gumbel(size=together.shape)).argmax(axis=1)
    surprise = -np.exp(together)
    surprise[np.arange(len(drawn)), drawn] += 1.0
    return drawn, surprise


def _log_softmax(scores: Floats) -> Floats:
    shifted = scores - scores.max(axis=1, keepdims=True)
    normal: Floats = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return normal
