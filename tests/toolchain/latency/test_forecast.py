"""What is forecast of a plan, and by whom: a device with round numbers, and tables of it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from hwc.toolchain.device import (
    Confidence,
    DeviceProfile,
    ErrorRange,
    Figure,
    PowerMode,
    PowerModel,
)
from hwc.toolchain.dialect import Dialect
from hwc.toolchain.errors import InputError
from hwc.toolchain.latency.bound import Bound
from hwc.toolchain.latency.forecast import Ask, Forecast, forecast, preferring
from hwc.toolchain.latency.prices import Prices, Tables, from_profile, merged
from hwc.toolchain.latency.rows import BuildRow, KernelRow
from hwc.toolchain.latency.table import LatencyTable, Mode
from hwc.toolchain.latency.timing import Setting, Timing
from hwc.toolchain.origin import Origin
from hwc.toolchain.plan import NodeChoice, Precision
from hwc.toolchain.slots import Edge, Slot, SlotGraph, Work

FP32, FP16, INT8 = Precision.FP32, Precision.FP16, Precision.INT8
DATE = "2026-01-02T03:04:05+00:00"


def figure(value: float) -> Figure:
    return Figure(value, "a test", Confidence.LOW)


DEVICE = DeviceProfile(
    name="round",
    title="Round numbers",
    backend="trt",
    target="sm80",
    units=1,
    opset_max=21,
    peak={FP32: figure(1.0), FP16: figure(2.0), INT8: figure(4.0)},  # 1e6 operations a µs
    bandwidth=figure(1.0),  # 1000 bytes a µs
    cache=figure(0.0),
    memory=figure(1.0),
    launch=figure(10.0),
    sparse_2_4=figure(1.0),
    efficiency={"conv": figure(1.0), "gemm": figure(1.0), "memory": figure(1.0)},
    grain=figure(1.0),
    error=ErrorRange(figure(0.5), figure(2.0)),
    power=PowerModel(
        board_watts=figure(10.0),
        idle_watts=figure(1.0),
        pj_per_op={FP32: figure(4.0), FP16: figure(2.0), INT8: figure(1.0)},
        pj_per_byte=figure(10.0),
    ),
)
DIALECT = Dialect("trt", 21, 21)
EVERY = (NodeChoice(), NodeChoice(FP16), NodeChoice(INT8))


def slot(name: str, kind: str, work: Work, *choices: NodeChoice) -> Slot:
    return Slot(name, "Conv", ((name,),), (), (), (name,), f"{name}|", kind, work, choices or EVERY)


# A convolution of 100 µs of arithmetic in fp32, and a matrix product that reads 160 kB in fp32.
GRAPH = SlotGraph(
    (
        slot("conv", "conv", Work(macs=50_000_000, weights=0, reads=0, writes=1000)),
        slot("gemm", "gemm", Work(macs=0, weights=40_000, reads=0, writes=0), *EVERY[:2]),
    ),
    (Edge("h", 0, (1,), 1000), Edge("y", 1, (), 10, is_output=True)),
)


def ask(prices: Prices, *precisions: Precision, sparse: bool = False) -> Forecast:
    """The forecast of the plan that prefers these precisions."""
    indices = preferring(prices.cost.graph, precisions)
    return forecast(Ask("plan", indices, sparse), prices, DEVICE, ())


def test_the_first_precision_that_a_slot_may() -> None:
    assert preferring(GRAPH, (INT8,)).tolist() == [2, 0]
    assert preferring(GRAPH, (INT8, FP16)).tolist() == [2, 1]
    assert preferring(GRAPH, (Precision.INT4,)).tolist() == [0, 0]


def test_kernels_and_the_whole() -> None:
    found = ask(from_profile(GRAPH, DEVICE), FP32)
    conv, gemm = found.kernels
    assert (conv.us, conv.bound, conv.origin) == (110.0, Bound.COMPUTE, Origin.ESTIMATED)
    assert (gemm.us, gemm.bound) == (170.0, Bound.BANDWIDTH)
    assert found.latency.us == 280.0
    assert (found.latency.low, found.latency.high) == (140.0, 560.0)
    assert found.precisions == {"fp32": 2}
    assert found.source == "profile round; a test"


def test_conversions_count_and_are_as_unsure_as_the_kernels() -> None:
    found = ask(from_profile(GRAPH, DEVICE), FP16)
    kernels = sum(kernel.us for kernel in found.kernels)
    assert found.conversions == 1  # the output leaves in fp32
    assert found.conversions_us > 0
    assert found.latency.us == pytest.approx(kernels + found.conversions_us)
    assert found.latency.high == pytest.approx(2 * found.latency.us)


def test_energy_is_idle_power_all_the_time_operations_and_bytes() -> None:
    found = ask(from_profile(GRAPH, DEVICE), FP32)
    moved = 4 * 1000 + 4 * 40_000
    joules = 1.0 * 280e-6 + (2 * 50e6 * 4.0 + moved * 10.0) * 1e-12
    assert found.energy is not None
    assert found.energy.joules == pytest.approx(joules)
    assert found.energy.low == pytest.approx(1.0 * 140e-6)
    assert found.energy.high == pytest.approx(10.0 * 560e-6)


def test_energy_is_never_more_than_the_budget() -> None:
    modes = {"low": PowerMode(figure(1.5), figure(1.0), figure(1.0), figure(1))}
    capped = replace(DEVICE, power_modes=modes, power_mode="low")
    prices = from_profile(GRAPH, capped)
    found = forecast(Ask("plan", preferring(GRAPH, (FP32,))), prices, capped, ())
    assert found.energy is not None
    moving = 1.0 * 170e-6 + 160_000 * 10.0 * 1e-12  # which stays below the budget
    assert found.energy.joules == pytest.approx(1.5 * 110e-6 + moving)
    assert found.energy.joules <= 1.5 * 280e-6


def test_without_a_power_model_energy_is_not_known() -> None:
    silent = replace(DEVICE, power=None)
    prices = from_profile(GRAPH, silent)
    assert forecast(Ask("p", preferring(GRAPH, ())), prices, silent, ()).energy is None


def test_2_4_is_used_only_where_it_is_faster() -> None:
    prices = from_profile(GRAPH, DEVICE)
    dense, sparse = ask(prices, FP16), ask(prices, FP16, sparse=True)
    assert [kernel.sparse for kernel in sparse.kernels] == [False, True]
    assert sparse.kernels[0] == dense.kernels[0]
    # Of 80 kB in fp16, 9 of 16 bits are left.
    assert dense.kernels[1].us - sparse.kernels[1].us == pytest.approx(80 * 7 / 16)
    slow = replace(DEVICE, sparse_2_4=figure(0.5))
    assert not any(
        k.sparse
        for k in forecast(
            Ask("p", preferring(CONV, (FP16,)), sparse=True), from_profile(CONV, slow), slow, ()
        ).kernels
    )


CONV = SlotGraph(
    (slot("conv", "conv", Work(macs=50_000_000, weights=10, reads=0, writes=1000)),), ()
)


def test_a_device_whose_error_is_not_known() -> None:
    prices = from_profile(GRAPH, replace(DEVICE, error=None))
    assert "not known" in prices.source
    there = np.isfinite(prices.cost.node_us)
    assert (prices.low_us < prices.cost.node_us)[there].all()


def write(path: Path, times: dict[tuple[str, str], float], **setting: str) -> Setting:
    """A table with one build: kernels by key and choice."""
    where = Setting(
        setting.get("device", "round"),
        "tensorrt",
        setting.get("version", "10.3"),
        1,
        setting.get("mode", ""),
    )
    work = {one.key: one for one in GRAPH.slots}
    rows = []
    for (key, choice), us in times.items():
        timing = Timing(us, 0.9 * us, 1.2 * us, 20, None, where, DATE, Origin.MEASURED)
        like = work.get(key, GRAPH.slots[0])
        rows.append(KernelRow(key, choice, like.kind, like.work, timing))
    build = BuildRow("id", "model", "", "{}", sum(times.values()), 20, DATE)
    with LatencyTable.open(path, Mode.WRITE) as table:
        table.put_build(where, build, rows, [])
    return where


COVERED = {
    **{("conv|", p): us for p, us in (("fp32", 50.0), ("fp16", 25.0), ("int8", 20.0))},
    **{("gemm|", p): us for p, us in (("fp32", 80.0), ("fp16", 40.0))},
}


def test_measured_kernels_are_priced_by_the_table(tmp_path: Path) -> None:
    path = tmp_path / "t.sqlite"
    setting = write(path, COVERED)
    tables = Tables(DEVICE, DIALECT, path)
    assert tables
    prices = tables.prices(GRAPH)
    assert prices is not None
    assert prices.source == f"table of {setting}, 2026-01-02: {path}"
    found = ask(prices, FP32)
    assert [kernel.us for kernel in found.kernels] == [50.0, 80.0]
    assert (found.origin, found.origins) == (Origin.MEASURED, {"measured": 2})
    assert found.latency.low == pytest.approx(0.9 * found.latency.us)
    assert found.latency.high == pytest.approx(1.2 * found.latency.us)


def test_what_the_table_lacks_is_not_called_measured(tmp_path: Path) -> None:
    path = tmp_path / "t.sqlite"
    write(path, {place: us for place, us in COVERED.items() if place != ("gemm|", "fp32")})
    prices = Tables(DEVICE, DIALECT, path).prices(GRAPH)
    assert prices is not None
    found = ask(prices, FP32)
    assert found.kernels[0].origin is Origin.MEASURED
    assert found.kernels[1].origin is not Origin.MEASURED
    assert found.origin is found.kernels[1].origin
    assert prices.low_us[1, 0] < found.kernels[1].us < prices.high_us[1, 0]


@pytest.mark.parametrize(
    ("device", "mode"), [("square", ""), ("round", "low")], ids=["device", "power mode"]
)
def test_times_of_another_device_or_mode_are_left_alone(
    device: str, mode: str, tmp_path: Path
) -> None:
    path = tmp_path / "t.sqlite"
    write(path, COVERED, device=device, mode=mode)
    tables = Tables(DEVICE, DIALECT, path)
    assert not tables
    assert tables.prices(GRAPH) is None


def test_the_setting_that_holds_most_of_the_model_counts(tmp_path: Path) -> None:
    path = tmp_path / "t.sqlite"
    write(path, COVERED, version="10.3")
    write(path, {("conv|", "fp32"): 1.0}, version="10.9")
    prices = Tables(DEVICE, DIALECT, path).prices(GRAPH)
    assert prices is not None
    assert "tensorrt 10.3" in prices.source
    write(path, {place: 2 * us for place, us in COVERED.items()}, version="10.9")
    newer = Tables(DEVICE, DIALECT, path).prices(GRAPH)
    assert newer is not None
    assert "tensorrt 10.9" in newer.source


def test_a_table_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no latency table"):
        Tables(DEVICE, DIALECT, tmp_path / "gone.sqlite")


def test_a_graph_too_large_to_hand_over_keeps_its_slots() -> None:
    huge = np.broadcast_to(np.float32(0), (2**15, 2**15))
    w = ir.Value(name="w", const_value=ir.Tensor(huge, name="w"))
    model = ir.Model(ir.Graph([], [], nodes=[], initializers=[w]), ir_version=10)

    def refuse(_: ir.Model) -> ir.Graph:
        raise AssertionError

    assert merged(GRAPH, model, refuse) is GRAPH
