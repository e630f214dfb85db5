"""Sites of structure as a search problem: what is timed together, and every strategy on it."""

from collections.abc import Sequence

import numpy as np
import pytest
from hwc.toolchain.origin import Origin
from hwc.toolchain.plan import NodeChoice, Plan
from hwc.toolchain.search.exact import Exact
from hwc.toolchain.search.ledger import Ledger
from hwc.toolchain.search.problem import Limits, Objective, Problem
from hwc.toolchain.structure.site import (
    Bill,
    Change,
    Part,
    Site,
    apart,
    site_costs,
    whole_kernels,
)
from hwc.tools.strategies import explorer

COUNT = 8
CHOICES = (NodeChoice(), NodeChoice(keep=0.5), NodeChoice(keep=0.0))


def site(*nodes: str, change: Change = Change.CHANNELS) -> Site:
    return Site(change, nodes[0], CHOICES, frozenset(nodes))


def bill(*shares: float) -> Bill:
    parts = [Part(frozenset({f"n{i}"}), 10 * share, 100) for i, share in enumerate(shares)]
    return Bill(tuple(parts), 5.0, Origin.MEASURED)


def problem() -> Problem:
    sites = [site(f"n{i}") for i in range(COUNT)]
    variants = {(i, k): bill(*[1 - k / 2] * COUNT) for i in range(COUNT) for k in (1, 2)}
    cost, weights = site_costs(sites, bill(*[1.0] * COUNT), variants)
    losses = np.random.default_rng(0).random((COUNT, 3)).cumsum(axis=1)
    losses[:, 0] = 0.0
    return Problem(cost, weights * 4, losses, Limits(latency_us=60.0), Objective.DROP)


def test_costs_add_up_to_the_whole() -> None:
    cost = problem().cost
    assert cost.price(np.zeros((1, COUNT), np.intp))[0] == pytest.approx(10.0 * COUNT + 5.0)
    assert cost.price(np.full((1, COUNT), 2))[0] == pytest.approx(5.0)


def test_a_kernel_that_two_sites_touch_is_paid_once() -> None:
    sites = whole_kernels([site("n0"), site("n1")], bill(1.0, 1.0))
    both = Bill((Part(frozenset({"n0", "n1"}), 7.0, 1),), 1.0, Origin.ESTIMATED)
    wide = whole_kernels(sites, both)
    assert wide[0].nodes == wide[1].nodes == {"n0", "n1"}
    cost, _ = site_costs(wide, both, {(i, k): both for i in (0, 1) for k in (1, 2)})
    assert cost.price(np.zeros((1, 2), np.intp))[0] == pytest.approx(8.0)


def test_sites_that_share_a_node_are_not_changed_in_one_build() -> None:
    sites = [site("a", "b"), site("b", "c"), site("d"), site("c", "e"), site("a")]
    assert apart(sites) == [[0, 2, 3], [1, 4]]


def test_a_node_can_be_two_sites() -> None:
    names = {site("a", change=change).name for change in Change}
    assert len(names) == len(Change)


@pytest.mark.parametrize("name", ["rl", "local", "evolution", "random", "hierarchical", "greedy"])
def test_every_search_stays_within_the_limit_and_is_no_worse_than_exact(name: str) -> None:
    asked = problem()

    def judge(plans: Sequence[Plan]) -> list[float]:
        rows = [asked.indices(plan) for plan in plans]
        return [float(asked.drops[np.arange(COUNT), row].sum()) for row in rows]

    ledger = Ledger(asked, judge, 40)
    explorer(name).explore(ledger, np.random.default_rng(0))
    assert all(trial.us <= 60.0 + 1e-6 for trial in ledger.trials)
    (exact,) = Exact().propose(asked)
    assert ledger.best is not None
    if name in {"rl", "local", "evolution"}:
        assert ledger.best.loss == pytest.approx(exact.predicted_drop)
