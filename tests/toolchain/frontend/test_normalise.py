"""One form for names, constants, inputs, order and functions."""

import onnx
import onnx.parser
import onnx_ir as ir
import pytest
from hwc.toolchain.frontend.check import check_proto
from hwc.toolchain.frontend.normalise import PLUGIN_DOMAIN, adopt_plugins, name_nodes, normalise


def load(body: str, opsets: str = '"": 17, "my": 1') -> ir.Model:
    return ir.from_onnx_text(f"<ir_version: 8, opset_import: [{opsets}]> {body}")


def names(model: ir.Model) -> list[str]:
    return [str(node.name) for node in model.graph.all_nodes()]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param("{ p = Relu(x) y = Abs(p) }", ["p", "y"], id="empty"),
        pytest.param("{ [n] p = Relu(x) [n] y = Abs(p) }", ["n", "n_1"], id="duplicate"),
        pytest.param(
            "{ [n] p = Relu(x) [n] q = Relu(p) [n_1] y = Abs(q) }", ["n", "n_2", "n_1"], id="taken"
        ),
        pytest.param("{ [y] p = Relu(x) y = Abs(p) }", ["y", "y_1"], id="empty-taken"),
    ],
)
def test_every_node_gets_a_name_of_its_own(body: str, expected: list[str]) -> None:
    model = load(f"g (float[3] x) => (float[3] y) {body}")
    name_nodes(model)
    assert names(model) == expected
    name_nodes(model)
    assert names(model) == expected


def test_names_are_unique_across_bodies() -> None:
    model = load(
        "g (float[3] x, bool c) => (float[3] y) { [n] h = Abs(x)"
        " [i] y = If(c) <then_branch = t () => (float[3] p) { [n] p = Relu(h) },"
        " else_branch = e () => (float[3] p) { p = Relu(x) }> }"
    )
    name_nodes(model)
    assert len(set(names(model))) == len(names(model)) == 4


def test_initialisers_are_no_inputs() -> None:
    model = load(
        "g (float[3] x, float[3] w) => (float[3] y) <float[3] w = {1, 2, 3}>{y = Add(x,w)}"
    )
    assert [v.name for v in model.graph.inputs] == ["x", "w"]
    model.ir_version = 3
    normalise(model)
    assert model.ir_version >= 4
    assert [v.name for v in model.graph.inputs] == ["x"]
    assert model.graph.initializers["w"].const_value is not None


def test_constants_become_initialisers() -> None:
    model = load(
        "g (float[2] x) => (float[2] y, float[2] z)"
        " { w = Constant <value = float[2] {1, 2}> () y = Add(x, w)"
        " z = Constant <value = float[2] {3, 4}> () }"
    )
    normalise(model)
    assert [node.op_type for node in model.graph] == ["Add", "Constant"]  # an output stays
    assert model.graph.initializers["w"].const_value.numpy().tolist() == [1, 2]
    assert ir.to_proto(model).graph.initializer[0].name == "w"


def test_nodes_are_sorted_and_sorted_ones_stay() -> None:
    model = load("g (float[3] x) => (float[3] y) { [b] y = Relu(p) [a] p = Abs(x) }")
    normalise(model)
    assert names(model) == ["a", "b"]
    body = "{ [d] q = Abs(x) [c] p = Relu(x) [b] y = Add(p, q) }"
    model = load(f"g (float[3] x) => (float[3] y) {body}")
    normalise(model)
    assert names(model) == ["d", "c", "b"]


def test_functions_are_inlined_and_custom_ops_are_not() -> None:
    text = """<ir_version: 8, opset_import: ["": 17, "my": 1]>
        g (float[3] x) => (float[3] y) { p = my.Twice(x) y = my.Opaque(p) }
        <domain: "my", opset_import: ["": 17]> Twice (a) => (b) { b = Add(a, a) }"""
    model = ir.from_onnx_text(text)
    normalise(model)
    assert [(node.domain, node.op_type) for node in model.graph] == [("", "Add"), ("my", "Opaque")]
    assert not model.functions


def test_a_question_mark_is_no_symbol() -> None:
    model = load("g (float[3] x) => (float[3] y) { y = Relu(x) }")
    model.graph.inputs[0].shape = ir.Shape(["?", "N", 3, "?"])
    normalise(model)
    dims = [d if isinstance(d, int) else d.value for d in model.graph.inputs[0].shape]
    assert dims == [None, "N", 3, None]


def test_the_long_name_of_the_default_domain_goes() -> None:
    model = load("g (float[3] x) => (float[3] y) { y = ai.onnx.Relu(x) }", '"ai.onnx": 17')
    normalise(model)
    assert model.opset_imports == {"": 17}


def test_tensorrt_plugins_get_a_domain() -> None:
    text = '<ir_version: 8, opset_import: ["": 17]> g (float[3] x) => (float[3] y) {'
    proto = onnx.parser.parse_model(text + " [nms] y = EfficientNMS_TRT <plugin_version = 1> (x) }")
    adopt_plugins(proto)
    check_proto(proto, "it")
    assert proto.graph.node[0].domain == PLUGIN_DOMAIN
    assert {entry.domain for entry in proto.opset_import} == {"", PLUGIN_DOMAIN}
