"""From a graph to its decisions: groups, figures, legal choices with reasons, and edges."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hwc.toolchain.dialect import Dialect, Int4Form
from hwc.toolchain.find_slots import find_slots, merge_slots, withdraw
from hwc.toolchain.plan import Precision
from hwc.toolchain.slots import Edge, Slot, SlotGraph, Work

if TYPE_CHECKING:
    from hwc.tests.conftest import Subject

OPSET = '<ir_version: 10, opset_import: ["" : 21]>'
FUSING = Dialect("fusing", 13, 21, fused_activations=frozenset({"Relu", "Clip"}))
INT8 = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "Mul"})
FULL = replace(
    FUSING,
    name="full",
    ops={
        Precision.INT8: INT8,
        Precision.FP16: INT8 | {"Relu"},
        Precision.INT4: frozenset({"Gemm", "MatMul"}),
    },
    int4=Int4Form.MATMUL_NBITS,
)
FindSlots = Callable[..., SlotGraph]


@pytest.fixture
def find(subject: Callable[..., "Subject"]) -> FindSlots:
    """The slots of a graph in ONNX text."""

    def slots(text: str, dialect: Dialect = FUSING) -> SlotGraph:
        return subject(f"{OPSET} {text}", dialect).slots

    return slots


def by_name(graph: SlotGraph) -> dict[str, Slot]:
    """Slots by name."""
    return {slot.name: slot for slot in graph.slots}


def choices(slot: Slot) -> list[str]:
    """The precisions that may be chosen."""
    return [choice.precision.value for choice in slot.choices]


def test_an_anchor_with_its_activation(find: FindSlots) -> None:
    graph = find(
        """g (float[2,3,4,4] x) => (float[2,5,4,4] y) <float[5,3,1,1] w, float[5] b>
        { c = Conv (x, w, b) r = Relu (c) y = Sigmoid (r) }"""
    )
    conv, sigmoid = graph.slots
    assert conv.parts == (("c", "r"),)
    assert conv.nodes == ("c", "r")
    assert (conv.name, conv.op, conv.kind) == ("c", "Conv", "conv")
    assert (conv.inputs, conv.inner, conv.outputs) == (("x",), (), ("r",))
    assert conv.tensors == ("x", "r")
    assert sigmoid.inputs == ("r",)


def test_work(find: FindSlots) -> None:
    graph = find(
        """g (float[2,3,4,4] x) => (float[2,5,4,4] y)
        <float[5,3,1,1] w, float[5] b, float lo = {0.0}, float hi = {6.0}>
        { c = Conv (x, w, b) r = Clip (c, lo, hi) y = Add (r, r) }"""
    )
    conv, add = graph.slots
    assert conv.work == Work(
        macs=2 * 5 * 16 * 3, weights=15 + 5 + 2, reads=2 * 3 * 16, writes=2 * 5 * 16, channels=5
    )
    assert add.work == Work(macs=0, weights=0, reads=160, writes=160)


NOT_FUSED = {
    "another reader": "c = Conv (x, w) r = Relu (c) y = Add (r, c)",
    "an output": "y = Conv (x, w) z = Relu (y)",
    "no anchor": "c = Sigmoid (x) y = Relu (c)",
    "no activation of the dialect": "c = Conv (x, w) y = Sigmoid (c)",
    "a computed bound": "m = ReduceMin <keepdims = 0> (x) c = Conv (x, w) y = Clip (c, m)",
    "another domain": "c = Conv (x, w) y = com.microsoft.Gelu (c)",
}


@pytest.mark.parametrize("nodes", NOT_FUSED.values(), ids=list(NOT_FUSED))
def test_what_is_not_fused(find: FindSlots, nodes: str) -> None:
    wide = replace(FUSING, fused_activations=frozenset({"Relu", "Clip", "Gelu"}))
    outputs = "float[2,3,4,4] y" + (", float[2,3,4,4] z" if " z =" in nodes else "")
    graph = find(f"g (float[2,3,4,4] x) => ({outputs}) <float[3,3,1,1] w> {{ {nodes} }}", wide)
    assert all(len(slot.nodes) == 1 for slot in graph.slots)


def test_a_reader_in_a_branch_is_another_reader(find: FindSlots) -> None:
    graph = find(
        """g (float[2,3,4,4] x, bool flag) => (float[2,3,4,4] y, float[2,3,4,4] z)
        <float[3,3,1,1] w> {
            c = Conv (x, w)
            z = Relu (c)
            y = If (flag) <
                then_branch = t () => (float[2,3,4,4] a) { a = Neg (c) },
                else_branch = e () => (float[2,3,4,4] b) { b = Abs (c) }
            >
        }"""
    )
    assert by_name(graph)["c"].nodes == ("c",)


def test_nodes_without_float_outputs_are_no_slots(find: FindSlots) -> None:
    graph = find(
        """g (float[2,3] x, int64[3] i) => (int64[2] s, int64[3] j, float[2,3] y)
        { s = Shape (x) j = Add (i, i) y = Relu (x) }"""
    )
    assert [slot.name for slot in graph.slots] == ["y"]


def test_a_model_without_floats_has_no_slots(find: FindSlots) -> None:
    assert find("g (int64[3] x) => (int64[3] y) { y = Add (x, x) }") == SlotGraph((), ())


def test_equal_kernels_have_equal_keys(find: FindSlots) -> None:
    a, b, c = find(
        """g (float[2,3,4,4] x) => (float[2,3,4,4] y) <float[3,3,1,1] w, float[3,3,1,1] v>
        { a = Conv (x, w) b = Conv (a, v) y = Conv <group = 1, strides = [1,1]> (b, w) }"""
    ).slots
    assert a.key == b.key
    assert a.key != c.key  # an attribute that is written out is not known to be the default


def test_what_tells_kernels_apart(find: FindSlots) -> None:
    keys = [
        find(f"g (float[{shape}] x) => (float[{out}] y) <{w}> {{ {nodes} }}").slots[0].key
        for shape, out, w, nodes in (
            ("2,3,4,4", "2,3,4,4", "float[3,3,1,1] w", "y = Conv (x, w)"),
            ("1,3,4,4", "1,3,4,4", "float[3,3,1,1] w", "y = Conv (x, w)"),
            ("2,3,4,4", "2,4,4,4", "float[4,3,1,1] w", "y = Conv (x, w)"),
            ("2,3,4,4", "2,3,2,2", "float[3,3,1,1] w", "y = Conv <strides = [2,2]> (x, w)"),
            ("2,3,4,4", "2,3,4,4", "float[3,3,1,1] w", "c = Conv (x, w) y = Relu (c)"),
            ("2,3,4,4", "2,3,4,4", "float[3,1,1,1] w", "y = Conv <group = 3> (x, w)"),
            ("2,3,4,4", "2,3,4,4", "float[2,3,4,4] w", "y = Add (x, w)"),
            ("2,3,4,4", "2,3,4,4", "float w", "y = Add (x, x)"),
        )
    ]
    assert len(set(keys)) == len(keys)


def test_branches_with_other_bodies_are_other_kernels(find: FindSlots) -> None:
    def key(op: str) -> str:
        return (
            find(
                f"""g (float[2] x, bool flag) => (float[2] y) {{ y = If (flag) <
                then_branch = t () => (float[2] a) {{ a = {op} (x) }},
                else_branch = e () => (float[2] b) {{ b = Abs (x) }}
            > }}"""
            )
            .slots[0]
            .key
        )

    assert key("Neg") == key("Neg") != key("Exp")


def test_all_that_backend_and_device_have(find: FindSlots) -> None:
    graph = find(
        """g (float[2,64] x) => (float[2,8] y) <float[64,8] w>
        { m = MatMul (x, w) e = Exp (m) y = Add (e, e) }""",
        FULL,
    )
    slots = by_name(graph)
    assert choices(slots["m"]) == ["fp32", "fp16", "int8", "int4"]
    assert choices(slots["y"]) == ["fp32", "fp16", "int8"]
    assert choices(slots["e"]) == ["fp32"]
    assert slots["e"].kept == "full has no lower precision for Exp"
    assert slots["m"].kept == ""


def test_only_what_the_device_runs(subject: Callable[..., "Subject"]) -> None:
    bench = subject(
        f"{OPSET} g (float[2,4] x) => (float[2,4] y) {{ y = Add (x, x) }}",
        FULL,
        precisions=(Precision.FP16, Precision.FP32),
    )
    assert choices(bench.slots.slots[0]) == ["fp32", "fp16"]


KEPT = {
    "recurrent": (
        "float[4,1,3] x",
        "float[4,1,1,2] y",
        "float[1,8,3] w, float[1,8,2] r",
        "y = LSTM <hidden_size = 2> (x, w, r)",
        "recurrent layer: no safe low precision",
    ),
    "control flow": (
        "float[2] x, bool flag",
        "float[2] y",
        "float unused",
        """y = If (flag) < then_branch = t () => (float[2] a) { a = Neg (x) },
           else_branch = e () => (float[2] b) { b = Abs (x) } >""",
        "control flow: its body stays as it is",
    ),
    "half": (
        "float16[2] x",
        "float16[2] y",
        "float unused",
        "y = Add (x, x)",
        "not fp32 in the original",
    ),
    "double": (
        "double[2] x",
        "double[2] y",
        "float unused",
        "y = Add (x, x)",
        "not fp32 in the original",
    ),
    "quantised": (
        "int8[2] x",
        "float[2] y",
        "float s = {1.0}",
        "y = DequantizeLinear (x, s)",
        "quantised already",
    ),
}


@pytest.mark.parametrize(("x", "y", "w", "nodes", "why"), KEPT.values(), ids=list(KEPT))
def test_what_is_kept(  # noqa: PLR0913 - the parts of a graph
    find: FindSlots, *, x: str, y: str, w: str, nodes: str, why: str
) -> None:
    every = {p: frozenset({"LSTM", "If", "Add", "DequantizeLinear"}) for p in FULL.ops}
    slot = find(f"g ({x}) => ({y}) <{w}> {{ {nodes} }}", replace(FULL, ops=every)).slots[0]
    assert choices(slot) == ["fp32"]
    assert slot.kept == why


def test_another_domain_is_kept(subject: Callable[..., "Subject"]) -> None:
    bench = subject(
        """<ir_version: 10, opset_import: ["" : 21, "com.microsoft" : 1]>
        g (float[2] x) => (float[2] y) { y = com.microsoft.Gelu (x) }"""
    )
    assert bench.slots.slots[0].kept == "custom operator of com.microsoft"


NOT_INT8 = {
    "a computed weight": ("float[4,4] y", "t = Exp (x) y = Gemm (x, t)"),
    "a computed bias": ("float[4,4] y", "t = Exp (x) y = Gemm (x, w, t)"),
    "a bias for each row": ("float[4,4] y", "y = Gemm (x, w, column)"),
    "a bias for each element": ("float[4,4] y", "y = Gemm (x, w, w)"),
    "alpha": ("float[4,4] y", "y = Gemm <alpha = 2.0> (x, w)"),
    "beta": ("float[4,4] y", "y = Gemm <beta = 0.5> (x, w, row)"),
    "a transposed input": ("float[4,4] y", "y = Gemm <transA = 1> (x, w)"),
    "a constant input": ("float[4,4] y", "y = Gemm (w, w, x)"),
    "an infinite constant": ("float[4,4] y", "y = Add (x, mask)"),
}


@pytest.mark.parametrize(("out", "nodes"), NOT_INT8.values(), ids=list(NOT_INT8))
def test_what_no_int8_kernel_does(find: FindSlots, out: str, nodes: str) -> None:
    graph = find(
        f"""g (float[4,4] x) => ({out})
        <float[4,4] w, float[4,1] column, float[4] row,
         float[4] mask = {{0.0, 0.0, -inf, 0.0}}> {{ {nodes} }}""",
        FULL,
    )
    assert "int8" not in choices(by_name(graph)["y"])


INT8_BIASES = ("float[4] b", "float[1,4] b", "float[1] b", "float b")


@pytest.mark.parametrize("bias", INT8_BIASES)
def test_a_row_of_biases_is_fine(find: FindSlots, bias: str) -> None:
    graph = find(
        f"""g (float[2,8] x) => (float[2,4] y) <float[8,4] w, {bias}>
        {{ y = Gemm (x, w, b) }}""",
        FULL,
    )
    assert "int8" in choices(graph.slots[0])


INT4 = {
    "one block": ("float[2,32] x", "float[32,4] w", "MatMul (x, w)", True),
    "less than a block": ("float[2,31] x", "float[31,4] w", "MatMul (x, w)", False),
    "transposed": ("float[2,32] x", "float[4,32] w", "Gemm <transB = 1> (x, w)", True),
    "transposed, too short": (
        "float[2,4] x",
        "float[4,4] w",
        "Gemm <transB = 1> (x, w)",
        False,
    ),
    "three axes": ("float[2,3,32] x", "float[2,32,4] w", "MatMul (x, w)", False),
    "scaled": ("float[2,32] x", "float[32,4] w", "Gemm <alpha = 2.0> (x, w)", False),
}


@pytest.mark.parametrize(("x", "w", "call", "legal"), INT4.values(), ids=list(INT4))
def test_4_bits_want_a_matrix_of_a_block(
    find: FindSlots, x: str, w: str, call: str, *, legal: bool
) -> None:
    out = "float[2,3,4] y" if "2,3,32" in x else "float[2,4] y"
    graph = find(f"g ({x}) => ({out}) <{w}> {{ y = {call} }}", FULL)
    assert ("int4" in choices(graph.slots[0])) is legal


def test_no_4_bits_where_the_dialect_cannot_write_them(find: FindSlots) -> None:
    graph = find(
        "g (float[2,64] x) => (float[2,8] y) <float[64,8] w> { y = MatMul (x, w) }",
        replace(FULL, int4=Int4Form.NONE),
    )
    assert "int4" not in choices(graph.slots[0])


def test_inputs_outputs_and_several_readers(find: FindSlots) -> None:
    graph = find(
        """g (float[2,4] x) => (float[2,4] a, float[2,4] y)
        { a = Relu (x) b = Exp (a) y = Add (a, b) }"""
    )
    assert graph.edges == (
        Edge("x", -1, (0,), 8),
        Edge("a", 0, (1, 2), 8, is_output=True),
        Edge("b", 1, (2,), 8),
        Edge("y", 2, (), 8, is_output=True),
    )


def test_a_tensor_that_is_read_twice_by_one_slot(find: FindSlots) -> None:
    graph = find("g (float[2,4] x) => (float[2,4] y) { y = Add (x, x) }")
    assert graph.edges[0] == Edge("x", -1, (0,), 8)


def test_tensors_within_a_slot_and_integers_are_no_edges(find: FindSlots) -> None:
    graph = find(
        """g (float[2,3,4,4] x) => (float[2,3,4,4] y, int64[4] s) <float[3,3,1,1] w>
        { c = Conv (x, w) y = Relu (c) s = Shape (x) }"""
    )
    assert [edge.tensor for edge in graph.edges] == ["x", "y"]


def test_every_output_of_a_split(find: FindSlots) -> None:
    graph = find(
        """g (float[2,4] x) => (float[2,2] y, float[2,2] q)
        { p, q = Split <axis = 1, num_outputs = 2> (x) y = Relu (p) }"""
    )
    assert graph.slots[0].outputs == ("p", "q")
    assert [(e.tensor, e.consumers, e.is_output) for e in graph.edges] == [
        ("x", (0,), False),
        ("p", (1,), False),
        ("q", (), True),
        ("y", (), True),
    ]


def test_an_input_that_is_handed_through_is_no_edge(find: FindSlots) -> None:
    graph = find(
        "g (float[2] x, float[2] u) => (float[2] y, float[2] v) { y = Relu (x) v = Identity (u) }"
    )
    assert [edge.tensor for edge in graph.edges] == ["x", "u", "y", "v"]


SILU = "g (float[2,4] x) => (float[2,4] y) { s = Sigmoid (x) m = Mul (x, s) y = Exp (m) }"
BOTH = replace(FULL, ops={Precision.INT8: frozenset({"Sigmoid", "Mul"})})


def test_what_has_no_kernel_of_its_own_joins_its_reader(find: FindSlots) -> None:
    graph = merge_slots(find(SILU, BOTH), alone={1, 2})
    silu, exp = graph.slots
    assert silu.parts == (("s",), ("m",))
    assert (silu.inputs, silu.inner, silu.outputs) == (("x",), ("s",), ("m",))
    assert choices(silu) == ["fp32", "int8"]
    assert exp.name == "y"
    assert [(e.tensor, e.producer, e.consumers) for e in graph.edges] == [
        ("x", -1, (0,)),
        ("m", 0, (1,)),
        ("y", 1, ()),
    ]


def test_nothing_is_merged_where_all_run_alone(find: FindSlots) -> None:
    graph = find(SILU, BOTH)
    assert merge_slots(graph, alone={0, 1, 2}) == graph


def test_one_that_would_take_a_choice_away_rides(find: FindSlots) -> None:
    """The runtime names the fused kernel after the activation, yet the work is the Conv's."""
    graph = find(
        """g (float[2,3,4,4] x) => (float[2,3,4,4] y) <float[3,3,1,1] w>
        { c = Conv (x, w) s = Sigmoid (c) y = Exp (s) }""",
        FULL,
    )
    conv, sigmoid, _ = merge_slots(graph, alone={1, 2}).slots
    assert choices(conv) == ["fp32", "fp16", "int8"]
    assert (conv.rides, sigmoid.rides) == ("", "c")
    assert merge_slots(graph, alone={1, 2}).edges == graph.edges


