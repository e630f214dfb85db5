"""A tensor in the form that its reader wants: each conversion once, and in the right place."""

from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hwc.passes.forms import Forms, constant
from hwc.passes.quantize import Affine

FLOAT, FLOAT16 = ir.DataType.FLOAT, ir.DataType.FLOAT16
TEXT = """<ir_version: 10, opset_import: ["" : 21]>
g (float[2,3,4,4] x) => (float[2,3,4,4] y) { t = Relu (x) y = Relu (t) }"""


def mapping(tensor: str) -> Affine:
    """The same for every tensor."""
    assert tensor
    return Affine(np.asarray(0.5, np.float32), np.asarray(3, np.uint8))


@pytest.fixture
def graph(parse_graph: Callable[[str], onnx.ModelProto]) -> ir.Graph:
    return ir.from_proto(parse_graph(TEXT)).graph


@pytest.fixture
def forms(graph: ir.Graph) -> Forms:
    return Forms(graph, mapping)


def order(graph: ir.Graph) -> list[str]:
    """The names of the nodes in order."""
    return [str(node.name) for node in graph]


def test_as_it_is(graph: ir.Graph, forms: Forms) -> None:
    x = graph.inputs[0]
    assert forms.as_float(x, FLOAT) is x
    assert not forms.added


def test_a_cast_of_an_input_comes_first_and_only_once(graph: ir.Graph, forms: Forms) -> None:
    first, second = (forms.as_float(graph.inputs[0], FLOAT16) for _ in range(2))
    assert first is second
    assert first.dtype is FLOAT16
    assert order(graph) == ["x__fp16", "t", "y"]


def test_a_cast_follows_the_node_that_writes(graph: ir.Graph, forms: Forms) -> None:
    forms.as_float(graph[0].outputs[0], FLOAT16)
    assert order(graph) == ["t", "t__fp16", "y"]


def test_integers_are_shared_by_float_types(graph: ir.Graph, forms: Forms) -> None:
    x = graph.inputs[0]
    whole, half = forms.as_int8(x, FLOAT), forms.as_int8(x, FLOAT16)
    assert (whole.dtype, half.dtype) == (FLOAT, FLOAT16)
    assert sorted(order(graph)[:3]) == ["x__dq", "x__dq__fp16", "x__q"]
    assert order(graph)[0] == "x__q"
    assert set(graph.initializers) == {"x__zero", "x__scale", "x__scale__fp16"}


def test_padding_is_of_integers_and_shared(graph: ir.Graph, forms: Forms) -> None:
    x = graph.inputs[0]
    bare = forms.as_int8(x, FLOAT)
    first, second = (forms.as_int8(x, FLOAT, channels=1) for _ in range(2))
    assert first is second is not bare
    assert first.shape == (2, 4, 4, 4)
    assert bare.shape == x.shape == (2, 3, 4, 4)
    assert order(graph)[0] == "x__q"
    pads = graph.initializers["x__pad__q"].const_value
    assert pads is not None
    assert pads.numpy().tolist() == [0, 0, 0, 0, 0, 1, 0, 0]


def test_what_is_written_in_half_is_read_back_in_full(graph: ir.Graph, forms: Forms) -> None:
    t = graph[0].outputs[0]
    forms.produced(t, FLOAT16)
    assert forms.as_float(t, FLOAT16) is t
    assert forms.original(t) is FLOAT
    assert forms.as_float(t, FLOAT).dtype is FLOAT
    assert forms.changed() == [t]


def test_what_is_quantised_is_only_read_through_its_integers(graph: ir.Graph, forms: Forms) -> None:
    t = graph[0].outputs[0]
    forms.produced(t, FLOAT, quantised=True)
    assert forms.as_float(t, FLOAT) is forms.as_int8(t, FLOAT)
    assert forms.changed() == [t]


def test_a_tensor_whose_writer_was_absorbed_is_carried_by_another(
    graph: ir.Graph, forms: Forms
) -> None:
    t, y = graph[0].outputs[0], graph[1].outputs[0]
    forms.produced(y, FLOAT, quantised=True, source=t)
    forms.as_int8(y, FLOAT)
    quantize = next(node for node in graph if node.name == "y__q")
    assert quantize.inputs[0] is t
    assert forms.changed() == [y]


def test_what_did_not_change_needs_no_restoring(graph: ir.Graph, forms: Forms) -> None:
    forms.produced(graph[0].outputs[0], FLOAT)
    assert forms.changed() == []


def test_the_type_of_another_value_is_left_alone(
    graph: ir.Graph, parse_graph: Callable[[str], onnx.ModelProto]
) -> None:
    """A cloned value shares its type object with the original."""
    model = ir.from_proto(parse_graph(TEXT))
    copy = model.clone()
    y = copy.graph[1].outputs[0]
    Forms(copy.graph, mapping).produced(y, FLOAT16)
    assert y.dtype is FLOAT16
    assert model.graph[1].outputs[0].dtype is FLOAT
    assert graph[1].outputs[0].dtype is FLOAT


def test_a_constant_is_made_once_a_name(graph: ir.Graph) -> None:
    first = constant(graph, "k", np.ones(3, np.float32))
    assert constant(graph, "k", np.zeros(3, np.float32)) is first
    assert first.dtype is FLOAT
    assert first.shape == (3,)
    assert graph.initializers["k"] is first
