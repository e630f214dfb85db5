"""Graphs that differ in numbers alone are the same; any other difference is named."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hwc.toolchain.same_graph import first_difference

TEXT = """<ir_version: 10, opset_import: ["" : 21]>
g (float[N,4] x) => (float[N,4] y) <float[4,4] w = {W}, bool c = {1}> {
  [a] h = MatMul (x, w)
  [b] s = Softmax <axis = 1> (h)
  [c] y = If (c) <
    then_branch = t () => (float[N,4] p) { [d] p = Relu (s) },
    else_branch = e () => (float[N,4] q) { [f] q = Neg (s) }
  >
}"""


def graph(text: str = TEXT, value: float = 1.0) -> ir.Model:
    """The graph of a text, as if read from disk."""
    numbers = ", ".join([str(value)] * 16)
    return ir.from_proto(onnx.parser.parse_model(text.replace("W", numbers)))


def test_numbers_make_no_difference() -> None:
    assert not first_difference(graph(), graph(value=2.0))


def test_what_was_made_here_is_what_is_read() -> None:
    """Attributes of Python numbers are those that protobuf gives back."""
    node = ir.node("Elu", [ir.Value(name="x")], {"alpha": 0.1}, name="a")
    model = ir.Model(
        ir.Graph(node.inputs, node.outputs, nodes=[node], name="g", opset_imports={"": 21}),
        ir_version=10,
    )
    assert not first_difference(ir.from_proto(ir.to_proto(model)), model)


@pytest.mark.parametrize(
    ("old", "new", "difference"),
    [
        ("Softmax <axis = 1>", "LogSoftmax <axis = 1>", "node 'b' is ai.onnx.LogSoftmax of h to s"),
        ("axis = 1", "axis = 0", "axis of node 'b' is"),
        ("[b]", "[other]", "node 'other' where node 'b' was"),
        ("float[N,4] x", "float[N,3] x", "input 'x' is FLOAT [N,3], and was FLOAT [N,4]"),
        ("[d] p = Relu", "[d] p = Abs", "node 'd' is ai.onnx.Abs of s to p"),
        ("(x, w)", "(w, x)", "node 'a' is ai.onnx.MatMul of w, x to h, and was"),
    ],
    ids=["operator", "attribute", "name", "input", "branch", "operands"],
)
def test_the_first_difference_is_named(old: str, new: str, difference: str) -> None:
    assert TEXT.count(old) == 1
    assert first_difference(graph(), graph(TEXT.replace(old, new))).startswith(difference)


@pytest.mark.parametrize(
    ("array", "difference"),
    [
        (np.ones((4, 5), np.float32), "constant 'w' is FLOAT [4, 5], and was FLOAT [4, 4]"),
        (np.ones((4, 4), np.float16), "constant 'w' is FLOAT16 [4, 4], and was FLOAT [4, 4]"),
    ],
    ids=["shape", "type"],
)
def test_constants_have_a_type_and_a_shape(array: np.ndarray, difference: str) -> None:
    after = graph()
    after.graph.initializers["w"].const_value = ir.tensor(array, name="w")
    assert first_difference(graph(), after) == difference


def test_a_graph_that_ends_early() -> None:
    after = graph(TEXT.replace("[b]", "[b2] z = Relu (h) [b]"))
    assert "nothing" not in first_difference(graph(), after)
    short = graph()
    del short.graph.initializers["c"]
    assert first_difference(graph(), short).startswith("constant 'w' where constant 'c' was")
