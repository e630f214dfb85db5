"""Cost models: from measurements the machine's own times, from a profile estimates that say so."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hwc.toolchain.device import load_profile
from hwc.toolchain.errors import InputError
from hwc.toolchain.latency.build_cost import (
    covers,
    from_profile,
    from_table,
    refined,
)
from hwc.toolchain.latency.cost import CostModel
from hwc.toolchain.latency.estimate import estimate_us
from hwc.toolchain.latency.observed import fixed_key, store
from hwc.toolchain.latency.probes import probe_plans
from hwc.toolchain.latency.table import LatencyTable, Mode
from hwc.toolchain.latency.timing import Setting
from hwc.toolchain.origin import Origin
from hwc.toolchain.plan import NodeChoice, Plan, Precision, Sparsity
from hwc.toolchain.slots import Edge, SlotGraph, Work
from hwc.toolchain.timing import Spread

if TYPE_CHECKING:
    from hwc.tests.toolchain.latency.conftest import Machine

FP32, INT8 = NodeChoice(), NodeChoice(Precision.INT8)
SETTING = Setting("host", "onnxruntime", "1.32", 1)
MakeMachine = Callable[..., "Machine"]


def every_plan(graph: SlotGraph) -> list[tuple[int, ...]]:
    """All plans as indices of choices."""
    return list(itertools.product(*(range(len(slot.choices)) for slot in graph.slots)))


def plan_of(graph: SlotGraph, indices: tuple[int, ...]) -> Plan:
    """The plan of a row of indices."""
    return Plan.of((s.name, s.choices[k]) for s, k in zip(graph.slots, indices, strict=True))


def truths(machine: "Machine") -> np.ndarray:
    """What every plan really takes."""
    graph = machine.graph
    return np.array([machine.truth(plan_of(graph, row)) for row in every_plan(graph)])


def model_of(machine: "Machine", path: Path, plans: list[Plan] | None = None) -> CostModel:
    """Measure the probes into a table on disk, close it, and read the model from it."""
    probes = probe_plans(machine.graph) if plans is None else plans
    with LatencyTable.open(path, Mode.WRITE) as table:
        for found in machine.measure(probes):
            store(table, SETTING, machine.graph, found, path="model.onnx")
    with LatencyTable.open(path) as table:
        assert covers(table, SETTING, machine.graph)
        return from_table(machine.graph, table, SETTING)


@pytest.mark.parametrize("profiler", [0.0, 1.0], ids=["no profiler", "a profiler's microsecond"])
def test_the_price_of_every_plan_is_what_it_takes(
    machine: MakeMachine, tmp_path: Path, profiler: float
) -> None:
    """Probes show six builds; the other plans are priced from their parts."""
    bench = machine(profiler=profiler, fixed=5.0 if profiler == 0.0 else 0.0)
    cost = model_of(bench, tmp_path / "t.sqlite")
    prices = cost.price(np.array(every_plan(bench.graph)))
    np.testing.assert_allclose(prices, truths(bench), atol=1e-5)
    assert set(cost.node_source[np.isfinite(cost.node_us)]) == {Origin.MEASURED}


def test_conversions_of_sizes_that_were_not_measured_lie_on_the_line(
    machine: MakeMachine, tmp_path: Path
) -> None:
    """Two builds show only some tensors in each direction; their line prices the others."""
    bench = machine()
    plans = [plan_of(bench.graph, row) for row in ((0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 1, 0))]
    measured = bench.measure(plans)
    seen = {(bench.graph.edges[e.edge].elements, e.target) for m in measured for e in m.edges}
    assert (300, Precision.INT8) not in seen
    cost = model_of(bench, tmp_path / "t.sqlite", plans)
    np.testing.assert_allclose(
        cost.price(np.array(every_plan(bench.graph))), truths(bench), atol=1e-5
    )


def test_equal_kernels_share_one_row(machine: MakeMachine, tmp_path: Path) -> None:
    bench = machine()
    model_of(bench, tmp_path / "t.sqlite")
    with LatencyTable.open(tmp_path / "t.sqlite") as table:
        rows = {(row.key, row.choice): row.timing for row in table.kernels(SETTING)}
    assert set(rows) == {*bench.kernels, (fixed_key(bench.graph), "fixed")}
    assert rows["k1", "int8"].median_us == pytest.approx(12.0)
    assert rows["k1", "int8"].setting == SETTING
    assert rows["k1", "fp32"].source is Origin.MEASURED


def test_a_table_of_another_graph_serves_where_it_has_the_kernels(
    machine: MakeMachine, tmp_path: Path
) -> None:
    bench = machine()
    model_of(bench, tmp_path / "t.sqlite")
    graph = bench.graph
    longer = SlotGraph(
        (*graph.slots, replace(graph.slots[0], name="e", outputs=("e",))), graph.edges
    )
    with LatencyTable.open(tmp_path / "t.sqlite") as table:
        assert covers(table, SETTING, graph)
        assert not covers(table, SETTING, longer)  # another number of kernels: another fixed cost
        other = replace(graph.slots[0], key="k9")
        assert not covers(table, SETTING, SlotGraph((other, *graph.slots[1:]), graph.edges))
        more = replace(graph.slots[3], choices=(FP32, INT8))
        assert not covers(table, SETTING, SlotGraph((*graph.slots[:3], more), graph.edges))


def test_what_the_table_lacks_is_borrowed_and_says_so(machine: MakeMachine, tmp_path: Path) -> None:
    bench = machine()
    model_of(bench, tmp_path / "t.sqlite")
    graph = bench.graph
    new = replace(graph.slots[0], key="k9")
    other = SlotGraph((new, *graph.slots[1:]), graph.edges)
    with LatencyTable.open(tmp_path / "t.sqlite") as table:
        cost = from_table(other, table, SETTING)
    assert list(cost.node_source[:, 0]) == [Origin.BORROWED, *[Origin.MEASURED] * 3]
    assert np.isfinite(cost.node_us[0]).all()
    assert 0.0 < cost.node_us[0, 0] <= 80.0  # its like takes 6 to 40
    assert cost.node_us[1, 0] == pytest.approx(9.0)


def test_what_nothing_compares_with(machine: MakeMachine, tmp_path: Path) -> None:
    """A precision that the table never saw: refused, or estimated where the device is known."""
    bench = machine()
    model_of(bench, tmp_path / "t.sqlite")
    half = NodeChoice(Precision.FP16)
    slots = tuple(replace(slot, choices=(FP32, half)) for slot in bench.graph.slots)
    graph = SlotGraph(slots, bench.graph.edges)
    with LatencyTable.open(tmp_path / "t.sqlite") as table:
        with pytest.raises(InputError, match=r"nothing to compare a .Conv, fp16. with"):
            from_table(graph, table, SETTING)
        cost = from_table(graph, table, SETTING, profile=load_profile("a100"))
    assert set(cost.node_source[:, 1]) == {Origin.ESTIMATED}
    assert set(cost.node_source[:, 0]) == {Origin.MEASURED}


def test_an_empty_table_covers_nothing(machine: MakeMachine, tmp_path: Path) -> None:
    with LatencyTable.open(tmp_path / "t.sqlite", Mode.WRITE) as table:
        assert not covers(table, SETTING, machine().graph)


def test_a_model_without_slots(machine: MakeMachine, tmp_path: Path) -> None:
    """A model of integers alone has nothing to choose, and still a price."""
    bench = machine(graph=SlotGraph((), ()))
    assert model_of(bench, tmp_path / "t.sqlite").price(np.zeros((1, 0), np.intp)) == [5.0]


def test_kernels_that_write_float_by_themselves_convert_for_nothing(
    machine: MakeMachine, tmp_path: Path
) -> None:
    bench = machine()
    path = tmp_path / "t.sqlite"
    model_of(bench, path)
    with LatencyTable.open(path) as table:
        cost = from_table(bench.graph, table, SETTING, free=frozenset({"Conv"}))
    plain = bench.truth(plan_of(bench.graph, (1, 0, 0, 0)))
    out_of_a = bench.conversion(bench.graph.edges[1], into=False)
    assert cost.price(np.array([(1, 0, 0, 0)])) == pytest.approx(plain - out_of_a)


def test_what_rides_pays_where_its_carrier_is_int8(machine: MakeMachine, tmp_path: Path) -> None:
    first, second, *_ = machine().graph.slots
    rider = replace(second, choices=(FP32,), rides="a")
    edges = (
        Edge("x", -1, (0,), 100),
        Edge("a", 0, (1,), 100),
        Edge("b", 1, (), 100, is_output=True),
    )
    bench = machine(graph=SlotGraph((first, rider), edges))
    cost = model_of(bench, tmp_path / "t.sqlite")
    prices = cost.price(np.array([(0, 0), (1, 0)]))
    assert prices == pytest.approx(
        [bench.truth(plan_of(bench.graph, row)) for row in ((0, 0), (1, 0))]
    )


def test_refining_corrects_the_plan_that_was_measured(machine: MakeMachine, tmp_path: Path) -> None:
    """The same kernels among other neighbours: what was measured last is believed."""
    cost = model_of(machine(), tmp_path / "t.sqlite")
    kernels = {**machine().kernels, ("k2", "int8"): 44.0}
    now = machine(kernels=kernels, bases=(6.0, 2.0), fixed=8.0)
    chosen = (0, 1, 1, 0)
    (measured,) = now.measure([plan_of(now.graph, chosen)])
    once = refined(cost, measured)
    assert once.price(np.array([chosen])) == pytest.approx(now.truth(plan_of(now.graph, chosen)))
    twice = refined(once, measured)
    np.testing.assert_allclose(twice.node_us, once.node_us)
    np.testing.assert_allclose(twice.boundary_us, once.boundary_us)
    assert cost.node_us[1, 1] == pytest.approx(14.0)  # the first model is left alone


@pytest.mark.parametrize("device", ["a100", "jetson_orin", "ascend", "dcu"])
def test_a_profile_gives_estimates_that_say_so(machine: MakeMachine, device: str) -> None:
    profile = load_profile(device)
    lower = [p for p in profile.precisions if p not in {Precision.FP32, Precision.INT4}]
    graph = machine().graph
    choices = (FP32, *map(NodeChoice, lower))
    graph = SlotGraph(tuple(replace(slot, choices=choices) for slot in graph.slots), graph.edges)
    cost = from_profile(graph, profile)
    assert set(cost.node_source.ravel()) == {Origin.ESTIMATED}
    assert set(cost.boundary_source.ravel()) == {Origin.ESTIMATED}
    assert np.isfinite(cost.node_us).all()
    assert (cost.node_us > 0).all()
    best = NodeChoice(lower[0])
    slot = graph.slots[0]
    if lower[0] in profile.precisions:
        wanted = estimate_us(slot.work, slot.kind, best, profile).us
        assert cost.node_us[0, choices.index(best)] == pytest.approx(wanted)
    diagonal = np.einsum("eii->ei", cost.boundary_us)
    assert not diagonal.any()


SPARSE = NodeChoice(Precision.INT8, Sparsity.TWO_FOUR)


def with_choices(graph: SlotGraph, *more: NodeChoice) -> SlotGraph:
    """The same slots, those with a choice with more of them."""
    slots = (
        replace(s, choices=(*s.choices, *more)) if len(s.choices) > 1 else s for s in graph.slots
    )
    return SlotGraph(tuple(slots), graph.edges)


def test_storage_has_no_price_of_its_own(machine: MakeMachine, tmp_path: Path) -> None:
    made = machine()
    dense = model_of(made, tmp_path / "t.sqlite")
    graph = with_choices(made.graph, NodeChoice(Precision.INT8, storage="int4"))
    with LatencyTable.open(tmp_path / "t.sqlite") as table:
        assert covers(table, SETTING, graph)
        cost = from_table(graph, table, SETTING)
    for s, slot in enumerate(graph.slots):
        if len(slot.choices) > 1:
            assert cost.node_us[s, -1] == dense.node_us[s, made.graph.slots[s].choices.index(INT8)]
    assert probe_plans(graph) == probe_plans(made.graph)


def test_no_sparse_kernel_is_offered_where_none_was_measured(
    machine: MakeMachine, tmp_path: Path
) -> None:
    made = machine()
    dense = model_of(made, tmp_path / "t.sqlite")
    graph = with_choices(made.graph, SPARSE)
    with LatencyTable.open(tmp_path / "t.sqlite") as table:
        assert not covers(table, SETTING, graph)
        cost = from_table(graph, table, SETTING, profile=load_profile("a100"))
    chosen = [s for s, slot in enumerate(graph.slots) if SPARSE in slot.choices]
    assert chosen
    assert np.isinf(cost.node_us[chosen, [len(graph.slots[s].choices) - 1 for s in chosen]]).all()
    width = dense.node_us.shape[1]
    assert np.array_equal(cost.node_us[:, :width], dense.node_us)


def test_sparse_kernels_have_rows_of_their_own(machine: MakeMachine, tmp_path: Path) -> None:
    made = machine()
    model_of(made, tmp_path / "t.sqlite")
    graph = with_choices(made.graph, SPARSE)
    sparse = next(plan for plan in probe_plans(graph) if "int8 2:4" in plan.counts())
    names = {s.name: INT8 if SPARSE in s.choices else FP32 for s in graph.slots}
    (found,) = made.measure([Plan.of(names)])
    slots = tuple(
        replace(t, choice=sparse.as_dict()[graph.slots[t.slot].name], us=halved(t.us))
        for t in found.slots
    )
    with LatencyTable.open(tmp_path / "t.sqlite", Mode.WRITE) as table:
        store(table, SETTING, graph, replace(found, plan=sparse, slots=slots), path="model.onnx")
        assert covers(table, SETTING, graph)
        cost = from_table(graph, table, SETTING)
    for s, slot in enumerate(graph.slots):
        if SPARSE in slot.choices:
            where = slot.choices.index(SPARSE)
            assert cost.node_us[s, where] == slots[s].us.median
            assert cost.node_source[s, where] == Origin.MEASURED


def halved(us: Spread) -> Spread:
    """Half of a time."""
    return Spread(us.median / 2, us.p10 / 2, us.p90 / 2)


def test_an_estimate_takes_the_faster_of_the_sparse_and_the_dense_kernel() -> None:
    slow = load_profile("a100")
    assert slow.sparse_2_4 is not None
    assert slow.sparse_2_4.value < 1.0
    fast = replace(slow, sparse_2_4=replace(slow.sparse_2_4, value=2.0))
    busy = Work(macs=10**11, weights=10**6, reads=10**6, writes=10**6)
    dense = estimate_us(busy, "gemm", INT8, slow).us
    assert estimate_us(busy, "gemm", SPARSE, slow).us == dense
    assert dense / 2.2 < estimate_us(busy, "gemm", SPARSE, fast).us < dense / 1.8
    loading = Work(macs=10**6, weights=10**8, reads=1000, writes=1000)
    sparse, dense = (estimate_us(loading, "gemm", it, slow).us for it in (SPARSE, INT8))
    assert sparse < dense  # half of the weights are not read
