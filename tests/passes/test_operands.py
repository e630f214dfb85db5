"""Constant operands in the form that a kernel's precision needs."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hwc.passes import quantize
from hwc.passes.operands import Operands
from hwc.toolchain.dialect import Dialect, Int4Form

FLOAT, FLOAT16 = ir.DataType.FLOAT, ir.DataType.FLOAT16
TEXT = """<ir_version: 10, opset_import: ["" : 21]>
g (float[2,64] x) => (float[2,4] y)
<float[4,64] w, float[4] b, float[3] big = {{1.0, 1e30, -1e30}}> {{ {node} }}"""
GEMM = "y = Gemm <transB = 1> (x, w, b)"
BARE = "y = Gemm <transB = 1> (x, w)"
PLAIN = Dialect("plain", 13, 21)


@pytest.fixture
def graph(parse_graph: Callable[[str], onnx.ModelProto]) -> ir.Graph:
    return ir.from_proto(parse_graph(TEXT.format(node=GEMM))).graph


def array(value: ir.Value | None) -> np.ndarray:
    """The numbers of an initialiser."""
    assert value is not None
    assert value.const_value is not None
    return value.const_value.numpy()


def test_a_cast_constant_is_made_once(graph: ir.Graph) -> None:
    operands, weight = Operands(graph, PLAIN), graph.initializers["w"]
    half = operands.cast(weight, FLOAT16)
    assert half is operands.cast(weight, FLOAT16)
    assert half.name == "w__fp16"
    np.testing.assert_array_equal(array(half), array(weight).astype(np.float16))
    assert operands.cast(weight, FLOAT) is weight


def test_a_cast_constant_saturates(graph: ir.Graph) -> None:
    half = Operands(graph, PLAIN).cast(graph.initializers["big"], FLOAT16)
    assert array(half).tolist() == [1.0, 65504.0, -65504.0]


@pytest.mark.parametrize("int32_bias", [True, False], ids=["int32 bias", "float bias"])
def test_weight_and_bias(graph: ir.Graph, *, int32_bias: bool) -> None:
    node = graph[0]
    weights = quantize.weights(node, 0.1)
    Operands(graph, replace(PLAIN, int32_bias=int32_bias)).quantise(node, weights, FLOAT)
    read, bias = node.inputs[1], node.inputs[2]
    assert read is not None
    assert bias is not None
    dequantize = read.producer()
    assert dequantize is not None
    assert dequantize.attributes.get_int("axis") == 0
    assert (bias.producer() is not None) is int32_bias
    held = graph.initializers["y__raw__q8"]
    assert held.dtype is (ir.DataType.INT32 if int32_bias else FLOAT)


def test_a_float_bias_has_the_type_of_the_kernel(graph: ir.Graph) -> None:
    node = graph[0]
    Operands(graph, PLAIN).quantise(node, quantize.weights(node, 0.1), FLOAT16)
    assert node.inputs[2] is not None
    assert node.inputs[2].dtype is FLOAT16


def test_a_constant_operand_is_quantised_per_tensor(
    parse_graph: Callable[[str], onnx.ModelProto],
) -> None:
    graph = ir.from_proto(
        parse_graph(
            """<ir_version: 10, opset_import: ["" : 21]>
            g (float[3] x) => (float[3] y) <float[3] k = {0.0, 1.0, 2.55}> { y = Mul (x, k) }"""
        )
    ).graph
    dialect = replace(PLAIN, unsigned_activations=True)
    read = Operands(graph, dialect).constant(graph[0], 1, FLOAT)
    assert read.dtype is FLOAT
    assert array(graph.initializers["y/1__q8"]).tolist() == [0, 100, 255]


@pytest.mark.parametrize("gemm", [GEMM, BARE], ids=["bias", "no bias"])
@pytest.mark.parametrize("form", [Int4Form.MATMUL_NBITS, Int4Form.DEQUANTIZE])
def test_4_bit_weights(
    parse_graph: Callable[[str], onnx.ModelProto], form: Int4Form, gemm: str
) -> None:
    model = ir.from_proto(parse_graph(TEXT.format(node=gemm)))
    graph = model.graph
    node = Operands(graph, replace(PLAIN, int4=form)).to_int4(graph[0])
    assert node.outputs[0] is graph.outputs[0]
    assert graph.outputs[0].name == "y"
    assert node.name == "y"
    if form is Int4Form.DEQUANTIZE:
        assert node.attributes.get_int("transB") == 0
        assert graph.initializers["y__q4"].dtype is ir.DataType.INT4
        assert graph.initializers["y__q4"].shape == (64, 4)
        assert graph.initializers["y__q4__scale"].shape == (2, 4)
        assert [n.op_type for n in graph] == ["DequantizeLinear", "Gemm"]
    else:
        assert model.opset_imports["com.microsoft"] == 1
        assert graph.initializers["y__q4"].shape == (4, 2, 16)
        assert graph.initializers["y__q4__scale"].shape == (8,)
        assert [n.op_type for n in graph] == ["MatMulNBits"]
        assert len(node.inputs) == (6 if gemm is GEMM else 3)


def test_a_computed_operand_is_a_fault_of_the_caller(graph: ir.Graph) -> None:
    operands = Operands(graph, PLAIN)
    with pytest.raises(ValueError, match="input 0 is not a constant"):
        operands.constant(graph[0], 0, FLOAT)
    with pytest.raises(ValueError, match="x: not a constant"):
        operands.cast(graph.inputs[0], FLOAT16)
