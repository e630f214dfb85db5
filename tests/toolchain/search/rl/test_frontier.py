"""The automaton charges what the cost model charges, for every plan."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hwc.toolchain.latency.cost import CostModel
from hwc.toolchain.search.problem import Floats, Indices, Problem
from hwc.toolchain.search.rl.frontier import Frontier
from hwc.toolchain.slots import Edge
from hypothesis import given, settings
from hypothesis import strategies as st

MakeProblem = Callable[..., Problem]
EveryPlan = Callable[[Problem], Indices]


def charged(problem: Problem, frontier: Frontier, plans: Indices) -> Floats:
    """The price of each plan by walking the states."""
    state = np.zeros(len(plans), np.intp)
    total = np.full(len(plans), problem.cost.fixed_us)
    for slot, chosen in enumerate(plans.T):
        assert (state >= frontier.starts[slot]).all()
        assert (state < frontier.starts[slot + 1]).all()
        formats = problem.cost.wiring.formats[slot, chosen]
        total += problem.cost.node_us[slot, chosen] + frontier.boundary_us[state, formats]
        state = frontier.after[state, formats]
    assert (state == frontier.starts[-1]).all()
    return total


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), slots=st.integers(1, 6))
def test_every_plan_is_charged_its_price(
    random_problem: MakeProblem, every_plan: EveryPlan, *, seed: int, slots: int
) -> None:
    problem = random_problem(seed, slots)
    plans = every_plan(problem)
    frontier = Frontier.of(problem)
    assert frontier.exact
    np.testing.assert_allclose(charged(problem, frontier, plans), problem.cost.price(plans))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), slots=st.integers(1, 6), most=st.integers(1, 6))
def test_settled_tensors_are_never_charged_too_little_and_the_reference_exactly(
    random_problem: MakeProblem, every_plan: EveryPlan, *, seed: int, slots: int, most: int
) -> None:
    problem = random_problem(seed, slots)
    plans = every_plan(problem)
    reference = plans[seed % len(plans)]
    frontier = Frontier.of(problem, reference, most=most)
    assert np.diff(frontier.starts).max() <= most
    true, paid = problem.cost.price(plans), charged(problem, frontier, plans)
    assert (paid >= true - 1e-9).all()
    assert charged(problem, frontier, reference[None])[0] == pytest.approx(
        problem.cost.price(reference[None])[0]
    )
    if frontier.exact:
        np.testing.assert_allclose(paid, true)


def test_a_chain_needs_one_state_for_each_format_of_the_last_tensor(
    random_problem: MakeProblem,
) -> None:
    problem = random_problem(1, 8)
    edges = tuple(
        replace(edge, consumers=edge.consumers[:1], is_output=edge.producer == 7)
        for edge in problem.graph.edges
    )
    chain = of_edges(problem, edges)
    states = np.diff(Frontier.of(chain).starts)
    for slot, count in enumerate(states[1:]):
        formats = set(chain.cost.wiring.formats[slot][chain.legal[slot]].tolist())
        assert count <= len(formats)


def of_edges(problem: Problem, edges: tuple[Edge, ...]) -> Problem:
    """The same slots with other edges between them."""
    cost = problem.cost
    graph = replace(cost.graph, edges=edges)
    return replace(
        problem,
        cost=CostModel(
            graph, cost.node_us, cost.boundary_us, cost.node_source, cost.boundary_source
        ),
    )


def test_slots_out_of_order_are_refused(random_problem: MakeProblem) -> None:
    problem = random_problem(1, 3)
    first, second, *others = problem.graph.edges
    backwards = replace(second, producer=2, consumers=(0,))
    with pytest.raises(ValueError, match="topological"):
        Frontier.of(of_edges(problem, (first, backwards, *others)))


def test_a_slot_without_a_legal_choice_is_refused(random_problem: MakeProblem) -> None:
    problem = random_problem(1, 3)
    problem.cost.node_us[1] = np.inf
    with pytest.raises(ValueError, match="slot 1"):
        Frontier.of(problem)
