"""Every strategy takes a dense and a sparse choice of one precision for what they are."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hwc.toolchain.latency.cost import CostModel
from hwc.toolchain.latency.wiring import FORMATS
from hwc.toolchain.origin import Origin
from hwc.toolchain.plan import NodeChoice, Plan, Precision, Sparsity
from hwc.toolchain.search.feasible import by_bits
from hwc.toolchain.search.ledger import Ledger
from hwc.toolchain.search.problem import Objective, Problem
from hwc.toolchain.search.typical import typical
from hwc.toolchain.slots import Edge, Slot, SlotGraph, Work
from hwc.tools.strategies import PROPOSERS, explorer

INT8, SPARSE = NodeChoice(Precision.INT8), NodeChoice(Precision.INT8, Sparsity.TWO_FOUR)
CHOICES = (NodeChoice(), NodeChoice(Precision.FP16), INT8, SPARSE)
SLOTS = 4
US = (10.0, 6.0, 4.0, 3.0)
LOSS = (0.0, 0.001, 0.01, 0.03)
EXPLORERS = ("evolution", "local", "random", "ddpg", "hierarchical", "joint", "rl")
LIMIT = 15.5  # 3 + 4 + 4 + 4 us: only with one sparse kernel


def toy() -> Problem:
    """Four equal kernels in a chain whose formats change for nothing."""
    slots = tuple(
        Slot(f"s{i}", "Conv", ((f"s{i}",),), (), (), (), "k", "conv", Work(9, 9, 9, 9), CHOICES)
        for i in range(SLOTS)
    )
    edges = tuple(
        Edge(f"t{i}", i, (i + 1,) if i + 1 < SLOTS else (), 9, is_output=i + 1 == SLOTS)
        for i in range(SLOTS)
    )
    graph = SlotGraph(slots, (Edge("x", -1, (0,), 9), *edges))
    node_us = np.tile(np.array(US), (SLOTS, 1))
    boundary_us = np.zeros((len(graph.edges), len(FORMATS), len(FORMATS)))
    cost = CostModel(
        graph,
        node_us,
        boundary_us,
        np.full(node_us.shape, Origin.ESTIMATED),
        np.full(boundary_us.shape, Origin.ESTIMATED),
    )
    sizes = np.tile([choice.weight_bits for choice in CHOICES], (SLOTS, 1))
    losses = np.tile(np.array(LOSS), (SLOTS, 1))
    problem = Problem(cost, sizes, losses, objective=Objective.DROP)
    return problem.within(latency_us=LIMIT)


def judge(plans: Sequence[Plan]) -> list[float]:
    """True losses: they add up, and the last slot bears sparsity best."""
    share = {"s3": 0.5}
    return [
        sum(LOSS[CHOICES.index(choice)] * share.get(name, 1.0) for name, choice in plan.choices)
        for plan in plans
    ]


@pytest.mark.parametrize("name", [*PROPOSERS, *EXPLORERS])
def test_a_plan_within_the_limit_is_found(name: str) -> None:
    if name in {"ddpg", "joint"}:
        pytest.importorskip("sb3_contrib")  # they learn with the extra [rl]
    problem = toy()
    ledger = Ledger(problem, judge, 8)
    explorer(name).explore(ledger, np.random.default_rng(0))
    plans = [problem.plan_of(trial.indices) for trial in ledger.trials]
    assert plans
    assert all(SPARSE in plan.as_dict().values() for plan in plans)  # no other is fast enough


def test_the_exact_plan_has_one_sparse_kernel() -> None:
    problem = toy()
    (proposal, *_) = PROPOSERS["exact"]().propose(problem)
    assert problem.plan_of(proposal.indices).counts() == {"int8": 3, "int8 2:4": 1}


def test_what_is_not_offered_is_never_chosen() -> None:
    problem = toy()
    node_us = problem.cost.node_us.copy()
    node_us[:, CHOICES.index(SPARSE)] = np.inf
    problem = replace(problem, cost=replace(problem.cost, node_us=node_us)).within(latency_us=16.5)
    (proposal, *_) = PROPOSERS["exact"]().propose(problem)
    assert problem.plan_of(proposal.indices).counts() == {"int8": 4}


def test_unmeasured_sparsity_is_taken_to_lose_more_than_rounding() -> None:
    for table in (by_bits(toy()), typical(toy().graph)):
        assert (table[:, CHOICES.index(SPARSE)] > 2 * table[:, CHOICES.index(INT8)]).all()