def test_one_with_two_readers_stays(find: FindSlots) -> None:
    graph = find(
        "g (float[2] x) => (float[2] y, float[2] z) { s = Neg (x) y = Abs (s) z = Exp (s) }"
    )
    assert merge_slots(graph, alone={1, 2}) == graph


def test_one_that_is_an_output_stays(find: FindSlots) -> None:
    graph = find("g (float[2] x) => (float[2] s, float[2] y) { s = Neg (x) y = Abs (s) }")
    assert merge_slots(graph, alone={1}) == graph


def test_a_precision_is_withdrawn_from_what_touches_a_tensor(find: FindSlots) -> None:
    graph = find(
        """g (float[2,4] x) => (float[2,4] y)
        { a = Add (x, x) b = Mul (a, x) c = Mul (b, b) y = Exp (c) }""",
        replace(FULL, ops={Precision.INT8: INT8}),
    )
    a, b, c, exp = withdraw(graph, Precision.INT8, {"a"}).slots
    assert [choices(slot) for slot in (a, b, c)] == [["fp32"], ["fp32"], ["fp32", "int8"]]
    assert [slot.kept for slot in (a, b, c)] == ["it handles infinite numbers"] * 2 + [""]
    assert exp == graph.slots[3]
    assert withdraw(graph, Precision.INT8, set()) == graph


