"""Every fault of a graph is an InputError that names the place."""

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
import onnx.parser
import pytest
from hwc.toolchain.errors import InputError
from hwc.toolchain.frontend.check import check_proto


def parse(body: str, opsets: str = '"": 17, "my": 1') -> onnx.ModelProto:
    return onnx.parser.parse_model(f"<ir_version: 8, opset_import: [{opsets}]> {body}")


FAULTS = {
    "cycle": (
        "g (float[3] x) => (float[3] y) { [a] p = Add(x, q) [b] q = Relu(p) [c] y = Relu(q) }",
        "cycle: node 'a' <- node 'b' <- node 'a'",
    ),
    "cycle-through-a-body": (
        (
            "g (float[3] x, bool c) => (float[3] y) {"
            " [i] y = If(c) <then_branch = t () => (float[3] p) { p = Relu(z) },"
            " else_branch = e () => (float[3] q) { q = Relu(x) }> [r] z = Relu(y) }"
        ),
        "cycle: node 'i' <- node 'r' <- node 'i'",
    ),
    "self-loop": ("g (float[3] x) => (float[3] y) { [a] y = Add(x, y) }", "cycle: node 'a'"),
    "twice": (
        "g (float[3] x) => (float[3] y) { [a] y = Relu(x) [b] y = Abs(x) }",
        "node 'b' of it defines 'y' again",
    ),
    "over-an-input": (
        "g (float[3] x) => (float[3] y) { [a] x = Relu(x) [b] y = Abs(x) }",
        "node 'a' of it defines 'x' again",
    ),
    "dangling": (
        "g (float[3] x) => (float[3] y) { [a] y = Add(x, w) }",
        "node 'a' of it reads 'w'",
    ),
    "dangling-in-a-body": (
        (
            "g (float[3] x, bool c) => (float[3] y) {"
            " [i] y = If(c) <then_branch = t () => (float[3] p) { [n] p = Add(x, w) },"
            " else_branch = e () => (float[3] q) { q = Relu(x) }> }"
        ),
        "node 'n' of it reads 'w'",
    ),
    "no-such-output": ("g (float[3] x) => (float[3] z) { y = Relu(x) }", "it reads 'z', which"),
    "unknown-op": (
        "g (float[3] x) => (float[3] y) { [a] y = Rellu(x) }",
        "unknown op Rellu (opset 17) at node 'a' of it: did you mean Relu?",
    ),
    "op-of-a-later-opset": (
        "g (float[3] x) => (float[3] y) { [a] y = Gelu(x) }",
        "unknown op Gelu (opset 17) at node 'a'",
    ),
    "unnamed-node": ("g (float[3] x) => (float[3] y) { y = Foo(x) }", "the Foo that writes 'y'"),
    "attribute": (
        "g (float[3] x) => (float[3] y) { [a] y = LeakyRelu <beta = 1.0> (x) }",
        "node 'a' (LeakyRelu) of it: Unrecognized attribute: beta",
    ),
    "too-many-inputs": ("g (float[3] x) => (float[3] y) { [a] y = Relu(x, x) }", "node 'a' (Relu)"),
}


@pytest.mark.parametrize(("body", "says"), FAULTS.values(), ids=FAULTS)
def test_faults_are_named(body: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        check_proto(parse(body), "it")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


ACCEPTED = {
    "custom-domain": "g (float[3] x) => (float[3] y) { y = my.Anything <a = 1> (x, x) }",
    "unsorted": "g (float[3] x) => (float[3] y) { y = Relu(p) p = Abs(x) }",
    "optional-input": "g (float[3] x) => (float[3] y) <float m = {1.0}> { y = Clip(x, , m) }",
    "outer-value-in-a-body": (
        "g (float[3] x, bool c) => (float[3] y) { h = Abs(x)"
        " y = If(c) <then_branch = t () => (float[3] p) { p = Relu(h) },"
        " else_branch = e () => (float[3] q) { q = Relu(x) }> }"
    ),
}


@pytest.mark.parametrize("body", ACCEPTED.values(), ids=ACCEPTED)
def test_what_runtimes_accept_is_accepted(body: str) -> None:
    check_proto(parse(body), "it")


@pytest.mark.parametrize("opsets", ['"": 999', '"": 0', '"my": 1'], ids=["new", "zero", "none"])
def test_the_opset_must_be_known(opsets: str) -> None:
    with pytest.raises(InputError, match="opset"):
        check_proto(parse("g (float[3] x) => (float[3] y) { y = Relu(x) }", opsets), "it")


def test_a_model_without_outputs_is_refused() -> None:
    proto = parse("g (float[3] x) => (float[3] y) { y = Relu(x) }")
    del proto.graph.output[:]
    with pytest.raises(InputError, match="no outputs"):
        check_proto(proto, "it")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param({"raw_data": b"1234"}, "holds 4", id="short"),
        pytest.param({"dims": [-2]}, "negative", id="negative"),
        pytest.param({"data_type": 99}, "no known type", id="type"),
        pytest.param({"data_type": 0}, "no type", id="no-type"),
    ],
)
def test_a_tensor_must_hold_what_its_shape_says(change: dict[str, object], says: str) -> None:
    proto = parse("g (float[3] x) => (float[3] y) { y = Add(x, w) }")
    tensor = onnx.numpy_helper.from_array(np.ones(3, np.float32), "w")
    for field in change:
        tensor.ClearField(field)
    tensor.MergeFrom(onnx.TensorProto(**change))
    proto.graph.initializer.append(tensor)
    with pytest.raises(InputError, match=says) as caught:
        check_proto(proto, "it")
    assert "'w'" in caught.value.message


@pytest.mark.parametrize("dtype", ["INT4", "UINT4", "FLOAT8E4M3FN", "BFLOAT16", "FLOAT16", "BOOL"])
@pytest.mark.parametrize("raw", [True, False], ids=["raw", "typed"])
def test_packed_and_narrow_types_are_measured_right(dtype: str, *, raw: bool) -> None:
    proto = parse("g (float[3] x) => (float[3] y) { y = my.Use(x, w) }")
    number = onnx.TensorProto.DataType.Value(dtype)
    values = np.ones(5, onnx.helper.tensor_dtype_to_np_dtype(number))
    tensor = onnx.numpy_helper.from_array(values, "w")
    if not raw:
        tensor = onnx.helper.make_tensor("w", number, [5], [1] * 5)
    proto.graph.initializer.append(tensor)
    check_proto(proto, "it")


def chain(length: int) -> onnx.ModelProto:
    nodes = [onnx.helper.make_node("Relu", [f"v{i}"], [f"v{i + 1}"]) for i in range(length)]
    ends = [onnx.helper.make_tensor_value_info(n, 1, [3]) for n in ("v0", f"v{length}")]
    graph = onnx.helper.make_graph(nodes, "g", ends[:1], ends[1:])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])


def test_ten_thousand_nodes_are_checked_in_any_order() -> None:
    proto = chain(10_000)
    backwards = onnx.ModelProto()
    backwards.CopyFrom(proto)
    del backwards.graph.node[:]
    backwards.graph.node.extend(reversed(proto.graph.node))
    check_proto(proto, "it")
    check_proto(backwards, "it")
    backwards.graph.node[9_999].input[0] = "v10000"  # the first of the chain reads the last
    with pytest.raises(InputError, match="has a cycle"):
        check_proto(backwards, "it")
