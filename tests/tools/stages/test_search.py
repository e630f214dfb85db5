"""Which plans are brought before the gate, and how many are run to find them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest
from hwc.toolchain.accuracy.evaluator import Reference
from hwc.toolchain.accuracy.metrics import choose_metric
from hwc.toolchain.errors import ConstraintError
from hwc.toolchain.latency.cost import CostModel
from hwc.toolchain.latency.measure import Measurement
from hwc.toolchain.plan import Plan
from hwc.toolchain.progress import Progress, Silent
from hwc.toolchain.search.problem import Problem
from hwc.tools.stages import price as stage
from hwc.tools.stages.decide import Decisions, decide, reference
from hwc.tools.stages.explore import evaluator
from hwc.tools.stages.problem import weight_bytes
from hwc.tools.stages.search import PlanSearch, Searched

if TYPE_CHECKING:
    from hwc.tests.tools.stages.conftest import Begun
    from hwc.tools.stages.price import Meter

Begin = Callable[..., "Begun"]


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "RUNS", 2)


def decisions_with(begun: "Begun", faster: float) -> Decisions:
    """Decisions in which every lower precision takes so much of the time that fp32 takes."""
    decisions = decide(begun.request, begun.target, begun.prepared, Silent())
    cost = decisions.cost
    times = np.where(np.isfinite(cost.node_us), 100.0 * faster, np.inf)
    times[:, 0] = 100.0
    cost = replace(cost, node_us=times, boundary_us=np.zeros_like(cost.boundary_us))
    return replace(decisions, cost=cost, meter=None)


def searched(begun: "Begun", decisions: Decisions) -> Searched:
    """Search with a metric of agreement."""
    part = Reference.of(reference(begun.prepared.original), begun.prepared.splits.search, "search")
    metric = choose_metric("auto", part.outputs, labelled=False, max_drop=begun.request.max_drop)
    scored = evaluator(decisions, part, metric, 1)
    return PlanSearch(begun.request, begun.prepared, decisions, scored, Silent()).run()


def test_bytes_of_weights(begin: Begin) -> None:
    begun = begin("a100")
    decisions = decide(begun.request, begun.target, begun.prepared, Silent())
    table = weight_bytes(decisions.slots)
    for row, slot in zip(table, decisions.slots.slots, strict=True):
        sizes = {c.precision.value: int(size) for c, size in zip(slot.choices, row, strict=False)}
        count = slot.work.weights
        bits = {"fp32": 32, "fp16": 16, "bf16": 16, "int8": 8, "int4": 4}
        assert sizes == {name: count * bits[name] // 8 for name in sizes}
    assert table.sum(axis=0)[0] == 4 * (64 * 32 + 32 + 32 * 8)


def test_the_fastest_is_tried_first_and_needs_no_sensitivities(begin: Begin) -> None:
    begun = begin(max_drop=0.9)
    found = searched(begun, decisions_with(begun, 0.5))
    assert found.problem.sensitivity is None
    first = found.candidates[0][1]
    assert "fp32" not in first.counts() or first.counts()["fp32"] < len(first.choices)
    assert found.plans[0][0].startswith("exact, predicted ")
    assert set(found.candidates[-1][1].counts()) == {"fp32"}


def test_where_it_drops_too_much_sensitivities_are_measured(begin: Begin) -> None:
    begun = begin(max_drop=1e-9)
    found = searched(begun, decisions_with(begun, 0.5))
    assert found.problem.sensitivity is not None
    assert found.evaluations > 0
    assert set(found.candidates[0][1].counts()) == {"fp32"}


def test_where_nothing_is_faster_nothing_is_run(begin: Begin) -> None:
    begun = begin()
    found = searched(begun, decisions_with(begun, 2.0))
    assert found.evaluations == 0
    assert [set(plan.counts()) for _, plan in found.candidates] == [{"fp32"}]


@pytest.mark.parametrize(
    ("limit", "text"),
    [({"max_latency_ms": 1e-6}, "latency"), ({"max_size": 1}, "size")],
    ids=["latency", "size"],
)
def test_impossible_limits(begin: Begin, limit: dict[str, float], text: str) -> None:
    begun = begin(max_drop=0.9, **limit)
    with pytest.raises(
        ConstraintError, match=f"no plan has a (predicted )?{text} of .*: the nearest has"
    ):
        searched(begun, decisions_with(begun, 0.5))


def test_a_limit_on_size_forces_lower_precisions(begin: Begin) -> None:
    """Even where they are slower."""
    whole = 4 * (64 * 32 + 32 + 32 * 8)
    begun = begin(max_drop=0.9, max_size=whole // 3)
    found = searched(begun, decisions_with(begun, 2.0))
    assert found.candidates[0][0].size <= whole // 3


class FakeMeter:
    """Says what a plan takes, and counts how often the table is measured again."""

    def __init__(self, decisions: Decisions, factor: float) -> None:
        self.decisions = decisions
        self.factor = factor
        self.again = 0

    def one(self, plan: Plan) -> Measurement:
        """One plan: `factor` times what the table's cost model says."""
        problem = Problem(self.decisions.cost, weight_bytes(self.decisions.slots))
        price = float(self.decisions.cost.price(np.array([problem.indices(plan)]))[0])
        return Measurement(plan, (), (), (), 0.0, price * self.factor, 8)

    def cost(self, progress: Progress, *, again: bool = False) -> tuple[CostModel, bool]:
        """The table measured again: now it is right."""
        del progress
        assert again
        self.again += 1
        self.factor = 1.0
        return self.decisions.cost, True


STALE_CASES = {
    "far off": (1.3, False, 1),
    "far off the other way": (0.7, False, 1),
    "within 10 %": (1.08, False, 0),
    "far off, but measured just now": (1.3, True, 0),
}


@pytest.mark.parametrize(("factor", "fresh", "again"), STALE_CASES.values(), ids=list(STALE_CASES))
def test_rows_that_are_far_off_are_measured_again(
    begin: Begin, factor: float, *, fresh: bool, again: int
) -> None:
    begun = begin("host")
    decisions = decisions_with(begun, 0.5)
    meter = FakeMeter(decisions, factor)
    found = searched(begun, replace(decisions, meter=cast("Meter", meter), fresh=fresh))
    assert meter.again == again
    assert found.candidates


def test_a_search_that_cannot_keep_its_losses_goes_on(
    begin: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    begun = begin(max_drop=1e-9)
    assert searched(begun, decisions_with(begun, 0.5)).evaluations > 0