SPARSE = replace(
    FULL,
    ops={Precision.INT8: INT8, Precision.FP16: INT8 | {"Relu"}},
    fused_activations=frozenset(),
    sparse_2_4={Precision.FP16: 16, Precision.INT8: 32},
)


@pytest.mark.parametrize(
    ("text", "offered"),
    [
        pytest.param(
            "g (float[1,32,4,4] x) => (float[1,64,4,4] y) <float[64,32,1,1] w> { y = Conv(x, w) }",
            ["fp32", "fp16", "fp16 2:4", "int8", "int8 2:4"],
            id="a conv",
        ),
        pytest.param(
            "g (float[1,16,4,4] x) => (float[1,64,4,4] y) <float[64,16,1,1] w> { y = Conv(x, w) }",
            ["fp32", "fp16", "fp16 2:4", "int8"],
            id="too few input channels for int8",
        ),
        pytest.param(
            "g (float[1,32,4,4] x) => (float[1,8,4,4] y) <float[8,32,1,1] w> { y = Conv(x, w) }",
            ["fp32", "fp16", "int8"],
            id="too few output channels",
        ),
        pytest.param(
            """g (float[1,64,4,4] x) => (float[1,64,4,4] y) <float[64,32,1,1] w>
            { y = Conv<group = 2>(x, w) }""",
            ["fp32", "fp16", "int8"],
            id="groups",
        ),
        pytest.param(
            "g (float[4,64] x) => (float[4,32] y) <float[32,64] w> { y = Gemm<transB=1>(x, w) }",
            ["fp32", "fp16", "fp16 2:4", "int8", "int8 2:4"],
            id="a gemm",
        ),
        pytest.param(
            "g (float[4,32] a, float[32,32] b) => (float[4,32] y) { y = MatMul(a, b) }",
            ["fp32", "fp16", "int8"],
            id="a product of two activations",
        ),
        pytest.param(
            "g (float[4,32] x) => (float[4,32] y) <float[32] w> { y = Mul(x, w) }",
            ["fp32", "fp16", "int8"],
            id="no product",
        ),
    ],
)
def test_sparse_kernels_are_offered_where_they_are_and_asked_for(
    text: str, offered: list[str], subject: Callable[..., "Subject"]
) -> None:
    bench = subject(f"{OPSET} {text}", SPARSE)
    dense = [kind for kind in offered if "2:4" not in kind]
    precisions = (Precision.FP32, Precision.FP16, Precision.INT8)
    for ask, wanted in ((True, offered), (False, dense)):
        (slot,) = find_slots(bench.model, SPARSE, precisions, sparse=ask).slots
        assert [choice.kernel for choice in slot.choices] == wanted
    (slot,) = find_slots(bench.model, FULL, precisions, sparse=True).slots
    assert [choice.kernel for choice in slot.choices] == dense  # a backend without such kernels


def test_a_sparse_conv_keeps_its_choices_with_what_is_merged_into_it(
    subject: Callable[..., "Subject"],
) -> None:
    bench = subject(
        f"""{OPSET} g (float[1,32,4,4] x) => (float[1,32,4,4] y) <float[32,32,1,1] w>
        {{ c = Conv(x, w) y = Relu(c) }}""",
        SPARSE,
    )
    graph = find_slots(bench.model, SPARSE, (Precision.FP32, Precision.FP16), sparse=True)
    (slot,) = merge_slots(graph, {1}).slots
    assert [choice.kernel for choice in slot.choices] == ["fp32", "fp16", "fp16 2:4"]
