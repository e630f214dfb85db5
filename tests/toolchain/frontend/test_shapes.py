"""Shapes are inferred, fixed and reported; contradictions name the node."""

import numpy as np
import onnx_ir as ir
import pytest
from hwc.toolchain.errors import InputError
from hwc.toolchain.frontend.shapes import fix_shapes, infer_shapes, model_inputs
from hwc.toolchain.inputs import InputSpec


def load(body: str) -> ir.Model:
    return ir.from_onnx_text(f'<ir_version: 8, opset_import: ["": 17, "my": 1]> {body}')


def shape_of(model: ir.Model, name: str) -> list[int | str | None] | None:
    values = ir.convenience.create_value_mapping(model.graph)
    shape = values[name].shape
    return None if shape is None else [d if isinstance(d, int) else d.value for d in shape]


def test_missing_shapes_are_filled_in() -> None:
    model = load(
        "g (float[N, 4] x) => (y) <int64[3] s = {0, 2, 2}>{ h = Relu(x) y = Reshape(h, s) }"
    )
    infer_shapes(model)
    assert shape_of(model, "h") == ["N", 4]
    assert shape_of(model, "y") == ["N", 2, 2]
    assert model.graph.outputs[0].dtype == ir.DataType.FLOAT
    assert list(model.graph.initializers) == ["s"]
    assert [value.name for value in model.graph.inputs] == ["x"]


def test_big_weights_do_not_travel_and_keep_their_order() -> None:
    model = load(
        "g (float[9, 9] x, float[9, 900] w) => (y) <int64[1] a = {1}>"
        " { h = MatMul(x, w) y = Unsqueeze(h, a) }"
    )
    weight = model.graph.inputs.pop()
    weight.const_value = tensor = ir.tensor(np.ones((9, 900), np.float32), name="w")
    small = model.graph.initializers.pop("a")
    for value in (weight, small):
        model.graph.register_initializer(value)
    order = list(model.graph.initializers)
    infer_shapes(model)
    assert shape_of(model, "y") == [9, 1, 900]
    assert list(model.graph.initializers) == order
    assert model.graph.initializers["w"].const_value is tensor
    assert not model.graph.initializers["w"].is_graph_input()


CONTRADICTIONS = {
    "matmul": ("g (float[N, 3] x, float[4, 5] w) => (y) { [mm] y = MatMul(x, w) }", "mm"),
    "conv": (
        (
            "g (float[1, 3, 8, 8] x, float[4, 5, 3, 3] w) => (float[1, 4, 9, 9] y)"
            " { [cv] y = Conv(x, w) }"
        ),
        "cv",
    ),
    "broadcast": ("g (float[2, 3] x, float[4, 3] z) => (y) { [ad] y = Add(x, z) }", "ad"),
    "output": ("g (float[2, 3] x) => (float[2, 4] y) { [re] y = Relu(x) }", "re"),
    "type": ("g (float[2] x, int32[2] z) => (y) { [ad] y = Add(x, z) }", "ad"),
    "body": (
        (
            "g (float[2, 3] x, bool c) => (y) { [ii] y = If(c) <then_branch = t () => (a)"
            " { a = MatMul(x, x) }, else_branch = e () => (b) { b = Relu(x) }> }"
        ),
        "ii",
    ),
}


@pytest.mark.parametrize(("body", "node"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_a_contradiction_names_its_node(body: str, node: str) -> None:
    with pytest.raises(InputError) as caught:
        infer_shapes(load(body), "m.onnx")
    assert f"node name: {node}" in caught.value.message
    assert "m.onnx" in caught.value.message
    assert "\n" not in str(caught.value)


def test_a_stale_annotation_is_replaced() -> None:
    model = load("g (float[2, 3] x) => (float[2, 3] y) <float[2, 4] h> { h = Relu(x) y = Relu(h) }")
    infer_shapes(model)
    assert shape_of(model, "h") == [2, 3]


@pytest.mark.parametrize("consumer", ["Relu(h)", "Add(h, x)", "Concat <axis = 0> (h, x)"])
def test_custom_ops_leave_shapes_unknown(consumer: str) -> None:
    model = load(f"g (float[2, 3] x) => (float[a, b] y) {{ h = my.Op(x) y = {consumer} }}")
    infer_shapes(model)
    assert shape_of(model, "h") is None


def test_inputs_are_reported() -> None:
    model = load("g (float[N, 3] x, int64[2] i) => (y) { y = Relu(x) }")
    model.graph.inputs[0].shape = ir.Shape(["N", 3, None])
    assert model_inputs(model) == (
        InputSpec("x", "float32", ("N", 3, None)),
        InputSpec("i", "int64", (2,)),
    )


def test_inputs_without_a_rank_are_refused() -> None:
    model = load("g (float[N] x) => (y) { y = Relu(x) }")
    model.graph.inputs[0].shape = None
    with pytest.raises(InputError, match="'x' has no shape"):
        model_inputs(model)


TWO = (
    "g (float[N, M] x, float[N, 4] z) => (float[N, P] y)"
    " { h = Relu(x) y = Concat <axis = 1> (h, z) }"
)


def test_a_symbol_is_replaced_everywhere() -> None:
    model = load(TWO)
    fixed = fix_shapes(model, {"x": (8, 2)}, static=True)
    assert [shape_of(fixed, name) for name in "xzhy"] == [[8, 2], [8, 4], [8, 2], [8, 6]]
    assert shape_of(model, "x") == ["N", "M"]  # the given model is as it was


def test_symbols_in_bodies_are_replaced() -> None:
    model = load(
        "g (float[N] x, bool c) => (float[N] y) { y = If(c) <then_branch = t () => (float[N] p)"
        " { p = Relu(x) }, else_branch = e () => (float[N] q) { q = Abs(x) }> }"
    )
    infer_shapes(model)
    fixed = fix_shapes(model, {"x": (5,)})
    bodies = [graph for graph in fixed.graphs() if graph is not fixed.graph]
    assert [list(body.outputs[0].shape or ()) for body in bodies] == [[5], [5]]
    assert shape_of(fixed, "y") == [5]


def test_the_only_input_needs_no_name() -> None:
    model = load("g (float[N, 3] x) => (y) { y = Relu(x) }")
    assert model_inputs(fix_shapes(model, {"": (4, 3)}))[0].shape == (4, 3)


@pytest.mark.parametrize(
    ("shapes", "says"),
    [
        pytest.param({"xx": (1, 2)}, "no input 'xx': did you mean x?", id="name"),
        pytest.param({"": (1, 2)}, "has 2 inputs", id="ambiguous"),
        pytest.param({"x": (1, 2, 3)}, "'x' has the shape [N,M], not 1x2x3", id="rank"),
        pytest.param({"z": (1, 5)}, "'z' has the shape [N,4], not 1x5", id="fixed"),
        pytest.param({"x": (1, 2), "z": (3, 4)}, "(N is 1)", id="symbol"),
        pytest.param({"x": (0, 2)}, "not 0x2", id="zero"),
        pytest.param({"z": (1, 4)}, "'x' has a free dimension: [1,M]", id="free"),
    ],
)
def test_shapes_that_do_not_fit(shapes: dict[str, tuple[int, ...]], says: str) -> None:
    with pytest.raises(InputError) as caught:
        fix_shapes(load(TWO), shapes, static=True)
    assert says in str(caught.value)
