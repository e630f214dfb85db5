"""Random search problems small enough for brute force."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hwc.toolchain.latency.cost import CostModel
from hwc.toolchain.latency.wiring import FORMATS
from hwc.toolchain.origin import Origin
from hwc.toolchain.plan import NodeChoice, Precision
from hwc.toolchain.search.problem import Indices, Problem
from hwc.toolchain.slots import Edge, Slot, SlotGraph, Work

LOWER = (Precision.INT8, Precision.FP16, Precision.INT4)


def _slots(rng: np.random.Generator, count: int) -> tuple[Slot, ...]:
    """Slots with one to four choices."""
    slots = []
    for i in range(count):
        lower = [p for p in LOWER if rng.random() < 0.6]
        choices = tuple(NodeChoice(p) for p in (Precision.FP32, *lower))
        name, work = f"s{i}", Work(1, 1, 1, 1)
        slots.append(Slot(name, "Conv", ((name,),), (), (), (), name, "conv", work, choices))
    return tuple(slots)


def _edges(rng: np.random.Generator, count: int) -> tuple[Edge, ...]:
    """A chain with branches, from an input to an output."""
    edges = [Edge("x", -1, (0,), 100)]
    for producer in range(count):
        later = np.arange(producer + 1, count)
        extra = {int(s) for s in later[rng.random(len(later)) < 0.25]}
        readers = tuple(sorted(extra | ({producer + 1} if producer + 1 < count else set())))
        output = producer == count - 1 or bool(rng.random() < 0.1)
        edges.append(Edge(f"t{producer}", producer, readers, 100, output))
    return tuple(edges)


def _problem(seed: int, count: int = 5) -> Problem:
    rng = np.random.default_rng(seed)
    graph = SlotGraph(_slots(rng, count), _edges(rng, count))
    columns = max(len(slot.choices) for slot in graph.slots)
    node_us = rng.uniform(1.0, 10.0, (count, columns)) * (rng.random((count, 1)) < 0.8)
    node_us[:, 1:] *= 0.6  # lower precision tends to be faster
    drops = rng.exponential(0.01, (count, columns)) * (rng.random((count, columns)) < 0.8)
    drops[:, 0] = 0.0
    for s, slot in enumerate(graph.slots):
        node_us[s, len(slot.choices) :] = np.inf
        drops[s, len(slot.choices) :] = np.nan
    boundary_us = rng.uniform(0.0, 2.0, (len(graph.edges), len(FORMATS), len(FORMATS)))
    cost = CostModel(
        graph,
        node_us,
        boundary_us,
        np.full(node_us.shape, Origin.MEASURED),
        np.full(boundary_us.shape, Origin.MEASURED),
        fixed_us=2.0,
    )
    sizes = rng.integers(1, 1000, (count, columns))
    return Problem(cost, sizes, drops, fixed_size=500)


@pytest.fixture(scope="session")
def random_problem() -> Callable[..., Problem]:
    """Makes the problem of a seed, with no limits and a number of slots."""
    return _problem


@pytest.fixture(scope="session")
def every_plan() -> Callable[[Problem], Indices]:
    """Makes all plans of a problem; shape (plans, S)."""

    def plans(problem: Problem) -> Indices:
        choices = (range(len(slot.choices)) for slot in problem.graph.slots)
        return np.array(list(itertools.product(*choices)))

    return plans
