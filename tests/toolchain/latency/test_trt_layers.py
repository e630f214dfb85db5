"""Whose time a TensorRT layer's is, on a ResNet block; the fixtures are hand-written."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from hwc.toolchain.errors import InputError
from hwc.toolchain.find_slots import merge_slots
from hwc.toolchain.latency.measure import Measurement
from hwc.toolchain.latency.observed import store
from hwc.toolchain.latency.table import LatencyTable, Mode
from hwc.toolchain.latency.timing import Setting
from hwc.toolchain.latency.trt_inspector import Kind, Layer, Tensor
from hwc.toolchain.latency.trt_layers import own_kernels, to_measurement
from hwc.toolchain.latency.trtexec import EngineTimes, LayerTime, read_trtexec
from hwc.toolchain.plan import NodeChoice, Plan, Precision
from hwc.toolchain.slots import Slot, SlotGraph
from hwc.toolchain.timing import Spread
from hypothesis import given
from hypothesis import strategies as st

FIXTURES = Path(__file__).parent / "fixtures" / "trtexec"
BLOCK = """
<ir_version: 10, opset_import: ["": 21]>
g (float[1,16,32,32] x) => (float[1,10] y)
<float[16,16,3,3] w1, float[16,16,3,3] w2, float[16,16,1,1] w3, float[10,16] wf, float[10] bf>
{
  [conv1_Conv] a = Conv<pads=[1,1,1,1]>(x, w1)
  [relu1_Relu] r = Relu(a)
  [conv2_Conv] c = Conv<pads=[1,1,1,1]>(r, w2)
  [down_Conv] d = Conv(x, w3)
  [add_Add] s = Add(c, d)
  [relu2_Relu] u = Relu(s)
  [sig_Sigmoid] v = Sigmoid(u)
  [mul_Mul] m = Mul(u, v)
  [gap_GlobalAveragePool] p = GlobalAveragePool(m)
  [flat_Flatten] f = Flatten(p)
  [fc_Gemm] y = Gemm<transB=1>(f, wf, bf)
}
"""
FP32, FP16, INT8 = Precision.FP32, Precision.FP16, Precision.INT8
CONV1, CONV2, DOWN = "/conv1/Conv", "/conv2/Conv", "/down/Conv"
ADD, SIG, MUL = "/add/Add", "/sig/Sigmoid", "/mul/Mul"
GAP, FLAT, FC = "/gap/GlobalAveragePool", "/flat/Flatten", "/fc/Gemm"

Parse = Callable[[str], onnx.ModelProto]


@pytest.fixture(scope="module")
def graph(parse_graph: Parse, subject: Callable[..., "object"]) -> SlotGraph:
    """The slots of the block on a Jetson, its nodes named as PyTorch names them."""
    proto = parse_graph(BLOCK)
    for node in proto.graph.node:
        node.name = "/" + node.name.replace("_", "/", 1)
    slots: SlotGraph = subject(proto, "jetson_orin", precisions=(FP32, FP16, INT8)).slots  # type: ignore[attr-defined]  # Subject is in conftest
    return slots


def read(
    layers: str, profile: str | None = None, precision: Precision | None = None
) -> EngineTimes:
    """Read two of the fixtures."""
    return read_trtexec(
        FIXTURES / f"{layers}-layers.json",
        FIXTURES / f"{profile or layers}-profile.json",
        precision,
    )


def by_size(slot: Slot, choice: NodeChoice) -> float:
    """A weight for splitting that a test can follow."""
    return slot.work.macs + slot.work.writes * choice.precision.activation_bits / 32


def slot_us(found: Measurement, graph: SlotGraph) -> dict[str, float]:
    """Times that are not 0, by name of the slot."""
    return {graph.slots[t.slot].name: t.us.median for t in found.slots if t.us.median}


def edge_us(found: Measurement, graph: SlotGraph) -> dict[str, tuple[object, ...]]:
    """Conversions and their times, by tensor."""
    return {graph.edges[e.edge].tensor: (e.source, e.target, e.us.median) for e in found.edges}


def all_us(found: Measurement) -> float:
    """Everything that was given to someone."""
    parts = (*found.slots, *found.edges, *found.alone)
    return sum(part.us.median for part in parts) + found.fixed_us


def layer(name: str, *nodes: str, us: float = 1.0, **fields: object) -> LayerTime:
    """A kernel with the nodes in its metadata."""
    kind = fields.pop("kind", Kind.KERNEL)
    made = Layer(name, kind, frozenset(nodes), **fields)  # type: ignore[arg-type]  # a test's shorthand
    return LayerTime(made, Spread(us, us, us))


def engine(*layers: LayerTime, precision: Precision | None = FP32) -> EngineTimes:
    """An engine of these layers."""
    return EngineTimes(layers, 100, precision=precision)


def test_fused_layers_of_8_6(graph: SlotGraph) -> None:
    found = to_measurement(read("8.6"), graph, by_size)
    us = slot_us(found, graph)
    assert us[CONV1] == pytest.approx(40)
    assert us[DOWN] == pytest.approx(12.25)
    assert us[CONV2] + us[ADD] == pytest.approx(44)
    assert us[SIG] + us[MUL] == pytest.approx(8 + 3.5)  # with a change of layout of what Mul writes
    assert us[GAP] + us[FLAT] + us[FC] == pytest.approx(20)
    assert found.plan.counts() == {"fp16": 9}
    assert edge_us(found, graph) == {
        "x": (FP32, FP16, pytest.approx(9.5)),
        "y": (FP16, FP32, pytest.approx(2.75)),
    }
    assert found.fixed_us == pytest.approx(0)
    assert (found.runs, found.total_us) == (512, pytest.approx(140))


def test_a_layer_is_split_by_work(graph: SlotGraph) -> None:
    us = slot_us(to_measurement(read("8.6"), graph, by_size), graph)
    work = {slot.name: by_size(slot, NodeChoice(FP16)) for slot in graph.slots}
    assert us[CONV2] / us[ADD] == pytest.approx(work[CONV2] / work[ADD])
    even = slot_us(to_measurement(read("8.6"), graph, lambda *_: 0.0), graph)
    assert even[CONV2] == even[ADD] == pytest.approx(22)


def test_merged_slots_are_not_split(graph: SlotGraph) -> None:
    times = read("8.6")
    merged = merge_slots(graph, own_kernels(times, graph))
    assert [set(slot.nodes) for slot in merged.slots] == [
        {CONV1, "/relu1/Relu"},
        {DOWN},
        {CONV2, ADD, "/relu2/Relu"},
        {SIG, MUL},
        {GAP, FLAT, FC},
    ]
    found = to_measurement(times, merged, by_size)
    expected = [40, 12.25, 44, 8 + 3.5, 20]
    assert [t.us.median for t in found.slots] == pytest.approx(expected)
    assert all_us(found) == pytest.approx(140)


@pytest.mark.parametrize(("layers", "profile"), [("8.6-names", "8.6"), ("8.6-names", "8.4")])
def test_names_alone_say_the_same(graph: SlotGraph, layers: str, profile: str) -> None:
    named = to_measurement(read(layers, profile, FP16), graph, by_size)
    detailed = to_measurement(read("8.6"), graph, by_size)
    assert slot_us(named, graph) == pytest.approx(slot_us(detailed, graph))
    assert edge_us(named, graph) == edge_us(detailed, graph)
    assert named.plan == detailed.plan


def test_an_int8_graph_of_hwc_with_kernels_of_10(graph: SlotGraph) -> None:
    found = to_measurement(read("10"), graph, by_size)
    us = slot_us(found, graph)
    assert us[CONV1] == pytest.approx(21)
    assert us[CONV2] + us[ADD] == pytest.approx(24.5)
    assert us[SIG] + us[MUL] == pytest.approx(6)
    assert us[GAP] == pytest.approx(5)
    assert us[FC] == pytest.approx(7.5 + 3.25)  # its matrix product and its bias
    ran = {name: choice.precision for name, choice in found.plan.choices}
    assert {ran[name] for name in (CONV1, CONV2, DOWN, ADD)} == {INT8}
    assert {ran[name] for name in (SIG, MUL, GAP, FLAT, FC)} == {FP16}
    assert edge_us(found, graph) == {
        "x": (FP32, INT8, pytest.approx(4.5)),
        "u": (INT8, FP16, 0.0),  # the kernel writes fp16 by itself
        "y": (FP16, FP32, 0.0),  # the Cast is in the kernel of the bias
    }
    assert all_us(found) == pytest.approx(79.75)


def test_kernels_of_11(graph: SlotGraph) -> None:
    found = to_measurement(read("11"), graph, by_size)
    us = slot_us(found, graph)
    assert us[CONV2] + us[ADD] == pytest.approx(35)
    assert us[SIG] + us[MUL] == pytest.approx(6.5)
    assert us[GAP] == pytest.approx(4.25)
    assert FLAT not in us
    assert found.plan.counts() == {"fp16": 9}  # what no kernel runs has its neighbour's choice
    assert edge_us(found, graph) == {
        "x": (FP32, FP16, pytest.approx(7)),
        "y": (FP16, FP32, pytest.approx(1.5)),
    }
    assert all_us(found) == pytest.approx(101.25)


def test_names_of_11_alone(graph: SlotGraph) -> None:
    found = to_measurement(read("11-names", precision=FP16), graph, by_size)
    us = slot_us(found, graph)
    assert us[FC] == pytest.approx(6)
    assert us[CONV1] == pytest.approx(33)
    assert all_us(found) == pytest.approx(98)


def test_the_plan_that_was_built_counts_where_it_is_known(graph: SlotGraph) -> None:
    plan = Plan.of((slot.name, NodeChoice(FP16)) for slot in graph.slots)
    found = to_measurement(read("10"), graph, by_size, plan)
    assert found.plan is plan
    assert edge_us(found, graph)["x"] == (FP32, FP16, pytest.approx(4.5))


PRECISIONS = {
    "reads int8 and a float residual": ((Tensor("r", INT8), Tensor("d", FP16)), (), CONV2, INT8),
    "writes int8": ((Tensor("r", FP16),), (Tensor("c", INT8),), CONV2, FP16),
    "bfloat16, though none was offered": (
        (Tensor("c", Precision.BF16),),
        (),
        ADD,
        Precision.BF16,
    ),
    "reads weights of another float": ((Tensor("f", FP16), Tensor("w", FP32)), (), FC, FP16),
    "has no int8 form": ((Tensor("u", INT8),), (Tensor("v", FP16),), SIG, FP16),
    "says nothing": ((), (), CONV2, FP32),
    "only indices": ((Tensor("r", None),), (), CONV2, FP32),
}


@pytest.mark.parametrize(
    ("inputs", "outputs", "node", "precision"), PRECISIONS.values(), ids=PRECISIONS
)
def test_the_types_that_a_layer_reads_say_what_it_ran_in(
    graph: SlotGraph,
    inputs: tuple[Tensor, ...],
    outputs: tuple[Tensor, ...],
    node: str,
    precision: Precision,
) -> None:
    times = engine(layer("k", node, inputs=inputs, outputs=outputs))
    found = to_measurement(times, graph, by_size)
    assert found.plan.as_dict()[node].precision is precision


def test_four_bit_weights_of_an_hwc_graph(graph: SlotGraph) -> None:
    times = engine(layer("k", FC, "/fc/Gemm__q4__dq", inputs=(Tensor("f", FP16),)))
    choices = (NodeChoice(), NodeChoice(FP16), NodeChoice(Precision.INT4))
    slots = tuple(replace(slot, choices=choices) for slot in graph.slots)
    found = to_measurement(times, SlotGraph(slots, graph.edges), by_size)
    assert found.plan.as_dict()[FC].precision is Precision.INT4


def test_a_precision_that_a_slot_has_not_is_fp32(graph: SlotGraph) -> None:
    times = engine(layer("k", SIG), layer("l", CONV1), precision=INT8)
    ran = to_measurement(times, graph, by_size).plan.as_dict()
    assert (ran[SIG].precision, ran[CONV1].precision) == (FP32, INT8)


OWNERS = {
    "a node that the model did not name": (layer("k", "node_of_c"), CONV2),
    "the weights of a slot": (layer("k", "/down/Conv__q8__dq"), DOWN),
    "a copy that belongs to a node": (layer("c_0 copy", ADD, kind=Kind.REFORMAT), ADD),
    "within a slot": (layer("Reformatting CopyNode for Input Tensor 0 to /relu1/Relu"), CONV1),
    "a name without metadata": (layer("w + /down/Conv + PWN(PWN(/other/Thing))"), DOWN),
    "what it writes": (
        layer("__mye1", inputs=(Tensor("r", FP32),), outputs=(Tensor("c", FP32),)),
        CONV2,
    ),
    "a form of a tensor within a slot": (layer("a__fp16", "a__fp16"), CONV1),
    "a block without a name of its own": (layer("{ForeignNode[/conv2/Conv]}"), CONV2),
}


@pytest.mark.parametrize(("timed", "name"), OWNERS.values(), ids=OWNERS)
def test_whose_a_layer_is(graph: SlotGraph, timed: LayerTime, name: str) -> None:
    found = to_measurement(engine(timed, layer("k", GAP)), graph, by_size)
    assert slot_us(found, graph) == pytest.approx({name: 1.0, GAP: 1.0})


TO = "Reformatting CopyNode for {} Tensor {} to {}"
EDGES = {
    "the only input": (layer(TO.format("Input", 0, "/down/Conv")), "x"),
    "the second input of a fused kernel": (
        layer(TO.format("Input", 1, "/conv2/Conv + /add/Add + /relu2/Relu")),
        "d",
    ),
    "an input past the last": (layer(TO.format("Input", 7, "/down/Conv")), "x"),
    "the output of a fused kernel": (layer(TO.format("Output", 0, "/conv2/Conv + /add/Add")), "u"),
    "by what it reads": (
        layer(TO.format("Input", 0, "?"), inputs=(Tensor("u", FP16),), kind=Kind.REFORMAT),
        "u",
    ),
    "a quantisation that names itself": (layer("x__q", kind=Kind.REFORMAT), "x"),
    "a quantisation beside that of weights": (layer("k", "/down/Conv__q8__dq", "x__q"), "x"),
    "of a tensor that was converted before": (
        layer(
            TO.format("Input", 0, "/down/Conv"),
            inputs=(Tensor("Reformatted Output Tensor 0 to ?", FP16),),
            kind=Kind.REFORMAT,
        ),
        "x",
    ),
}


@pytest.mark.parametrize(("timed", "tensor"), EDGES.values(), ids=EDGES)
def test_conversions_belong_to_edges(graph: SlotGraph, timed: LayerTime, tensor: str) -> None:
    ran = {DOWN: FP16, SIG: FP16, MUL: FP16}  # so that every tensor above is converted
    plan = Plan.of((slot.name, NodeChoice(ran.get(slot.name, INT8))) for slot in graph.slots)
    found = to_measurement(engine(timed, layer("k", GAP)), graph, by_size, plan)
    converted = {t: us for t, (_, _, us) in edge_us(found, graph).items() if us}
    assert converted == {tensor: 1.0}


def test_a_change_of_layout_is_its_writers(graph: SlotGraph) -> None:
    moved = layer(TO.format("Input", 0, "/conv2/Conv"), us=2.0)
    at_input = layer(TO.format("Input", 0, "/down/Conv"), us=3.0)
    found = to_measurement(engine(moved, at_input, layer("k", GAP, us=9.0)), graph, by_size)
    assert found.edges == ()
    assert slot_us(found, graph) == {CONV1: 5.0, GAP: 9.0}  # of an input, its first reader's


def test_a_block_takes_what_no_other_layer_claims(graph: SlotGraph) -> None:
    block = layer("{ForeignNode[conv1.weight.../fc/Gemm]}", us=9.0)
    found = to_measurement(engine(block, layer("k", CONV1), layer("l", MUL)), graph, by_size)
    us = slot_us(found, graph)
    assert us.pop(CONV1) == us.pop(MUL) == 1.0
    assert sum(us.values()) == pytest.approx(9)
    assert {CONV2, FC} < set(us)


def test_a_block_reaches_from_what_it_writes_to_other_layers(graph: SlotGraph) -> None:
    block = layer("__mye", us=6.0, outputs=(Tensor("m", FP16),))
    others = [layer("k", CONV2), layer("l", DOWN), layer("o", FC)]
    found = to_measurement(engine(block, *others), graph, by_size)
    assert set(slot_us(found, graph)) == {ADD, SIG, MUL, CONV2, DOWN, FC}


def test_layers_of_nobody_are_fixed(graph: SlotGraph) -> None:
    found = to_measurement(
        engine(layer("k", CONV1, us=5), layer("__mye41_myl0_1", us=2)), graph, by_size
    )
    assert found.fixed_us == pytest.approx(2)
    assert all_us(found) == pytest.approx(7)


def test_time_between_the_layers_is_fixed(graph: SlotGraph) -> None:
    times = EngineTimes((layer("k", CONV1, us=5),), 10, total_us=12.0, precision=FP32)
    found = to_measurement(times, graph, by_size)
    assert (found.fixed_us, found.total_us) == (7.0, 12.0)


def test_refuses_the_engine_of_another_model(graph: SlotGraph) -> None:
    times = engine(layer("/blocks.0/attn/MatMul", us=9), layer("/conv1/Conv", us=1))
    with pytest.raises(InputError, match="1 of 2 layers with 90% of the time") as refusal:
        to_measurement(times, graph, by_size)
    assert "'/blocks.0/attn/MatMul'" in refusal.value.message


def test_an_engine_without_layers(graph: SlotGraph) -> None:
    found = to_measurement(EngineTimes((), 1, total_us=3.0), graph, by_size)
    assert all_us(found) == pytest.approx(3)


def test_what_was_imported_prices_the_plan_that_ran(graph: SlotGraph, tmp_path: Path) -> None:
    """From the files through the table to the price: the engine's own time."""
    times = read("8.6")
    merged = merge_slots(graph, own_kernels(times, graph))
    found = to_measurement(times, merged, by_size)
    setting = Setting("jetson_agx_orin", "tensorrt", "8.6.1", 0, "30W")
    with LatencyTable.open(tmp_path / "table.sqlite", Mode.WRITE) as table:
        store(table, setting, merged, found, path="")
        rows = {(row.key, row.choice): row.timing for row in table.kernels(setting)}
        boundaries = [row.timing.median_us for row in table.boundaries(setting)]
    us = [rows[slot.key, "fp16"].median_us for slot in merged.slots]
    assert us == pytest.approx([40, 12.25, 44, 11.5, 20])
    assert sorted(boundaries) == pytest.approx([2.75, 9.5])
    assert rows[merged.slots[0].key, "fp16"].runs == times.runs


