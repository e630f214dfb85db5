"""Shapes and types as they are seen, on a copy that leaves the model's own shapes free."""

from collections.abc import Callable, Sequence

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hwc.backends.ort import Options, Session
from hwc.toolchain.engine import Feeds, Runner
from hwc.toolchain.observe import annotate, observer

OPSET = '<ir_version: 10, opset_import: ["" : 21]>'
FREE = f"{OPSET} g (float[N,4] x) => (float[N,4] y) {{ t = Relu (x) y = Neg (t) }}"


def open_runner(model: ir.Model) -> Session:
    """The runtime, with nothing rewritten."""
    return Session(model, Options(threads=1, optimise=False))


@pytest.fixture
def graph(parse_graph: Callable[[str], onnx.ModelProto]) -> Callable[[str], ir.Model]:
    return lambda text: ir.from_proto(onnx.shape_inference.infer_shapes(parse_graph(text)))


def test_observes_inputs_inner_tensors_and_outputs(graph: Callable[[str], ir.Model]) -> None:
    model = graph(FREE)
    x = np.array([[-1, 2, -3, 4]], np.float32)
    seen = observer(model, ["x", "t", "y"], open_runner)({"x": x})
    assert seen["x"] is x
    assert seen["t"].tolist() == [[0, 2, 0, 4]]
    assert seen["y"].tolist() == [[0, -2, 0, -4]]
    assert [out.name for out in model.graph.outputs] == ["y"]


def test_a_tensor_that_nothing_writes_is_left_out(graph: Callable[[str], ir.Model]) -> None:
    run = observer(graph(FREE), ["absent"], open_runner)
    assert set(run({"x": np.ones((1, 4), np.float32)})) == {"x", "y"}


def test_shapes_are_on_the_copy_only(graph: Callable[[str], ir.Model]) -> None:
    model = graph(FREE)
    copy = annotate(model, open_runner, {"x": np.ones((3, 4), np.float32)})
    assert copy.graph.inputs[0].shape == copy.graph[0].outputs[0].shape == (3, 4)
    assert model.graph.inputs[0].shape is not None
    assert not model.graph.inputs[0].shape.is_static()


def test_a_shape_that_depends_on_numbers(parse_graph: Callable[[str], onnx.ModelProto]) -> None:
    text = f"{OPSET} g (float[4] x) => (int64[1,M] y) {{ y = NonZero (x) }}"
    feeds = {"x": np.array([1, 0, 2, 0], np.float32)}
    copy = annotate(ir.from_proto(parse_graph(text)), open_runner, feeds)
    assert copy.graph[0].outputs[0].shape == (1, 2)


def test_a_missing_type_is_filled_in_for_good(
    parse_graph: Callable[[str], onnx.ModelProto],
) -> None:
    model = ir.from_proto(parse_graph(FREE))
    assert model.graph[0].outputs[0].dtype is None
    annotate(model, open_runner, {"x": np.ones((3, 4), np.float32)})
    assert model.graph[0].outputs[0].dtype is ir.DataType.FLOAT


OTHER_TYPES = {
    "sequence": "s = SplitToSequence <axis = 0> (x, parts) y = SequenceAt (s, i)",
    "optional": "s = Optional (x) y = OptionalGetElement (s)",
    "bfloat16": "s = Cast <to = 16> (x) y = Cast <to = 1> (s)",
    "float8": "s = QuantizeLinear (x, one, zero8) y = DequantizeLinear (s, one, zero8)",
    "int4": "s = QuantizeLinear (x, one, zero4) y = DequantizeLinear (s, one, zero4)",
}


@pytest.mark.parametrize("nodes", OTHER_TYPES.values(), ids=list(OTHER_TYPES))
def test_a_type_that_no_array_has_is_left_as_it_is(
    graph: Callable[[str], ir.Model], nodes: str
) -> None:
    model = graph(
        f"""{OPSET} g (float[4] x) => (float[M] y)
        <int64 i = {{0}}, int64[2] parts = {{2, 2}}, float one = {{1.0}},
         float8e4m3fn zero8 = {{0}}, int4 zero4 = {{0}}> {{ {nodes} }}"""
    )
    before = model.graph[0].outputs[0].type
    copy = annotate(model, open_runner, {"x": np.ones(4, np.float32)})
    assert model.graph[0].outputs[0].type == copy.graph[0].outputs[0].type == before
    assert copy.graph[1].outputs[0].shape is not None
    assert copy.graph[1].outputs[0].shape.is_static()
    open_runner(model)


def test_asks_only_for_what_it_needs(graph: Callable[[str], ir.Model]) -> None:
    asked: list[Sequence[str]] = []

    def spy(model: ir.Model) -> Runner:
        asked.append([str(out.name) for out in model.graph.outputs])

        def run(feeds: Feeds) -> Feeds:
            return feeds

        return run  # type: ignore[return-value]  # its answer is not looked at

    observer(graph(FREE), ["t"], spy)
    assert asked == [["y", "t"]]
