"""Which builds to measure: one a precision, and mixed ones that show what the boundaries cost."""

from collections.abc import Sequence

import numpy as np

from ..plan import NodeChoice, Plan, Precision
from ..slots import SlotGraph

MIXED_COMPILE = 4  # mixed probes that a compilation makes for a model without measured rows
MIXED_PROFILE = 10  # those of `hwc profile`, whose rows others rest on
_HELD_OUT = 1  # a seed that no probe is drawn with
_SWITCH = 0.35  # chance that a mixed probe changes precision from one slot to the next


def probe_plans(graph: SlotGraph, mixed: int = MIXED_COMPILE, seed: int = 0) -> list[Plan]:
    """The builds worth measuring; the first is all fp32, and more probes begin with the fewer."""
    seen = {c.precision for slot in graph.slots for c in slot.choices}
    precisions = sorted(seen | {Precision.FP32})
    plans = [uniform(graph, precision) for precision in precisions]
    if len(precisions) > 1:
        rng = np.random.default_rng(seed)
        plans += [_mixed(graph, precisions, rng) for _ in range(mixed)]
    return list(dict.fromkeys(plans))


def held_out(graph: SlotGraph, count: int) -> list[Plan]:
    """Mixed plans that are no probes: what a table predicts of them can be checked."""
    probes = set(probe_plans(graph, MIXED_PROFILE))
    drawn = probe_plans(graph, MIXED_PROFILE + count, seed=_HELD_OUT)
    return [plan for plan in drawn if plan not in probes][:count]


def uniform(graph: SlotGraph, precision: Precision) -> Plan:
    """Every slot in one precision, or in fp32 where it has no such choice."""
    choice = NodeChoice(precision)
    return Plan.of((s.name, choice if choice in s.choices else s.choices[0]) for s in graph.slots)


def _mixed(graph: SlotGraph, precisions: Sequence[Precision], rng: np.random.Generator) -> Plan:
    """Runs of neighbouring slots in one precision, at random."""
    current = precisions[int(rng.integers(len(precisions)))]
    pairs = []
    for slot in graph.slots:
        if rng.random() < _SWITCH:
            current = precisions[int(rng.integers(len(precisions)))]
        choice = NodeChoice(current)
        pairs.append((slot.name, choice if choice in slot.choices else slot.choices[0]))
    return Plan.of(pairs)
