"""The sections of a model that one agent gives budgets to."""

import numpy as np

from ...slots import SlotGraph
from ..problem import Indices


def sections(graph: SlotGraph, most: int = 8) -> Indices:
    """Divide slots into runs of about equal length, between single tensors where those are near.

    Args:
        graph: Slots in topological order.
        most: How many runs; fewer where there are fewer slots.

    Returns:
        The run of each slot, from 0 without gaps; shape (S,).
    """
    count = len(graph.slots)
    runs = max(1, min(most, count))
    crossing = _crossing(graph)
    length, cuts = count / runs, set()
    for i in range(1, runs):
        ideal = i * length
        single = np.flatnonzero(crossing[:-1] == 1) + 1
        near = single[np.abs(single - ideal) <= length / 2]
        cuts.add(int(near[np.abs(near - ideal).argmin()]) if len(near) else round(ideal))
    starts = np.array(sorted(cuts), np.intp)
    run: Indices = np.searchsorted(starts, np.arange(count), side="right")
    return run


def _crossing(graph: SlotGraph) -> Indices:
    """How many tensors some slot after each slot reads that were written up to it; shape (S,)."""
    change = np.zeros(len(graph.slots) + 1, np.intp)
    for edge in graph.edges:
        if edge.consumers:
            change[max(edge.producer, 0)] += 1
            change[max(edge.consumers)] -= 1
    crossing: Indices = np.cumsum(change)[:-1]
    return crossing
