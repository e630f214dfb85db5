"""Which builds to measure: one a precision, and mixed ones that show what the boundaries cost."""

from collections.abc import Sequence

import numpy as np

from ..plan import NodeChoice, Plan, Precision
from ..slots import Slot, SlotGraph

MIXED_COMPILE = 4  # mixed probes that a compilation makes for a model without measured rows
MIXED_PROFILE = 10  # those of `hwc profile`, whose rows others rest on
_HELD_OUT = 1  # a seed that no probe is drawn with
_SWITCH = 0.35  # chance that a mixed probe changes precision from one slot to the next


def probe_plans(graph: SlotGraph, mixed: int = MIXED_COMPILE, seed: int = 0) -> list[Plan]:
    """The builds worth measuring; the first is all fp32, and more probes begin with the fewer."""
    seen = {c.computed for slot in graph.slots for c in slot.choices} | {NodeChoice()}
    kinds = sorted(seen, key=lambda choice: choice.kernel)
    plans = [_everywhere(graph, choice) for choice in kinds]
    if len(kinds) > 1:
        rng = np.random.default_rng(seed)
        plans += [_mixed(graph, kinds, rng) for _ in range(mixed)]
    return list(dict.fromkeys(plans))


def held_out(graph: SlotGraph, count: int) -> list[Plan]:
    """Mixed plans that are no probes: what a table predicts of them can be checked."""
    probes = set(probe_plans(graph, MIXED_PROFILE))
    drawn = probe_plans(graph, MIXED_PROFILE + count, seed=_HELD_OUT)
    return [plan for plan in drawn if plan not in probes][:count]


def uniform(graph: SlotGraph, precision: Precision) -> Plan:
    """Every slot in one precision, or in fp32 where it has no such choice."""
    return _everywhere(graph, NodeChoice(precision))


def _everywhere(graph: SlotGraph, choice: NodeChoice) -> Plan:
    """Every slot in one choice, or in what is nearest to it."""
    return Plan.of((slot.name, _nearest(slot, choice)) for slot in graph.slots)


def _mixed(graph: SlotGraph, kinds: Sequence[NodeChoice], rng: np.random.Generator) -> Plan:
    """Runs of neighbouring slots in one kind of kernel, at random."""
    current = kinds[int(rng.integers(len(kinds)))]
    pairs = []
    for slot in graph.slots:
        if rng.random() < _SWITCH:
            current = kinds[int(rng.integers(len(kinds)))]
        pairs.append((slot.name, _nearest(slot, current)))
    return Plan.of(pairs)


def _nearest(slot: Slot, choice: NodeChoice) -> NodeChoice:
    """The choice itself, else its precision with all weights, else fp32."""
    wanted = (choice, NodeChoice(choice.precision), slot.choices[0])
    return next(it for it in wanted if it in slot.choices)