NODES = [CONV1, "/relu1/Relu", CONV2, DOWN, ADD, "/relu2/Relu", SIG, MUL, GAP, FLAT, FC, "?"]
TENSORS = ["x", "r", "c", "d", "u", "v", "m", "p", "f", "y", "__mye1"]


@st.composite
def layer_times(draw: st.DrawFn) -> LayerTime:
    """Layers such as TensorRT might make, and some that it would not."""
    nodes = draw(st.lists(st.sampled_from(NODES), max_size=4))
    fused = " + ".join(nodes) or "__mye"
    patterns = ["{}", "PWN({})", TO.format("Input", 1, "{}"), TO.format("Output", 0, "{}")]
    pattern = draw(st.sampled_from([*patterns, "{{ForeignNode[{}...nowhere]}}", "k"]))
    ends = st.lists(
        st.builds(Tensor, st.sampled_from(TENSORS), st.sampled_from([FP32, FP16, INT8, None])),
        max_size=3,
    ).map(tuple)
    metadata = draw(st.sampled_from([frozenset(nodes), frozenset[str]()]))
    kind, inputs, outputs = draw(st.sampled_from(Kind)), draw(ends), draw(ends)
    us = draw(st.floats(0, 1e6))
    made = Layer(pattern.format(fused), kind, metadata, inputs, outputs)
    return LayerTime(made, Spread(us, us / 2, us * 2))


@given(layers=st.lists(layer_times(), max_size=12), merge=st.booleans())
def test_nothing_is_lost_and_nothing_made(
    graph: SlotGraph, *, layers: list[LayerTime], merge: bool
) -> None:
    """The parts are the total, whatever the layers are called, split or merged."""
    anchor = layer("anchor", *NODES, us=1e8)  # so that most of the time is the model's
    times = engine(*layers, anchor)
    slots = merge_slots(graph, own_kernels(times, graph)) if merge else graph
    found = to_measurement(times, slots, by_size)
    whole = sum(timed.us.median for timed in times.layers)
    assert all_us(found) == pytest.approx(whole, rel=1e-9)
    assert found.total_us == pytest.approx(whole, rel=1e-9)
    spreads = [t.us for t in found.slots] + [t.us for t in found.edges]
    assert all(0 <= us.p10 <= us.median <= us.p90 for us in spreads)
