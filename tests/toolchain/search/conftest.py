"""Random search problems small enough for brute force."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
from hwc.toolchain.latency.cost import CostModel
from hwc.toolchain.latency.wiring import FORMATS
from hwc.toolchain.origin import Origin
from hwc.toolchain.plan import NodeChoice, Plan, Precision
from hwc.toolchain.search.ledger import Ledger
from hwc.toolchain.search.problem import Floats, Indices, Objective, Problem
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
    energy = rng.exponential(100.0, (count, columns))
    return Problem(cost, sizes, drops, fixed_size=500, energy=energy)


@pytest.fixture(scope="session")
def random_problem() -> Callable[..., Problem]:
    """Makes the problem of a seed, with no limits and a number of slots."""
    return _problem


@dataclass(frozen=True)
class Coupled:
    """A problem whose true losses do not add up, small enough to try every plan.

    Each choice adds an error vector to the output, and the loss is the square of their sum: errors
    of different slots may cancel or reinforce each other. The sensitivities are those of single
    choices, as a sweep would measure them.

    Attributes:
        problem: The least loss within a latency is sought.
        errors: Shape (S, K, D).
    """

    problem: Problem
    errors: npt.NDArray[np.float64]

    @classmethod
    def make(cls, seed: int, slots: int = 7, room: float = 0.4) -> "Coupled":
        """A problem of a seed; `room` is where the limit is, from the fastest plan to fp32."""
        problem = _problem(seed, slots)
        rng = np.random.default_rng(seed)
        sizes = np.sqrt(np.nan_to_num(problem.drops))[..., None]
        directions = rng.standard_normal((*problem.drops.shape, 4)) + 0.5  # with a common part
        errors = sizes * directions / np.linalg.norm(directions, axis=2, keepdims=True)
        times = problem.cost.price(_every_plan(problem))
        plain = problem.cost.price(np.zeros((1, slots), np.intp))[0]
        limit = times.min() + room * (plain - times.min())
        limited = replace(problem, objective=Objective.DROP).within(latency_us=float(limit))
        return cls(limited, errors)

    def losses(self, plans: Indices) -> Floats:
        """True losses; shape (B,) for plans of shape (B, S)."""
        total = self.errors[np.arange(plans.shape[1]), plans].sum(axis=1)
        squares: Floats = (total**2).sum(axis=1)
        return squares

    def judge(self, plans: Sequence[Plan]) -> list[float]:
        """True losses, as a ledger asks for them."""
        rows = np.array([self.problem.indices(plan) for plan in plans], np.intp)
        return [float(loss) for loss in self.losses(rows)]

    def ledger(self, budget: int) -> Ledger:
        """A ledger for this problem."""
        return Ledger(self.problem, self.judge, budget)

    def feasible(self) -> Indices:
        """All plans within the limit; shape (N, S)."""
        plans = _every_plan(self.problem)
        return plans[self.problem.cost.price(plans) <= self.problem.limits.latency_us]

    def least(self) -> float:
        """The least loss that there is within the limit."""
        return float(self.losses(self.feasible()).min())


@pytest.fixture(scope="session")
def coupled() -> Callable[..., Coupled]:
    """Makes a problem whose losses do not add up."""
    return cache(Coupled.make)


def _every_plan(problem: Problem) -> Indices:
    choices = (range(len(slot.choices)) for slot in problem.graph.slots)
    return np.array(list(itertools.product(*choices)))


@pytest.fixture(scope="session")
def every_plan() -> Callable[[Problem], Indices]:
    """Makes all plans of a problem; shape (plans, S)."""
    return _every_plan
