"""The tensors between slots as arrays, so that the format changes of many plans cost one gather."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ..plan import Precision
from ..slots import SlotGraph

FORMATS = (Precision.FP32, Precision.FP16, Precision.BF16, Precision.INT8)
_FP32 = FORMATS.index(Precision.FP32)

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.intp]
Plans = npt.NDArray[np.integer[Any]]


def format_of(precision: Precision) -> Precision:
    """The format of a kernel's activations; 4-bit weights have float activations."""
    return Precision.FP32 if precision is Precision.INT4 else precision


@dataclass(frozen=True, slots=True, eq=False)
class Wiring:
    """E' edges that have a reader, and R pairs of such an edge and a distinct slot that reads it.

    The outside of the graph is slot number S, in fp32.

    Attributes:
        formats: Format index of each slot's choices; shape (S, K), int8.
        edges: Which edges of the graph they are; shape (E',).
        producers: The slot that writes each; shape (E',).
        readers: The slots that read them, edge by edge; shape (R,).
        owners: The edge of each reader, counted in E'; shape (R,).
        starts: Where each edge's readers start; shape (E',).
        conversion_us: Time of all conversions of an edge [edge, producer's format, set of wanted
            formats as a bit mask]; shape (E', F, 2^F).
    """

    formats: npt.NDArray[np.int8]
    edges: Integers
    producers: Integers
    readers: Integers
    owners: Integers
    starts: Integers
    conversion_us: Floats

    @classmethod
    def of(cls, graph: SlotGraph, *, columns: int, boundary_us: Floats) -> Self:
        """Lay out the edges of a graph whose slots have up to `columns` choices."""
        outside = len(graph.slots)
        formats = np.zeros((outside, columns), np.int8)
        for s, slot in enumerate(graph.slots):
            for k, choice in enumerate(slot.choices):
                formats[s, k] = FORMATS.index(format_of(choice.precision))
        readers = [
            (*dict.fromkeys(edge.consumers), *((outside,) if edge.is_output else ()))
            for edge in graph.edges
        ]
        edges = np.array([e for e, slots in enumerate(readers) if slots], np.intp)
        producers = np.array([graph.edges[e].producer for e in edges], np.intp)
        counts = np.array([len(readers[e]) for e in edges], np.intp)
        return cls(
            formats=formats,
            edges=edges,
            producers=np.where(producers < 0, outside, producers),
            readers=np.array([slot for e in edges for slot in readers[e]], np.intp),
            owners=np.repeat(np.arange(len(edges)), counts),
            starts=np.cumsum(counts) - counts,
            conversion_us=_conversions(boundary_us[edges]),
        )

    def formats_of(self, plans: Plans) -> npt.NDArray[np.int8]:
        """The format index of every slot and, in the last row, of the outside.

        Args:
            plans: One plan a column; shape (S, B).

        Returns:
            Shape (S + 1, B).
        """
        formats = np.full((len(plans) + 1, plans.shape[1]), _FP32, np.int8)
        formats[:-1] = self.formats[np.arange(len(plans))[:, None], plans]
        return formats

    def wanted(self, formats: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
        """Which formats the readers of each edge want, as bit masks; shape (E', B)."""
        bits = np.left_shift(1, formats, dtype=np.uint8, casting="unsafe")
        masks: npt.NDArray[np.uint8] = np.bitwise_or.reduceat(bits[self.readers], self.starts, 0)
        return masks

    def price(self, plans: Plans) -> Floats:
        """The time of all conversions of each plan (a column of shape (S, B)); shape (B,)."""
        formats = self.formats_of(plans)
        wanted = self.wanted(formats)
        edges = np.arange(len(wanted))[:, None]
        total: Floats = self.conversion_us[edges, formats[self.producers], wanted].sum(axis=0)
        return total

    def deltas(self, plan: Plans) -> Floats:
        """What the conversions of a plan gain when one slot changes to a format; shape (S, F)."""
        formats = self.formats_of(plan[:, None])[:, 0]
        wanted = self.wanted(formats[:, None])[:, 0]
        before = formats[self.producers]
        count = np.arange(len(FORMATS))
        edges = np.arange(len(wanted))
        now = self.conversion_us[edges, before, wanted]
        change = np.zeros((len(plan) + 1, len(FORMATS)))
        as_producer = self.conversion_us[edges[:, None], count, wanted[:, None]] - now[:, None]
        np.add.at(change, self.producers, as_producer)

        own = formats[self.readers]
        alike = np.zeros((len(edges), len(FORMATS)), np.intp)
        np.add.at(alike, (self.owners, own), 1)
        alone = alike[self.owners, own] == 1  # nobody else wants the format that it gives up
        others = wanted[self.owners] & ~np.where(alone, 1 << own, 0)
        masks = others[:, None] | (1 << count)
        as_reader = self.conversion_us[self.owners[:, None], before[self.owners, None], masks]
        np.add.at(change, self.readers, as_reader - now[self.owners, None])
        return change[:-1]


def _conversions(boundary_us: Floats) -> Floats:
    """The time of each set of conversions: from (E', F, F) to (E', F, 2^F)."""
    count = len(FORMATS)
    total = np.zeros((len(boundary_us), count, 1 << count))
    for before in range(count):
        for mask in range(1 << count):
            after = [f for f in range(count) if mask >> f & 1 and f != before]
            total[:, before, mask] = boundary_us[:, before, after].sum(axis=1)
    return total
