"""What a graph takes is the sum of its kernels, priced as the compilation would price them."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hwc.toolchain import kernels
from hwc.toolchain.accuracy.evaluator import Reference
from hwc.toolchain.accuracy.metrics import choose_metric
from hwc.toolchain.calibration import Range
from hwc.toolchain.latency.prices import Prices
from hwc.toolchain.latency.probes import uniform
from hwc.toolchain.origin import Origin
from hwc.toolchain.plan import Precision
from hwc.toolchain.progress import Silent
from hwc.tools.stages import billing as billing_stage
from hwc.tools.stages import price as stage
from hwc.tools.stages.billing import Biller
from hwc.tools.stages.compilation import Compilation
from hwc.tools.stages.decide import decide, find_space, prices_elsewhere, reference

if TYPE_CHECKING:
    from hwc.tests.tools.stages.conftest import Begun

Begin = Callable[..., "Begun"]
NET = """<ir_version: 10, opset_import: ["" : 21]> g (float[N,64] x) => (float[N,8] y)
<float[64,{n}] w, float[{n}] b, float[{n},8] v>
{{ h = Gemm (x, w, b) r = Relu (h) s = Sigmoid (r) y = MatMul (s, v) }}"""


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "RUNS", 2)


def billing(begun: "Begun", precision: str) -> Biller:
    """A biller of a compilation, in a precision."""
    space = find_space(begun.request, begun.target, begun.prepared, Silent())
    made = (begun.request, begun.target, begun.prepared, space.writer.ranges)
    return Biller(*made, Precision(precision), Silent())


def compilation(begun: "Begun") -> Compilation:
    """A compilation as far as its data."""
    split = Reference.of(reference(begun.prepared.original), begun.prepared.splits.search, "search")
    metric = choose_metric("auto", split.outputs, labelled=False)
    return Compilation(begun.request, begun.target, begun.prepared, split, metric)


@pytest.fixture
def narrow(parse_graph: Callable[[str], onnx.ModelProto]) -> ir.Model:
    """The network with a quarter of its inner channels, as pruning leaves it."""
    return ir.from_proto(onnx.shape_inference.infer_shapes(parse_graph(NET.format(n=8))))


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_bill_is_the_price_of_the_plan(begin: Begin, precision: str) -> None:
    """Boundaries and what no kernel takes included."""
    begun = begin("jetson_orin")
    bill = billing(begun, precision).bill(begun.prepared.model)
    decisions = decide(begun.request, begun.target, begun.prepared, Silent())
    plan = uniform(decisions.slots, Precision(precision)).as_dict()
    columns = [slot.choices.index(plan[slot.name]) for slot in decisions.slots.slots]
    assert bill.us == pytest.approx(float(decisions.cost.price(np.array([columns], np.intp))[0]))
    breakdown = decisions.cost.explain(np.array(columns, np.intp))
    assert bool(breakdown.boundaries) == (precision != "fp32")
    kernels_alone = sum(paid.us for paid in breakdown.slots)
    changes = sum(change.us for change in breakdown.boundaries)
    assert sum(part.us for part in bill.parts) == pytest.approx(kernels_alone + changes)
    assert bill.origin is Origin.ESTIMATED


def test_what_no_kernel_takes_is_billed_too(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = begin("jetson_orin")
    biller = billing(begun, "int8")
    before = biller.bill(begun.prepared.model)

    def priced(*asked: Any) -> Prices:  # noqa: ANN401 - passed on
        prices = prices_elsewhere(*asked)
        return replace(prices, cost=replace(prices.cost, fixed_us=prices.cost.fixed_us + 7.0))

    monkeypatch.setattr(billing_stage, "prices_elsewhere", priced)
    after = biller.bill(begun.prepared.model)
    assert after.us == pytest.approx(before.us + 7.0)
    assert after.parts == before.parts


def test_every_node_and_weight_is_billed_once(begin: Begin) -> None:
    begun = begin("jetson_orin")
    model = begun.prepared.model
    bill = billing(begun, "int8").bill(model)
    nodes = [node for part in bill.parts for node in part.nodes]
    assert sorted(nodes) == sorted(str(node.name) for node in model.graph)
    tensors = [kernels.constant(value) for value in model.graph.initializers.values()]
    assert bill.weights == sum(tensor.size for tensor in tensors if tensor is not None)


def test_a_smaller_graph_takes_less(begin: Begin, narrow: ir.Model) -> None:
    begun = begin("jetson_orin")
    biller = billing(begun, "int8")
    whole, small = biller.bill(begun.prepared.model), biller.bill(narrow)
    assert small.us < whole.us
    assert small.weights == 64 * 8 + 8 + 8 * 8


@pytest.mark.parametrize("device", ["jetson_orin", "host"])
def test_the_fastest_precision_is_taken(begin: Begin, device: str) -> None:
    begun = begin(device)
    model = begun.prepared.model
    fastest = Biller.fastest(compilation(begun), Silent())
    others = ["fp32", "int8", "int4"] if device == "host" else ["fp32", "fp16", "int8", "int4"]
    took = {name: billing(begun, name).bill(model).us for name in others}
    assert len(set(took.values())) > 1
    assert fastest.precision.value == min(took, key=lambda name: took[name])
    assert fastest.bill(model).us == pytest.approx(min(took.values()))


def test_the_host_is_measured_once_for_each_graph(
    begin: Begin, narrow: ir.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = begin("host")
    biller = billing(begun, "int8")
    graphs = (begun.prepared.model, narrow)
    first = [biller.bill(graph) for graph in graphs]
    assert {bill.origin for bill in first} == {Origin.MEASURED}
    assert all(part.us >= 0 for bill in first for part in bill.parts)
    monkeypatch.setattr(stage, "RUNS", None)  # nothing can be run so often
    with pytest.raises(TypeError):
        billing(begin("host", table=begun.request.output), "int8").bill(narrow)
    again, last = ([biller.bill(graph) for graph in graphs] for _ in range(2))
    assert again == last


def test_tensors_that_the_original_has_not_get_the_widest_range(
    begin: Begin, narrow: ir.Model
) -> None:
    """As the factors of a weight have between them."""
    begun = begin("host")
    for node in narrow.graph:
        if not node.outputs[0].is_graph_output():
            node.outputs[0].name = f"{node.outputs[0].name}_new"
    biller = billing(begun, "int8")
    assert set(biller.ranges) >= {"x", "r", "s"}
    assert biller.bill(narrow).origin is Origin.MEASURED
    found = biller._ranges_of(["x", "r_new"])  # noqa: SLF001 - times do not tell what was taken
    known = biller.ranges.values()
    widest = Range(min(r.low for r in known), max(r.high for r in known))
    assert found == {"x": biller.ranges["x"], "r_new": widest}
