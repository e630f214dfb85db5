"""What hwc knows about operators: classes and multiply-accumulates, counted by hand."""

from collections.abc import Callable

import onnx
import onnx_ir as ir
import pytest
from hwc.toolchain import kernels

OPSET = '<ir_version: 10, opset_import: ["" : 21]>'
# The node, a weight, the shape of the output, and the MACs; x has shape (2, 8, 6, 6).
MACS = {
    "Conv": ("Conv <pads = [1,1,1,1]> (x, w)", "float[4,8,3,3] w", "2,4,6,6", 2 * 4 * 36 * 8 * 9),
    "strided Conv": ("Conv <strides = [2,2]> (x, w)", "float[4,8,2,2] w", "2,4,3,3", 72 * 8 * 4),
    "grouped Conv": ("Conv <group = 4> (x, w)", "float[4,2,1,1] w", "2,4,6,6", 2 * 4 * 36 * 2),
    "depthwise Conv": ("Conv <group = 8> (x, w)", "float[8,1,3,3] w", "2,8,4,4", 2 * 8 * 16 * 9),
    "ConvTranspose": (
        "ConvTranspose <strides = [2,2]> (x, w)",
        "float[8,4,2,2] w",
        "2,4,12,12",
        2 * 8 * 36 * 4 * 4,
    ),
    "MatMul": ("MatMul (x, w)", "float[6,5] w", "2,8,6,5", 2 * 8 * 6 * 5 * 6),
    "MatMul of activations": ("MatMul (x, x)", "float unused", "2,8,6,6", 2 * 8 * 36 * 6),
    "Relu": ("Relu (x)", "float unused", "2,8,6,6", 0),
}
GEMMS = {
    "Gemm": ("Gemm (a, w)", "float[3,8] a", "float[8,4] w", 3 * 8 * 4),
    "transposed weight": ("Gemm <transB = 1> (a, w)", "float[3,8] a", "float[4,8] w", 3 * 8 * 4),
    "transposed input": ("Gemm <transA = 1> (a, w)", "float[8,3] a", "float[8,4] w", 3 * 8 * 4),
}
KINDS = {
    "conv": ("Conv", "ConvTranspose"),
    "gemm": ("Gemm", "MatMul"),
    "norm": ("LayerNormalization", "Softmax", "ReduceMean", "BatchNormalization"),
    "pool": ("MaxPool", "AveragePool", "GlobalAveragePool", "Resize"),
    "recurrent": ("LSTM", "GRU", "RNN"),
    "move": ("Reshape", "Transpose", "Concat", "Pad", "Slice", "Split", "Gather", "Identity"),
    "other": ("If", "Loop", "Scan"),
    "elementwise": ("Add", "Mul", "Sigmoid", "Relu", "Erf", "SomethingNew"),
}


@pytest.fixture
def node(parse_graph: Callable[[str], onnx.ModelProto]) -> Callable[[str], ir.Node]:
    """The first node of a graph."""
    return lambda text: ir.from_proto(parse_graph(text)).graph[0]


@pytest.mark.parametrize(("call", "weight", "out", "macs"), MACS.values(), ids=list(MACS))
def test_multiply_accumulates(
    node: Callable[[str], ir.Node], call: str, weight: str, out: str, macs: int
) -> None:
    graph = f"{OPSET} g (float[2,8,6,6] x) => (float[{out}] y) <{weight}> {{ y = {call} }}"
    assert kernels.macs(node(graph)) == macs


@pytest.mark.parametrize(("call", "a", "weight", "macs"), GEMMS.values(), ids=list(GEMMS))
def test_multiply_accumulates_of_a_gemm(
    node: Callable[[str], ir.Node], call: str, a: str, weight: str, macs: int
) -> None:
    assert (
        kernels.macs(node(f"{OPSET} g ({a}) => (float[3,4] y) <{weight}> {{ y = {call} }}")) == macs
    )


@pytest.mark.parametrize(
    ("kind", "op"), [(kind, op) for kind, several in KINDS.items() for op in several]
)
def test_kinds(kind: str, op: str) -> None:
    assert kernels.kind(ir.node(op, [ir.Value(name="x")])) == kind


@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
@pytest.mark.parametrize(
    ("inputs", "kind"),
    [
        ([ir.Value(name="x")], "depthwise"),
        ([ir.Value(name="x"), ir.Value(name="w", shape=ir.Shape([8, 1, 3, 3]))], "depthwise"),
        ([ir.Value(name="x"), ir.Value(name="w", shape=ir.Shape([32, 4, 3, 3]))], "conv"),
    ],
    ids=["unknown", "one-channel", "four-channels"],
)
def test_a_grouped_convolution_is_depthwise_with_one_channel_a_group(
    op: str, inputs: list[ir.Value], kind: str
) -> None:
    assert kernels.kind(ir.node(op, inputs, {"group": 8})) == kind


def test_a_free_dimension_counts_as_1() -> None:
    value = ir.Value(name="x", shape=ir.Shape(["N", 3, None, 5]))
    assert kernels.dims(value) == (1, 3, 1, 5)
    assert kernels.elements(value) == 15
    assert kernels.dims(ir.Value(name="x")) == ()


def test_constants_are_initialisers_and_constant_nodes_but_no_inputs(
    parse_graph: Callable[[str], onnx.ModelProto],
) -> None:
    model = ir.from_proto(
        parse_graph(
            f"""{OPSET} g (float[2] x) => (float[2] y) <float[2] k>
            {{ c = Constant <value_floats = [1.0, 2.0]> () s = Add (k, c) y = Add (s, x) }}"""
        )
    )
    held, made, _ = model.graph
    assert kernels.constant(model.graph.initializers["k"]) is not None
    assert kernels.constant(held.outputs[0]) is not None
    assert kernels.constant(made.outputs[0]) is None
    assert kernels.constant(model.graph.inputs[0]) is None
    assert kernels.constant(None) is None


def test_an_activation_is_a_float_tensor_that_is_computed() -> None:
    float_type = ir.TensorType(ir.DataType.FLOAT)
    assert kernels.is_activation(ir.Value(name="x", type=float_type))
    assert not kernels.is_activation(ir.Value(name="x", type=ir.TensorType(ir.DataType.INT64)))
    assert not kernels.is_activation(ir.Value(name="x", type=ir.SequenceType(float_type)))
    assert not kernels.is_activation(ir.Value(name="x"))
    assert not kernels.is_activation(None)


def test_multiply_accumulates_of_a_recurrent_layer(node: Callable[[str], ir.Node]) -> None:
    """Seven steps of three samples: each multiplies 5 inputs and 4 states with 16 gates."""
    graph = f"""{OPSET} g (float[7,3,5] x) => (float[7,1,3,4] y)
    <float[1,16,5] w, float[1,16,4] r> {{ y = LSTM <hidden_size = 4> (x, w, r) }}"""
    assert kernels.macs(node(graph)) == 7 * 3 * 16 * (5 + 4)
