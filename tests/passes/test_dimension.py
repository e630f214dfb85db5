"""What is known of shapes that are known in part."""

import onnx
import onnx_ir as ir
import pytest
from hwc.passes.dimension import Dimensions, Entry
from hwc.passes.match import dims

BODIES = {
    "shape": ("s = Shape (x)", ("N", 6, 4)),
    "shape_part": ("s = Shape <start = 1, end = -1> (x)", (6,)),
    "negative_index": ("a = Shape (x) s = Gather (a, minus)", (4,)),
    "slice": ("a = Shape (x) s = Slice (a, zero, two)", ("N", 6)),
    "concat_with_unknown": ("a = Shape (x) s = Concat <axis = 0> (a, given)", ("N", 6, 4, None)),
    "add": ("a = Shape (x) s = Add (a, two)", (None, 8, 6)),
    "add_zero": ("a = Shape (x) s = Add (a, zero)", ("N", 6, 4)),
    "sub": ("a = Shape (x) s = Sub (a, two)", (None, 4, 2)),
    "mul": ("a = Shape (x) s = Mul (two, a)", (None, 12, 8)),
    "div": ("a = Shape (x) s = Div (a, two)", (None, 3, 2)),
    "div_negative": ("a = Shape (x) b = Sub (zero, a) s = Div (b, two)", (None, None, None)),
    "never_minus_one": ("a = Shape (x) s = Equal (a, minus)", (0, 0, 0)),
    "maybe_two": ("a = Shape (x) s = Equal (a, two)", (None, 0, 0)),
    "where": ("a = Shape (x) b = Equal (a, minus) s = Where (b, minus, a)", ("N", 6, 4)),
    "rank": ("a = Shape (x) s = Shape (a)", (3,)),
    "size_of_shape": ("a = Shape (x) s = Size (a)", (3,)),
    "fill": (
        "a = Shape (x) b = Shape (a) s = ConstantOfShape <value = int64[1] {7}> (b)",
        (7,) * 3,
    ),
}


@pytest.mark.parametrize(("body", "entries"), BODIES.values(), ids=BODIES)
def test_entries(body: str, entries: tuple[Entry, ...]) -> None:
    text = f"""<ir_version: 10, opset_import: ["" : 18]>
    g (float[N,6,4] x, int64[1] given) => (int64[K] s)
    <int64[1] zero = {{0}}, int64[1] two = {{2}}, int64[1] minus = {{-1}}> {{ {body} }}"""
    proto = onnx.shape_inference.infer_shapes(onnx.parser.parse_model(text))
    known = Dimensions()
    vectors = [known.visit(node) for node in ir.from_proto(proto).graph]
    assert vectors[-1] is not None
    assert vectors[-1].entries == entries


def test_dimensions_without_a_name_are_not_the_same() -> None:
    shape = ir.Shape(["?", "?", None, "N", "N", 3])
    known = dims(ir.Value(name="x", shape=shape))
    assert known is not None
    assert len(set(known[:3])) == 3
    assert known[3:] == ("N", "N", 3)
