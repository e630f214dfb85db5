"""The search problem: which plans there are, what they cost, and what a strategy has to answer."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import inf
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from ..latency.cost import CostModel
from ..plan import NodeChoice, Plan
from ..slots import SlotGraph

SLACK = 1e-5  # limits hold to within this fraction: what a MILP solver's own tolerance allows

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.integer[Any]]


class Objective(StrEnum):
    """What is minimised."""

    LATENCY = "latency"
    SIZE = "size"
    DROP = "drop"
    ENERGY = "energy"


Weights = tuple[tuple[Objective, float, float], ...]  # objective, weight, unit: see `terms_of`
COSTS = tuple(figure for figure in Objective if figure is not Objective.DROP)  # known beforehand
_LIMITS = {
    Objective.LATENCY: "latency_us",
    Objective.SIZE: "size",
    Objective.DROP: "drop",
    Objective.ENERGY: "energy_uj",
}


def terms_of(objective: Objective, weights: Weights) -> Mapping[Objective, float]:
    """By how much a figure of 1 raises what is minimised: the weighted sum, or one objective.

    A figure of one `unit` adds `weight`; objectives of no weight are left out.
    """
    total: dict[Objective, float] = {}
    for figure, weight, unit in weights or ((objective, 1.0, 1.0),):
        if weight:
            total[figure] = total.get(figure, 0.0) + weight / unit
    return total


@dataclass(frozen=True, slots=True)
class Limits:
    """What a plan may take at most; infinite where there is no limit.

    Attributes:
        drop: Summed sensitivity.
        latency_us: Predicted latency, in microseconds.
        size: Bytes.
        energy_uj: Predicted energy of one inference, in microjoules.
    """

    drop: float = inf
    latency_us: float = inf
    size: float = inf
    energy_uj: float = inf

    def of(self, figure: Objective) -> float:
        """The limit on one figure."""
        return float(getattr(self, _LIMITS[figure]))

    def at(self, figure: Objective, limit: float) -> Self:
        """The same with the limit on one figure replaced."""
        return replace(self, **{_LIMITS[figure]: limit})

    def both(self, other: Self) -> Self:
        """The tighter of two limits on each figure."""
        tighter = {_LIMITS[f]: min(self.of(f), other.of(f)) for f in Objective}
        return replace(self, **tighter)


@dataclass(frozen=True, slots=True)
class Proposal:
    """One plan and what is predicted of it.

    Attributes:
        indices: The index of each slot's choice.
        predicted_us: Latency, in microseconds.
        predicted_drop: Summed sensitivity; None where sensitivities were not measured.
        size: Bytes.
        strategy: Name of the strategy that found it.
        optimal: Whether no better plan exists, as far as predictions go.
        predicted_uj: Energy, in microjoules; None where it is not known.
    """

    indices: tuple[int, ...]
    predicted_us: float
    predicted_drop: float | None
    size: int
    strategy: str
    optimal: bool = False
    predicted_uj: float | None = None

    def figure(self, objective: Objective) -> float:
        """The figure that an objective minimises; 0 where it is not known."""
        return {
            Objective.LATENCY: self.predicted_us,
            Objective.SIZE: float(self.size),
            Objective.DROP: self.predicted_drop or 0.0,
            Objective.ENERGY: self.predicted_uj or 0.0,
        }[objective]


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """Choose one of up to K choices for each of S slots.

    Attributes:
        cost: What plans take; knows the slots.
        sizes: Bytes that each slot keeps on disk under each choice; shape (S, K).
        sensitivity: What each choice alone costs in accuracy, in the unit of `limits.drop`; shape
            (S, K). None where it was not measured: then nothing is known to drop.
        limits: What a plan may take.
        objective: What to minimise within them.
        fixed_size: Bytes that every plan keeps.
        energy: What each slot takes under each choice, in microjoules; shape (S, K). None where it
            is not known: then nothing is known to take any.
        weights: The terms of a weighted sum to minimise, see `terms_of`; empty: `objective` alone.
    """

    cost: CostModel
    sizes: npt.NDArray[np.int64]
    sensitivity: Floats | None = None
    limits: Limits = field(default_factory=Limits)
    objective: Objective = Objective.LATENCY
    fixed_size: int = 0
    energy: Floats | None = None
    weights: Weights = ()

    def __post_init__(self) -> None:
        for table in self.tables.values():
            if table.shape != self.cost.node_us.shape:
                raise ValueError(f"one figure for each choice: {self.cost.node_us.shape}")
        if not self.terms or min(self.terms.values()) < 0.0:
            raise ValueError("weights are at least 0, and one is above")

    @property
    def graph(self) -> SlotGraph:
        """The slots and the edges between them."""
        return self.cost.graph

    @property
    def legal(self) -> npt.NDArray[np.bool_]:
        """Which choices have all figures that are known of any; shape (S, K)."""
        known = [np.isfinite(table) for table in self.tables.values()]
        legal: npt.NDArray[np.bool_] = np.all(known, axis=0)
        return legal

    @property
    def drops(self) -> Floats:
        """The sensitivities, or zeros; shape (S, K)."""
        return self.tables[Objective.DROP]

    @property
    def tables(self) -> Mapping[Objective, Floats]:
        """What each choice takes of each figure by itself, zeros where not known; shape (S, K).

        A plan takes the sum over its choices and the constant; its latency conversions, too.
        """
        unknown = np.zeros(self.cost.node_us.shape)
        return {
            Objective.LATENCY: self.cost.node_us,
            Objective.SIZE: self.sizes.astype(np.float64),
            Objective.DROP: unknown if self.sensitivity is None else self.sensitivity,
            Objective.ENERGY: unknown if self.energy is None else self.energy,
        }

    @property
    def constants(self) -> Mapping[Objective, float]:
        """What every plan takes of each figure."""
        return dict.fromkeys(Objective, 0.0) | {
            Objective.LATENCY: self.cost.fixed_us,
            Objective.SIZE: float(self.fixed_size),
        }

    @property
    def terms(self) -> Mapping[Objective, float]:
        """By how much a figure of 1 raises what is minimised."""
        return terms_of(self.objective, self.weights)

    @property
    def trades(self) -> bool:
        """Whether anything but the drop is minimised."""
        return bool(self.terms.keys() - {Objective.DROP})

    def figures(self, plans: Indices) -> Mapping[Objective, Floats]:
        """What each plan takes of each figure.

        Args:
            plans: Indices of choices; shape (B, S).

        Returns:
            An array of shape (B,) for each objective.
        """
        slots, constants = np.arange(plans.shape[1]), self.constants
        return {
            figure: self.cost.price(plans)
            if figure is Objective.LATENCY
            else table[slots, plans].sum(axis=1) + constants[figure]
            for figure, table in self.tables.items()
        }

    def deltas(self, plan: Indices) -> Mapping[Objective, Floats]:
        """What each figure gains when one slot of a plan, shape (S,), changes; shape (S, K)."""
        slots = np.arange(len(plan))
        return {
            figure: self.cost.deltas(plan)
            if figure is Objective.LATENCY
            else table - table[slots, plan][:, None]
            for figure, table in self.tables.items()
        }

    def limit(self, objective: Objective) -> float:
        """The limit on one figure."""
        return self.limits.of(objective)

    def value(self, proposal: Proposal) -> float:
        """What is minimised."""
        return sum(weight * proposal.figure(figure) for figure, weight in self.terms.items())

    def meets(self, proposal: Proposal) -> bool:
        """Whether a proposal is legal and within every limit."""
        return np.isfinite(proposal.predicted_us) and all(
            proposal.figure(figure) <= allowed(self.limit(figure)) for figure in Objective
        )

    def proposal(self, indices: Iterable[int], strategy: str, *, optimal: bool = False) -> Proposal:
        """A plan with its predicted figures."""
        plan = tuple(int(k) for k in indices)
        figures = self.figures(np.array([plan], np.intp))
        drop = None if self.sensitivity is None else float(figures[Objective.DROP][0])
        energy = None if self.energy is None else float(figures[Objective.ENERGY][0])
        return Proposal(
            indices=plan,
            predicted_us=float(figures[Objective.LATENCY][0]),
            predicted_drop=drop,
            size=int(figures[Objective.SIZE][0]),
            strategy=strategy,
            optimal=optimal,
            predicted_uj=energy,
        )

    def within(self, **limits: float) -> Self:
        """The same problem with some limits replaced."""
        return replace(self, limits=replace(self.limits, **limits))

    def plan(self, proposal: Proposal) -> Plan:
        """The plan that a proposal's indices stand for."""
        return self.plan_of(proposal.indices)

    def plan_of(self, indices: Iterable[int]) -> Plan:
        """The plan that indices stand for."""
        pairs = zip(self.graph.slots, indices, strict=True)
        return Plan.of((slot.name, slot.choices[k]) for slot, k in pairs)

    def indices(self, plan: Plan) -> tuple[int, ...]:
        """The indices of a plan; a slot that the plan does not name keeps its first choice."""
        chosen = plan.as_dict()
        return tuple(
            slot.choices.index(chosen.get(slot.name, slot.choices[0])) for slot in self.graph.slots
        )


class Strategy(Protocol):
    """A way to find good plans."""

    @property
    def name(self) -> str:
        """What proposals are signed with."""
        ...

    def propose(self, problem: Problem) -> Iterator[Proposal]:
        """Plans that meet the problem's limits, in any order; none where it finds none."""
        ...


def allowed(limit: float) -> float:
    """A limit with the slack of the solvers."""
    return limit + SLACK * abs(limit) if limit < inf else inf


def fp32_everywhere(problem: Problem) -> Proposal:
    """The plan that changes nothing: the first choice of every slot."""
    return problem.proposal([0] * len(problem.graph.slots), "fp32")


def choices_of(problem: Problem) -> tuple[NodeChoice, ...]:
    """Every choice that some slot has, in a fixed order."""
    return tuple(sorted({choice for slot in problem.graph.slots for choice in slot.choices}))
