"""A development model as the compiler sees it, and random plans of it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from hwc.toolchain.plan import NodeChoice, Plan
from hwc.toolchain.progress import Silent
from hwc.toolchain.slots import SlotGraph
from hwc.tools.request import Request
from hwc.tools.stages.decide import PlanSpace, find_meter, find_space
from hwc.tools.stages.prepare import Prepared, prepare
from hwc.tools.stages.price import Meter
from hwc.tools.stages.target import find_target

from .calibration import arguments
from .devkit import Case


@dataclass(frozen=True, slots=True)
class Subject:
    """One model, ready to be measured.

    Attributes:
        case: The model.
        prepared: After the graph passes.
        space: Its slots, and what writes plans.
        meter: What measures builds of it on this machine.
    """

    case: Case
    prepared: Prepared
    space: PlanSpace
    meter: Meter


def subject(case: Case, folder: Path, table: Path) -> Subject:
    """Load a model, find its slots, and calibrate it on its calibration data."""
    data = arguments(case, folder, labelled=False)[1]
    request = Request(str(case.path), data=data, table=table)
    target = find_target(request)
    prepared = prepare(request, target, Silent())
    space = find_space(request, target, prepared, Silent())
    meter = find_meter(request, target, prepared, space.writer)
    assert meter is not None  # every development model has something to choose
    return Subject(case, prepared, space, meter)


def random_plans(graph: SlotGraph, count: int, seed: int) -> list[Plan]:
    """Mixed plans: by turns every slot for itself, and runs of neighbours alike.

    How many slots leave fp32, and how long the runs are, is drawn anew for each plan.
    """
    rng = np.random.default_rng(seed)
    plans: dict[Plan, None] = {}
    for _ in range(count * 10):
        stay = 0.0 if len(plans) % 2 else rng.uniform(0.4, 0.95)
        plans[_random_plan(graph, rng, stay)] = None
        if len(plans) == count:
            break
    return list(plans)


def _random_plan(graph: SlotGraph, rng: np.random.Generator, stay: float) -> Plan:
    lower = rng.uniform(0.1, 0.9)
    current, pairs = NodeChoice(), []
    for slot in graph.slots:
        if rng.random() >= stay:
            rest = slot.choices[1:]
            drawn = rest[int(rng.integers(len(rest)))] if rest else slot.choices[0]
            current = drawn if rng.random() < lower else slot.choices[0]
        pairs.append((slot.name, current if current in slot.choices else slot.choices[0]))
    return Plan.of(pairs)
