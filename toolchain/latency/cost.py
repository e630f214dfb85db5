"""The cost model: what a plan takes in microseconds, kernels and changes of format together."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ..origin import Origin
from ..plan import NodeChoice, Precision
from ..slots import SlotGraph
from .wiring import FORMATS, Floats, Plans, Wiring

_CHUNK = 1 << 17  # slots priced at once: the temporary arrays stay in cache


@dataclass(frozen=True, slots=True)
class SlotCost:
    """What one slot takes under its choice."""

    slot: str
    choice: NodeChoice
    us: float
    source: Origin


@dataclass(frozen=True, slots=True)
class BoundaryCost:
    """What one conversion of one tensor takes."""

    tensor: str
    before: Precision
    after: Precision
    us: float
    source: Origin


@dataclass(frozen=True, slots=True)
class Breakdown:
    """Where a plan's time goes.

    Attributes:
        slots: One for each slot, in order.
        boundaries: One for each conversion that the plan needs.
        fixed_us: What every plan pays.
    """

    slots: tuple[SlotCost, ...]
    boundaries: tuple[BoundaryCost, ...]
    fixed_us: float

    @property
    def total_us(self) -> float:
        """The plan's price."""
        slots, boundaries = sum(c.us for c in self.slots), sum(c.us for c in self.boundaries)
        return slots + boundaries + self.fixed_us


@dataclass(frozen=True, slots=True, eq=False)
class CostModel:
    """Prices plans: S slots with up to K choices each, E edges, F = len(FORMATS) formats.

    A plan is one row of indices into `Slot.choices`, so a row of zeros is all fp32. On each edge,
    each format that differs from the producer's and that any consumer wants costs one conversion,
    which all its consumers share. Inputs of the graph come in fp32 and its outputs leave in fp32.

    Attributes:
        graph: The slots and the edges between them.
        node_us: Time of each slot under each choice; shape (S, K), infinite where there is no such
            choice.
        boundary_us: Time of a conversion [edge, from, to]; shape (E, F, F), finite.
        node_source: A `Origin` for each of `node_us`.
        boundary_source: A `Origin` for each of `boundary_us`.
        fixed_us: What every plan pays.
        wiring: How the edges tie the slots together; derived.
    """

    graph: SlotGraph
    node_us: Floats
    boundary_us: Floats
    node_source: npt.NDArray[np.str_]
    boundary_source: npt.NDArray[np.str_]
    fixed_us: float = 0.0
    wiring: Wiring = field(init=False, repr=False)

    def __post_init__(self) -> None:
        slots, edges = len(self.graph.slots), len(self.graph.edges)
        shape = (slots, self.node_us.shape[-1])
        between = (edges, len(FORMATS), len(FORMATS))
        if self.node_us.shape != shape or self.node_source.shape != shape:
            raise ValueError(f"node_us and node_source must have {slots} rows")
        if self.boundary_us.shape != between or self.boundary_source.shape != between:
            raise ValueError(f"boundary_us and boundary_source must have shape {between}")
        if not ((self.boundary_us >= 0.0) & np.isfinite(self.boundary_us)).all():
            raise ValueError("a conversion takes a finite time, not below 0")
        wiring = Wiring.of(self.graph, columns=shape[1], boundary_us=self.boundary_us)
        object.__setattr__(self, "wiring", wiring)

    def price(self, plans: Plans) -> Floats:
        """The time of each plan, infinite for one with an illegal choice.

        Args:
            plans: Indices of choices; shape (B, S).

        Returns:
            Microseconds; shape (B,).
        """
        prices = np.empty(len(plans))
        slots = np.arange(plans.shape[1])[:, None]
        step = max(1, _CHUNK // max(1, len(slots)))
        for start in range(0, len(plans), step):
            part = np.ascontiguousarray(plans[start : start + step].T)  # gathers whole rows
            nodes = self.node_us[slots, part].sum(axis=0)
            prices[start : start + step] = nodes + self.wiring.price(part) + self.fixed_us
        return prices

    def deltas(self, plan: Plans) -> Floats:
        """What the price gains when one slot of a legal plan changes to a choice.

        Args:
            plan: Shape (S,).

        Returns:
            Microseconds, negative where it gets faster; shape (S, K).
        """
        slots = np.arange(len(plan))
        formats = self.wiring.deltas(plan)[slots[:, None], self.wiring.formats]
        total: Floats = self.node_us - self.node_us[slots, plan][:, None] + formats
        return total

    def explain(self, plan: Plans) -> Breakdown:
        """Where the time of one plan (shape (S,)) goes; sums to its price."""
        wiring = self.wiring
        formats = wiring.formats_of(np.asarray(plan)[:, None])
        wanted = wiring.wanted(formats)[:, 0]
        boundaries = [
            BoundaryCost(
                self.graph.edges[edge].tensor,
                FORMATS[before],
                FORMATS[after],
                float(self.boundary_us[edge, before, after]),
                Origin(self.boundary_source[edge, before, after]),
            )
            for edge, before, mask in zip(
                wiring.edges, formats[wiring.producers, 0], wanted, strict=True
            )
            for after in range(len(FORMATS))
            if mask >> after & 1 and after != before
        ]
        slots = [
            SlotCost(
                slot.name,
                slot.choices[k],
                float(self.node_us[s, k]),
                Origin(self.node_source[s, k]),
            )
            for s, (slot, k) in enumerate(zip(self.graph.slots, plan, strict=True))
        ]
        return Breakdown(tuple(slots), tuple(boundaries), self.fixed_us)
