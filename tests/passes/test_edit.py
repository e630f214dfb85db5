"""Names, outputs and shared values survive what an Editor does."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hwc.passes.edit import Editor

TEXT = """<ir_version: 10, opset_import: ["" : 18]>
g (float[2] x, bool c) => (float[2] y, float[2] z) <float[2] w = {1.0, 2.0}>
{
   [a] a = Add (x, w)
   [b] b = Identity (a)
   [d] d = Exp (b)
   [y] y = Relu (d)
   [if] z = If (c) <then_branch = t () => (float[2] o) { [o] o = Mul (w, a) },
                    else_branch = e () => (float[2] inner) { [i] inner = Neg (b) }>
}"""


@pytest.fixture
def model() -> ir.Model:
    return ir.from_proto(onnx.parser.parse_model(TEXT))


def named(model: ir.Model, name: str) -> ir.Node:
    return next(node for node in model.graph if node.name == name)


def test_unique_avoids_names_of_subgraphs_and_its_own(model: ir.Model) -> None:
    editor = Editor(model, 18)
    assert editor.unique("inner") == "inner_1"
    assert editor.unique("inner") == "inner_2"
    assert editor.unique("free") == "free"


def test_set_constant_copies_what_a_subgraph_also_reads(model: ir.Model) -> None:
    add = named(model, "a")
    Editor(model, 18).set_constant(add, 1, np.array([3.0, 4.0], np.float32), "copy")
    assert add.inputs[1].name == "copy"
    assert model.graph.initializers["w"].const_value.numpy().tolist() == [1.0, 2.0]


def test_set_constant_writes_in_place_what_one_node_reads(model: ir.Model) -> None:
    add = named(model, "a")
    editor = Editor(model, 18)
    editor.set_constant(add, 1, np.array([3.0, 4.0], np.float32), "copy")
    editor.set_constant(add, 1, np.array([5.0, 6.0], np.float32), "other")
    assert add.inputs[1].name == "copy"
    assert add.inputs[1].const_value.numpy().tolist() == [5.0, 6.0]


def test_forward_reaches_readers_in_subgraphs(model: ir.Model) -> None:
    Editor(model, 18).forward(named(model, "b").outputs[0], named(model, "a").outputs[0])
    text = onnx.printer.to_text(ir.to_proto(model))
    assert "Neg (a)" in text
    assert "Identity" not in text


def test_forward_moves_the_name_of_a_graph_output(model: ir.Model) -> None:
    editor = Editor(model, 18)
    old, new = named(model, "y").outputs[0], named(model, "d").outputs[0]
    assert editor.can_forward(old, new)
    editor.forward(old, new)
    assert [value.name for value in model.graph.outputs] == ["y", "z"]
    assert model.graph.outputs[0] is new


def test_cannot_forward_an_output_to_an_input_or_to_another_output(model: ir.Model) -> None:
    editor = Editor(model, 18)
    outputs = model.graph.outputs
    assert not editor.can_forward(outputs[0], model.graph.inputs[0])
    assert not editor.can_forward(outputs[0], outputs[1])
    assert not editor.can_forward(outputs[0], model.graph.initializers["w"])


def test_drop_removes_what_only_the_node_needed(model: ir.Model) -> None:
    model.graph.outputs.pop(0)
    Editor(model, 18).drop(named(model, "y"))
    assert [node.name for node in model.graph] == ["a", "b", "if"]


@pytest.mark.parametrize(
    ("opset_max", "version", "allowed"), [(18, 17, True), (18, 20, False), (16, 17, False)]
)
def test_allows_what_both_the_model_and_the_target_read(
    model: ir.Model, opset_max: int, version: int, *, allowed: bool
) -> None:
    assert Editor(model, opset_max).allows(version) is allowed
