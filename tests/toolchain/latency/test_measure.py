"""Probe builds, and what of their times belongs to which slot, tensor, or to neither."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
import pytest
from hwc.toolchain.engine import KernelTime, TimedBuild
from hwc.toolchain.latency.measure import change, measurement, without_profiler
from hwc.toolchain.latency.probes import probe_plans
from hwc.toolchain.plan import NodeChoice, Plan, Precision
from hwc.toolchain.slots import Edge, SlotGraph
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from hwc.tests.toolchain.latency.conftest import Machine

FP32, INT8 = NodeChoice(), NodeChoice(Precision.INT8)
MakeMachine = Callable[..., "Machine"]


def plan(machine: "Machine", letters: str) -> Plan:
    """A plan from one letter a slot: `f` or `i`."""
    choice = {"f": FP32, "i": INT8}
    names = [slot.name for slot in machine.graph.slots]
    return Plan.of(zip(names, map(choice.__getitem__, letters), strict=True))


def test_probes_are_uniform_and_mixed(machine: MakeMachine) -> None:
    graph = machine().graph
    probes = probe_plans(graph)
    legal = {slot.name: slot.choices for slot in graph.slots}
    assert all(choice in legal[name] for p in probes for name, choice in p.choices)
    assert probes[0].counts() == {"fp32": 4}
    assert probes[1].counts() == {"int8": 3, "fp32": 1}
    assert len(set(probes)) == len(probes)
    assert probes == probe_plans(graph, seed=0) != probe_plans(graph, seed=5)


def test_one_probe_where_there_is_no_choice(machine: MakeMachine) -> None:
    graph = machine().graph
    plain = SlotGraph(tuple(replace(s, choices=(FP32,)) for s in graph.slots), graph.edges)
    assert [p.counts() for p in probe_plans(plain)] == [{"fp32": 4}]
    assert probe_plans(SlotGraph((), ())) == [Plan(())]  # what all plans pay is still to be known


CHANGES = {
    "all agree": (0, (1, 2), False, "fff", None),
    "all agree on int8": (0, (1, 2), False, "iii", None),
    "into int8": (0, (1, 2), False, "fii", (Precision.FP32, Precision.INT8)),
    "out of int8 for one reader": (0, (1, 2), False, "iif", (Precision.INT8, Precision.FP32)),
    "an output stays fp32": (0, (), True, "iff", (Precision.INT8, Precision.FP32)),
    "an fp32 output": (0, (), True, "fii", None),
    "an input comes in fp32": (-1, (0,), False, "iff", (Precision.FP32, Precision.INT8)),
}


@pytest.mark.parametrize(
    ("producer", "consumers", "is_output", "letters", "wanted"), CHANGES.values(), ids=list(CHANGES)
)
def test_changes_of_form(
    *,
    producer: int,
    consumers: tuple[int, ...],
    is_output: bool,
    letters: str,
    wanted: tuple[Precision, Precision] | None,
) -> None:
    choices = [FP32 if letter == "f" else INT8 for letter in letters]
    assert change(Edge("t", producer, consumers, 1, is_output), choices) == wanted


def test_4_bit_weights_change_no_form() -> None:
    choices = [NodeChoice(Precision.INT4), FP32]
    assert change(Edge("t", 0, (1,), 1), choices) is None


def test_times_of_slots_edges_and_the_rest(machine: MakeMachine) -> None:
    bench = machine()
    plans = [plan(bench, "ffff"), plan(bench, "ifff")]
    plain, mixed = bench.measure(plans)
    assert plain.slots[0].choice == FP32
    assert plain.slots[0].us.median == pytest.approx(40.0)
    assert mixed.slots[0].choice == INT8
    assert mixed.slots[0].us.median == pytest.approx(12.0)
    assert [m.slots[1].us.median for m in (plain, mixed)] == pytest.approx([9.0, 9.0])
    assert plain.edges == ()
    edges = {(e.edge, e.source, e.target): e.us.median for e in mixed.edges}
    assert edges == {
        (0, Precision.FP32, Precision.INT8): pytest.approx(3.0),
        (1, Precision.INT8, Precision.FP32): pytest.approx(4.0),
    }
    assert [m.fixed_us for m in (plain, mixed)] == pytest.approx([5.0, 5.0])
    assert [m.total_us for m in (plain, mixed)] == pytest.approx([bench.truth(p) for p in plans])
    assert [m.plan for m in (plain, mixed)] == plans


def test_a_slower_machine_slows_no_plan(machine: MakeMachine) -> None:
    """Each build is scaled by what the fp32 build took beside it: here 0.8 to 1.25 of the first."""
    bench = machine()
    plans = [plan(bench, letters) for letters in ("ffff", "ifff", "fiff", "iiif", "ffif")]
    measured = bench.measure(plans)
    assert [m.total_us for m in measured] == pytest.approx([bench.truth(p) for p in plans])
    assert [m.slots[3].us.median for m in measured] == pytest.approx([6.0] * 5)


def test_the_spread_of_a_kernel_is_that_of_its_runs(machine: MakeMachine) -> None:
    bench = machine(fixed=0.0)
    build = bench.build(plan(bench, "ffff"))
    first = replace(build.kernels[0], us=np.array([30.0, 40.0, 50.0, 60.0, 70.0]))
    build = replace(build, kernels=(first, *build.kernels[1:]))
    us = measurement(bench.graph, plan(bench, "ffff"), build).slots[0].us
    assert us.p10 < us.median < us.p90
    assert us.p90 - us.p10 == pytest.approx(32.0)


def test_a_change_of_layout_alone_belongs_to_its_writer_or_first_reader(
    machine: MakeMachine,
) -> None:
    bench = machine(layout={"x": 7.0, "b": 3.0})
    times = {t.slot: t.us.median for t in bench.measure([plan(bench, "ffff")])[0].slots}
    assert times == pytest.approx({0: 47.0, 1: 12.0, 2: 40.0, 3: 6.0})


@pytest.mark.parametrize("profiler", [0.5, 1.0, 2.0])
def test_what_the_profiler_adds_is_taken_off(machine: MakeMachine, profiler: float) -> None:
    bench = machine(profiler=profiler, fixed=0.0)
    wanted = plan(bench, "fiff")
    measured = measurement(bench.graph, wanted, bench.build(wanted))
    times = {t.slot: t.us.median for t in measured.slots}
    assert times == pytest.approx({0: 40.0, 1: 14.0, 2: 40.0, 3: 6.0}, abs=1e-6)
    assert measured.fixed_us == pytest.approx(0.0, abs=1e-6)


@given(
    us=st.lists(st.floats(0.0, 1e4), max_size=20),
    cost=st.floats(0.0, 5.0),
)
def test_without_the_profiler_the_kernels_sum_to_the_whole(us: list[float], cost: float) -> None:
    profiled = [time + cost for time in us]
    added = without_profiler(profiled, sum(us))
    assert sum(max(time - added, 0.0) for time in profiled) == pytest.approx(sum(us), abs=1e-3)
    assert without_profiler(profiled, sum(profiled) + 1.0) == 0.0


def test_the_faster_half_of_the_runs_counts(machine: MakeMachine) -> None:
    """What disturbs a run only ever adds to it."""
    bench = machine(fixed=0.0)
    graph = SlotGraph(bench.graph.slots[:1], (Edge("a", 0, (), 1, is_output=True),))
    us = np.array([10.0, 500.0, 10.0, 12.0, 90.0, 11.0])
    kernel = KernelTime("a", "Conv", ("a",), us)
    ran = ir.Graph([], [], nodes=[ir.node("Conv", [], name="a")])
    build = TimedBuild((kernel,), ran, us)
    measured = measurement(graph, Plan.of({"a": FP32}), build)
    assert measured.slots[0].us.median == pytest.approx((10.0 + 10.0 + 11.0) / 3)
    assert measured.total_us == pytest.approx((10.0 + 10.0 + 11.0) / 3)


RIDES = {
    "fused, the carrier's name": ("ff", {"a": 40.0}, {0: 40.0, 1: 0.0}, None),
    "fused, the rider's name": ("ff", {"b": 40.0}, {0: 40.0, 1: 0.0}, None),
    "not fused": ("ff", {"a": 38.0, "b": 2.0}, {0: 40.0, 1: 0.0}, None),
    "alone beside int8": ("if", {"a": 12.0, "b": 9.0}, {0: 12.0, 1: 0.0}, 9.0),
}


@pytest.mark.parametrize(("letters", "ran", "slots", "alone"), RIDES.values(), ids=list(RIDES))
def test_what_rides_costs_only_where_it_runs_alone(
    machine: MakeMachine,
    *,
    letters: str,
    ran: dict[str, float],
    slots: dict[int, float],
    alone: float | None,
) -> None:
    first, second, *_ = machine().graph.slots
    rider = replace(second, choices=(FP32,), rides="a")
    graph = SlotGraph((first, rider), (Edge("a", 0, (1,), 1), Edge("b", 1, (), 1, is_output=True)))
    kernels = tuple(KernelTime(n, "Conv", (n,), np.full(4, us)) for n, us in ran.items())
    nodes = [ir.node("Conv", [], name=name) for name in ran]
    total = np.full(4, sum(ran.values()))
    build = TimedBuild(kernels, ir.Graph([], [], nodes=nodes), total)
    choices = [FP32 if letter == "f" else INT8 for letter in letters]
    plan = Plan.of({"a": choices[0], "b": choices[1]})
    measured = measurement(graph, plan, build)
    assert {t.slot: t.us.median for t in measured.slots} == pytest.approx(slots)
    assert [t.us.median for t in measured.alone] == (
        [] if alone is None else [pytest.approx(alone)]
    )
