"""Plans within the limits that are known beforehand: random ones, repaired ones, neighbours."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import inf
from typing import Self

import numpy as np
import numpy.typing as npt

from ..errors import ConstraintError
from ..plan import Sparsity
from .exact import Exact
from .front import best
from .goal import Goal
from .greedy import Greedy
from .ledger import Ledger
from .nearest import amount, amounts, larger
from .problem import COSTS, Floats, Indices, Limits, Objective, Problem, allowed, fp32_everywhere

_CHUNK = 256  # plans that are priced at once while neighbours are looked through
Bools = npt.NDArray[np.bool_]

# Of the power of normally distributed weights, what the two smallest of each four hold.
LOST: Mapping[Sparsity, float] = {Sparsity.DENSE: 0.0, Sparsity.TWO_FOUR: 0.132}


@dataclass(frozen=True, slots=True, eq=False)
class Space:
    """The legal plans within the limits on what is known beforehand: everything but the drop.

    Attributes:
        problem: Its limits, none on the drop; its sensitivities are guessed from bits where none
            were measured. It asks for the least latency.
        anchor: A plan within them, the fastest; shape (S,).
        touching: Whether two slots read or write one tensor, so that their changes of latency do
            not add up; shape (S, S); derived.
    """

    problem: Problem
    anchor: Indices
    touching: Bools = field(init=False, repr=False)

    def __post_init__(self) -> None:
        wiring = self.problem.cost.wiring
        ends = np.zeros((len(wiring.edges), len(self.anchor) + 1), np.int32)
        ends[np.arange(len(ends)), wiring.producers] = 1
        ends[wiring.owners, wiring.readers] = 1
        object.__setattr__(self, "touching", (ends.T @ ends > 0)[:-1, :-1])

    @classmethod
    def of(cls, ledger: Ledger) -> Self:
        """The space that a search moves in.

        Raises:
            ConstraintError: No plan meets the limits.
        """
        problem = ledger.problem
        problem = replace(
            problem,
            sensitivity=by_bits(problem) if problem.sensitivity is None else problem.sensitivity,
            limits=replace(problem.limits.both(ledger.goal.limits), drop=inf),
            objective=Objective.LATENCY,
            weights=(),
        )
        anchor = best(problem, Exact()) or best(problem, Greedy())
        if anchor is None:
            raise _empty(problem)
        return cls(problem, np.array(anchor.indices, np.intp))

    def holds(self, plans: Indices) -> Bools:
        """Whether plans, legal ones of shape (B, S), are within the limits; shape (B,)."""
        figures = self.problem.figures(plans)
        kept = [figures[figure] <= allowed(self.problem.limit(figure)) for figure in COSTS]
        holds: Bools = np.all(kept, axis=0)
        return holds

    def draw(self, rng: np.random.Generator, count: int) -> Indices:
        """Plans with random legal choices, within the limits or not; shape (count, S)."""
        legal = self.problem.legal
        first = np.argsort(~legal, axis=1, kind="stable")  # the legal ones come first
        picks = rng.integers(0, legal.sum(axis=1), (count, len(legal)))
        drawn: Indices = first[np.arange(len(legal)), picks]
        return drawn

    def sample(self, rng: np.random.Generator, count: int, *, full: bool = True) -> Indices:
        """Random plans within the limits; shape (count, S).

        Args:
            rng: Where chance comes from.
            count: How many.
            full: Whether the limits are to be made use of: slots take their safest choice, in
                random order, as far as the limits allow. Otherwise a random part of them does.
        """
        safest = np.where(self.problem.legal, self.problem.drops, inf).argmin(axis=1)
        plans = self.draw(rng, count)
        if not full:
            safe = rng.random(plans.shape) < rng.random((count, 1))
            return self.repaired(np.where(safe, safest, plans), self.anchor, rng)
        plans = self.repaired(plans, self.anchor, rng)
        steps, holds = self._walk(plans, safest, rng)
        last = holds.shape[1] - 1 - holds[:, ::-1].argmax(axis=1)
        filled: Indices = steps[np.arange(count), last]
        return filled

    def repaired(self, plans: Indices, toward: Indices, rng: np.random.Generator) -> Indices:
        """Bring plans within the limits.

        Slots, in random order, take the choice of a plan that is, until the plan is, too.

        Args:
            plans: Legal ones; shape (B, S).
            toward: Plans within the limits; shape (B, S) or (S,).
            rng: Where chance comes from.

        Returns:
            Shape (B, S).
        """
        broken = np.flatnonzero(~self.holds(plans))
        fixed = plans.copy()
        if len(broken):
            steps, holds = self._walk(
                plans[broken], np.broadcast_to(toward, plans.shape)[broken], rng
            )
            fixed[broken] = steps[np.arange(len(broken)), holds.argmax(axis=1)]
        return fixed

    def _walk(
        self, plans: Indices, toward: Indices, rng: np.random.Generator
    ) -> tuple[Indices, Bools]:
        """Every step from plans to others, (B, S + 1, S), and whether it is within the limits."""
        count, slots = plans.shape
        turn = rng.permuted(np.tile(np.arange(slots), (count, 1)), axis=1)
        taken = turn[:, None] < np.arange(slots + 1)[:, None]
        steps = np.where(taken, np.broadcast_to(toward, plans.shape)[:, None], plans[:, None])
        return steps, self.holds(steps.reshape(-1, slots)).reshape(count, slots + 1)

    def neighbours(self, plan: Indices, table: Floats, goal: Goal, *, count: int) -> Indices:
        """The most promising plans within the limits that differ in one slot or in two.

        Args:
            plan: Within the limits; shape (S,).
            table: What is thought of the loss of each choice; losses are taken to add up (S, K).
            goal: What makes a plan promising.
            count: How many at most.

        Returns:
            The most promising first; shape (N, S).
        """
        moves = _Moves.of(self, plan, table)
        possible = np.ones(len(moves.inexact), bool)
        for figure in COSTS:
            kept = moves.figures[figure] <= allowed(self.problem.limit(figure))
            possible &= kept | (moves.inexact & (figure is Objective.LATENCY))
        order = np.flatnonzero(possible)
        order = order[goal.order({o: figure[order] for o, figure in moves.figures.items()})]
        found = np.empty((0, len(plan)), np.intp)
        for start in range(0, len(order), _CHUNK):
            plans = moves.plans(plan, order[start : start + _CHUNK])
            found = np.concatenate([found, plans[self.holds(plans)]])
            if len(found) >= count:
                break
        return found[:count]


@dataclass(frozen=True, slots=True, eq=False)
class _Moves:
    """All changes of one slot or of two, M in number.

    Attributes:
        slots: Which slots change; shape (M, 2), twice the same for a single change.
        choices: To what; shape (M, 2).
        figures: What the plan takes of each figure after the change; shape (M,) each.
        inexact: Whether the latency is only about that, as for slots that touch; shape (M,).
    """

    slots: Indices
    choices: Indices
    figures: dict[Objective, Floats]
    inexact: Bools

    @classmethod
    def of(cls, space: Space, plan: Indices, table: Floats) -> Self:
        """The changes of a plan, shape (S,), with losses from a table."""
        problem, all_slots = space.problem, np.arange(len(plan))
        changes = problem.legal
        changes[all_slots, plan] = False
        slot, choice = np.nonzero(changes)
        one, other = np.triu_indices(len(slot))
        kept = (slot[one] != slot[other]) | (one == other)
        pair = np.stack([one[kept], other[kept]], axis=1)
        single = pair[:, 0] == pair[:, 1]
        now = problem.figures(plan[None])
        now = {**now, Objective.DROP: table[all_slots, plan].sum(keepdims=True)}
        loss = table - table[all_slots, plan][:, None]
        deltas = {**problem.deltas(plan), Objective.DROP: loss}
        figures = {}
        for objective, delta in deltas.items():
            each = delta[slot, choice][pair]
            figures[objective] = now[objective] + np.where(single, each[:, 0], each.sum(axis=1))
        touching = space.touching[slot[pair[:, 0]], slot[pair[:, 1]]] & ~single
        return cls(slot[pair], choice[pair], figures, touching)

    def plans(self, plan: Indices, which: Indices) -> Indices:
        """A plan after each of some changes; shape (len(which), S)."""
        changed = np.tile(plan, (len(which), 1))
        changed[np.arange(len(which))[:, None], self.slots[which]] = self.choices[which]
        return changed


def by_bits(problem: Problem) -> Floats:
    """Sensitivities where none are known: noise power 4^-bits of weights and of activations.

    What sparsity leaves out of the weights is noise, too.

    A kernel whose weights and activations take fewer bits is taken to lose more, whatever it is.

    Returns:
        Shape (S, K); NaN where a slot has no such choice.
    """
    table = np.full(problem.cost.node_us.shape, np.nan)
    for s, slot in enumerate(problem.graph.slots):
        bits = [(c.precision.weight_bits, c.precision.activation_bits) for c in slot.choices]
        table[s, : len(bits)] = (4.0 ** -np.array(bits, np.float64)).sum(axis=1)
        table[s, : len(bits)] += [LOST[choice.sparsity] for choice in slot.choices]
    return table


def _empty(problem: Problem) -> ConstraintError:
    limited = [figure for figure in COSTS if problem.limit(figure) < inf]
    wanted = " and ".join(amount(figure, problem.limit(figure)) for figure in limited)
    wanted = wanted or "no limits at all"
    fastest = best(replace(problem, limits=Limits()), Exact()) or fp32_everywhere(problem)
    return ConstraintError(
        f"no plan was found within {wanted}: the fastest takes {amounts(fastest)}", larger(limited)
    )
