"""What there is to decide: slots, ranges, prices, and what this machine computes in their place."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from hwc.toolchain.latency.measure import Measurement, SlotTime
from hwc.toolchain.latency.observed import store
from hwc.toolchain.latency.probes import uniform
from hwc.toolchain.latency.table import LatencyTable, Mode
from hwc.toolchain.latency.timing import Setting
from hwc.toolchain.origin import Origin
from hwc.toolchain.plan import NodeChoice, Plan, Precision
from hwc.toolchain.progress import Silent
from hwc.toolchain.timing import Spread
from hwc.tools.request import Method
from hwc.tools.stages import price as stage
from hwc.tools.stages.decide import Decisions, decide, find_space, plan_fp32, reference
from hwc.tools.stages.problem import weight_bytes

if TYPE_CHECKING:
    from hwc.tests.tools.stages.conftest import Begun

Begin = Callable[..., "Begun"]


def decided(begun: "Begun") -> Decisions:
    """The decisions of a compilation."""
    return decide(begun.request, begun.target, begun.prepared, Silent())


def offered(decisions: Decisions) -> set[str]:
    """Every precision that some slot may run in."""
    return {c.precision.value for slot in decisions.slots.slots for c in slot.choices}


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "RUNS", 2)


OFFERED = {
    "data": ("host", {}, {"fp32", "int8", "int4"}),
    "no data": ("host", {"data": False}, {"fp32"}),
    "random calibration": (
        "host",
        {"data": False, "random_calibration": True},
        {"fp32", "int8", "int4"},
    ),
    "asked for": ("host", {"precisions": (Precision.FP32, Precision.INT8)}, {"fp32", "int8"}),
    "a GPU": ("a100", {}, {"fp32", "fp16", "bf16", "int8", "int4"}),
    "a GPU without data": ("a100", {"data": False}, {"fp32", "fp16", "bf16"}),
}


@pytest.mark.parametrize(("device", "asked", "wanted"), OFFERED.values(), ids=list(OFFERED))
def test_precisions(begin: Begin, device: str, asked: dict[str, object], wanted: set[str]) -> None:
    assert offered(decided(begin(device, **asked))) == wanted


def test_the_host_is_measured_and_others_are_estimated(begin: Begin) -> None:
    host, gpu = decided(begin()), decided(begin("a100"))
    legal = np.isfinite(host.cost.node_us)
    assert set(host.cost.node_source[legal]) == {Origin.MEASURED}
    assert set(gpu.cost.node_source.ravel()) == {Origin.ESTIMATED}
    assert host.meter is not None
    assert gpu.meter is None


def test_the_plan_that_changes_nothing(begin: Begin) -> None:
    decisions = decided(begin())
    assert set(plan_fp32(decisions.slots).counts()) == {"fp32"}


@pytest.mark.parametrize("device", ["host", "a100", "ascend", "dcu"])
def test_every_precision_can_be_simulated(begin: Begin, device: str) -> None:
    begun = begin(device)
    decisions = decided(begun)
    feeds = begun.prepared.feeds
    wanted = reference(begun.prepared.original)(feeds)["y"]
    for precision in offered(decisions):
        choice = NodeChoice(Precision(precision))
        plan = Plan.of(
            (slot.name, choice if choice in slot.choices else NodeChoice())
            for slot in decisions.slots.slots
        )
        got = decisions.simulate(plan, 1)(feeds)["y"]
        noise = float(np.square(got - wanted).sum() / np.square(wanted).sum())
        assert noise < 0.03, precision
        assert (noise > 1e-10) is (precision != "fp32"), precision


def test_what_holds_infinity_is_not_offered_in_int8(
    begin: Begin, files: Path, parse_graph: Callable[[str], onnx.ModelProto]
) -> None:
    """As a mask of attention does."""
    masked = """<ir_version: 10, opset_import: ["" : 21]>
    g (float[N,64] x) => (float[N,64] y) <float zero = {0.0}, float low = {-inf}>
    { n = Less (x, zero) m = Where (n, low, x) s = Softmax (m) y = Add (s, s) }"""
    onnx.save(parse_graph(masked), files / "mlp.onnx")
    slots = {slot.name: slot for slot in decided(begin()).slots.slots}
    assert slots["s"].kept == "it handles infinite numbers"
    assert NodeChoice(Precision.INT8) in slots["y"].choices


def test_a_table_that_was_measured_on_the_device_prices_its_plans(
    begin: Begin, tmp_path: Path
) -> None:
    """As `hwc profile --from-trtexec` and `--on` leave it; what it lacks is borrowed from it."""
    plain = begin("jetson_orin")
    slots = find_space(plain.request, plain.target, plain.prepared, Silent()).slots
    profile = plain.target.profile
    setting = Setting(profile.name, "tensorrt", "10.3", 0, profile.power_mode)
    plan = uniform(slots, Precision.FP16)
    us = Spread(123.0, 120.0, 130.0)
    chosen = plan.as_dict()
    times = tuple(SlotTime(i, chosen[s.name], us) for i, s in enumerate(slots.slots))
    measured = Measurement(plan, times, (), (), 5.0, 5.0 + 123.0 * len(times), 10)
    with LatencyTable.open(tmp_path / "orin.sqlite", Mode.WRITE) as table:
        store(table, setting, slots, measured, path="mlp.onnx")
    begun = begin("jetson_orin", table=tmp_path / "orin.sqlite")
    found = decide(begun.request, begun.target, begun.prepared, Silent())
    assert "tensorrt 10.3" in found.source
    for row, slot in enumerate(slots.slots):
        column = slot.choices.index(chosen[slot.name])
        assert found.cost.node_us[row, column] == pytest.approx(123.0)
        assert found.cost.node_source[row, column] == Origin.MEASURED


def test_sparse_weights_are_a_choice_where_asked_for_and_the_device_has_kernels(
    begin: Begin,
) -> None:
    methods = (Method.PRECISION, Method.SPARSITY)
    for device, asked, offered in (
        ("a100", methods, {"fp16 2:4", "int8 2:4"}),
        ("a100", (Method.PRECISION,), set()),
        ("host", methods, set()),
    ):
        begun = begin(device, methods=asked)
        slots = find_space(begun.request, begun.target, begun.prepared, Silent()).slots
        kinds = {choice.kernel for slot in slots.slots for choice in slot.choices}
        assert {kind for kind in kinds if "2:4" in kind} == offered


def test_sparse_weights_are_smaller_and_their_times_are_estimates(begin: Begin) -> None:
    begun = begin("a100", methods=(Method.PRECISION, Method.SPARSITY))
    decisions = decide(begun.request, begun.target, begun.prepared, Silent())
    sizes = weight_bytes(decisions.slots)
    for s, slot in enumerate(decisions.slots.slots):
        kinds = {choice.kernel: k for k, choice in enumerate(slot.choices)}
        if "int8 2:4" in kinds:
            sparse, dense = kinds["int8 2:4"], kinds["int8"]
            assert sizes[s, sparse] == slot.work.weights * 5 // 8
            assert decisions.cost.node_source[s, sparse] == Origin.ESTIMATED
            assert decisions.cost.node_us[s, sparse] <= decisions.cost.node_us[s, dense]
