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


@dataclass(frozen=True, slots=True)
class Limits:
    """What a plan may take at most; infinite where there is no limit.

    Attributes:
        drop: Summed sensitivity.
        latency_us: Predicted latency, in microseconds.
        size: Bytes.
    """

    drop: float = inf
    latency_us: float = inf
    size: float = inf


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
    """

    indices: tuple[int, ...]
    predicted_us: float
    predicted_drop: float | None
    size: int
    strategy: str
    optimal: bool = False

    def figure(self, objective: Objective) -> float:
        """The figure that an objective minimises."""
        match objective:
            case Objective.LATENCY:
                return self.predicted_us
            case Objective.SIZE:
                return self.size
            case Objective.DROP:
                return self.predicted_drop or 0.0


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
    """

    cost: CostModel
    sizes: npt.NDArray[np.int64]
    sensitivity: Floats | None = None
    limits: Limits = field(default_factory=Limits)
    objective: Objective = Objective.LATENCY
    fixed_size: int = 0

    def __post_init__(self) -> None:
        for array in (self.sizes, self.sensitivity):
            if array is not None and array.shape != self.cost.node_us.shape:
                raise ValueError(f"one figure for each choice: {self.cost.node_us.shape}")

    @property
    def graph(self) -> SlotGraph:
        """The slots and the edges between them."""
        return self.cost.graph

    @property
    def legal(self) -> npt.NDArray[np.bool_]:
        """Which choices have a time and, where it was measured, a sensitivity; shape (S, K)."""
        return np.isfinite(self.cost.node_us) & np.isfinite(self.drops)

    @property
    def drops(self) -> Floats:
        """The sensitivities, or zeros; shape (S, K)."""
        if self.sensitivity is None:
            return np.zeros(self.cost.node_us.shape)
        return self.sensitivity

    def figures(self, plans: Indices) -> Mapping[Objective, Floats]:
        """Latency, size and drop of each plan.

        Args:
            plans: Indices of choices; shape (B, S).

        Returns:
            An array of shape (B,) for each objective.
        """
        slots = np.arange(plans.shape[1])
        return {
            Objective.LATENCY: self.cost.price(plans),
            Objective.SIZE: self.sizes[slots, plans].sum(axis=1) + float(self.fixed_size),
            Objective.DROP: self.drops[slots, plans].sum(axis=1),
        }

    def limit(self, objective: Objective) -> float:
        """The limit on one figure."""
        match objective:
            case Objective.LATENCY:
                return self.limits.latency_us
            case Objective.SIZE:
                return self.limits.size
            case Objective.DROP:
                return self.limits.drop

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
        return Proposal(
            indices=plan,
            predicted_us=float(figures[Objective.LATENCY][0]),
            predicted_drop=drop,
            size=int(figures[Objective.SIZE][0]),
            strategy=strategy,
            optimal=optimal,
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
