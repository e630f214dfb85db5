"""A graph is cut until a stage loses too much, which is undone, or the limits are met."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from hwc.toolchain.origin import Origin
from hwc.toolchain.plan import NodeChoice, Precision
from hwc.toolchain.progress import Silent
from hwc.toolchain.search.problem import Objective
from hwc.toolchain.structure.site import Bill, Part
from hwc.tools.request import Method, Request
from hwc.tools.stages.cut import Cut, Reach
from hwc.tools.stages.recover import Untrained
from hwc.tools.stages.restructure import HALF, SHARE, STAGES, Restructuring, Structured

US = 1000.0


def bill(us: float) -> Bill:
    return Bill((Part(frozenset({"conv"}), us, round(us)),), 0.0, Origin.MEASURED)


@dataclass
class Cutter:
    """Gives graphs 1, 2, ... that take what is asked; `last` is the last one there is.

    Whole branches are not found, or those of `branches` are: graphs 101, 102, ...
    """

    last: int = 99
    branches: int = 0
    asked: list[tuple[Objective, float]] = field(default_factory=list)
    branched: int = 0
    notes: tuple[str, ...] = ("not cut: add: why",)

    def cut(
        self, _: int, now: Bill, *, figure: Objective, share: float, reach: Reach
    ) -> Cut | None:
        """The next graph."""
        if reach is Reach.BRANCHES:
            self.branched += 1
            if self.branched > self.branches:
                return None
            kept = NodeChoice(keep=0.0)
            return Cut(100 + self.branched, bill(now.us * share), 0.2, {"conv": kept})
        self.asked.append((figure, share))
        number = len(self.asked)
        if number > self.last:
            return None
        return Cut(number, bill(now.us * share), 0.1, {"conv": NodeChoice(keep=0.5)})


class Worse(Untrained):
    """A recovery whose end is another model, which is 10 numbers up."""

    def final(self, model: int) -> int:
        """The model at the end."""
        return model + 10


def run(
    patch: pytest.MonkeyPatch,
    cutter: Cutter,
    drops: Mapping[int, float],
    recovery: Untrained | None = None,
    **asked: object,
) -> Structured:
    """Restructure graph 0, where graphs lose what `drops` says, and nothing otherwise."""
    request = Request("m", data="d", methods=(Method.PRUNE,), max_drop=0.01, **asked)
    begun = SimpleNamespace(request=request, prepared=SimpleNamespace(model=0))
    biller = SimpleNamespace(bill=lambda _: bill(US), precision=Precision.FP32)
    patch.setattr(Restructuring, "_drop", lambda _, model: drops.get(model, 0.0))
    return Restructuring(begun, cutter, biller, recovery or Untrained(), None, Silent()).run()


def test_what_loses_too_much_is_undone_and_half_of_it_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cutter = Cutter()
    made = run(monkeypatch, cutter, {2: 0.5, 4: 0.5})
    assert [share for _, share in cutter.asked] == [SHARE, SHARE, HALF, HALF]
    assert [row.kept for row in made.stages] == [True, False, True, False, True]
    assert made.stages[1].drop == 0.5
    assert made.model == 3
    assert made.choices == {"conv": NodeChoice(keep=0.25)}
    assert made.notes == cutter.notes


@pytest.mark.parametrize(
    "asked", [{"max_latency_ms": 0.8}, {"max_size": 4 * 800}], ids=["latency", "size"]
)
def test_cuts_end_at_the_limits(monkeypatch: pytest.MonkeyPatch, asked: dict[str, object]) -> None:
    cutter = Cutter()
    run(monkeypatch, cutter, {}, **asked)
    assert len(cutter.asked) == 2  # 1000, 850, 722 µs and weights


def test_limits_that_are_met_cut_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    cutter = Cutter()
    made = run(monkeypatch, cutter, {}, max_latency_ms=2.0)
    assert (made.model, made.stages, cutter.asked) == (0, (), [])


def test_cuts_end_in_any_case(monkeypatch: pytest.MonkeyPatch) -> None:
    cutter = Cutter()
    run(monkeypatch, cutter, {})
    assert len(cutter.asked) == STAGES


def test_an_end_that_loses_too_much_is_a_step_back(monkeypatch: pytest.MonkeyPatch) -> None:
    made = run(monkeypatch, Cutter(last=2), {12: 0.5}, Worse())
    assert made.model == 11
    assert [(row.name, row.kept) for row in made.stages][2:] == [
        ("recovered", False),
        ("recovered", True),
    ]


def test_nothing_is_left_of_cuts_whose_ends_all_lose_too_much(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = run(monkeypatch, Cutter(last=2), {11: 0.5, 12: 0.5}, Worse())
    assert (made.model, made.choices) == (0, {})


def test_the_size_is_cut_where_it_is_minimised(monkeypatch: pytest.MonkeyPatch) -> None:
    cutter = Cutter(last=1)
    run(monkeypatch, cutter, {}, objective=Objective.SIZE)
    assert {figure for figure, _ in cutter.asked} == {Objective.SIZE}


def test_undone_keeps_the_stages_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    made = run(monkeypatch, Cutter(last=1), {})
    whole = made.undone(0)
    assert (whole.model, whole.choices, whole.stages) == (0, {}, made.stages)
    assert "the whole one is compiled" in whole.notes[-1]


def test_the_first_stage_is_tried_both_ways_and_the_better_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cutter = Cutter(branches=2)
    made = run(monkeypatch, cutter, {1: 0.004, 101: 0.003})
    assert [(row.name, row.drop, row.kept) for row in made.stages[:3]] == [
        ("cut: anything", 0.004, False),
        ("cut: whole branches", 0.003, True),
        ("cut: whole branches", 0.0, True),
    ]
    assert [share for _, share in cutter.asked[:2]] == [SHARE, HALF]


def test_of_two_ways_that_lose_too_much_neither_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    cutter = Cutter(last=2, branches=2)
    made = run(monkeypatch, cutter, dict.fromkeys((1, 2, 101, 102), 0.5))
    assert [row.kept for row in made.stages] == [False] * 4
    assert made.model == 0


def test_one_cut_found_twice_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    cutter = Cutter()
    monkeypatch.setattr(
        cutter, "cut", lambda *_, **__: Cut(1, bill(1.0), 0.1, {"conv": NodeChoice(keep=0.0)})
    )
    made = run(monkeypatch, cutter, {1: 0.5})
    assert [row.name for row in made.stages] == ["cut: anything"] * 2
