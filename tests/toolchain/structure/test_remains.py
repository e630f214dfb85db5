"""What is left is counted on the graphs themselves: channels of each node, work, and weights."""

from collections.abc import Callable

import onnx
import onnx_ir as ir
import pytest
from hwc.toolchain.structure.remains import Extent, kept_channels

Parse = Callable[[str], onnx.ModelProto]


def net(parse_graph: Parse, inner: int, *, factors: bool = False) -> ir.Model:
    """Two matrix products; the second one perhaps by factors of rank 2."""
    last = f"float[{inner},2] b0, float[2,4] b1" if factors else f"float[{inner},4] b"
    end = "[b0] t = MatMul (h, b0) [b1] y = MatMul (t, b1)"
    text = f"""<ir_version: 10, opset_import: ["" : 18]>
    g (float[1,8] x) => (float[1,4] y) <float[8,{inner}] a, {last}>
    {{ [a] h = MatMul (x, a) {end if factors else "[b] y = MatMul (h, b)"} }}"""
    model = ir.from_proto(onnx.shape_inference.infer_shapes(parse_graph(text)))
    for node in model.graph:
        if node.name in {"b0", "b1"}:
            node.name = f"b/factor{node.name[1]}"  # a name that ONNX text has no word for
    return model


@pytest.mark.parametrize(
    ("inner", "factors", "left"),
    [
        (16, False, {"a": 1.0, "b": 1.0}),
        (4, False, {"a": 0.25, "b": 1.0}),
        (16, True, {"a": 1.0, "b": 1.0}),
    ],
    ids=["whole", "fewer channels", "factors write what the node wrote"],
)
def test_channels(parse_graph: Parse, inner: int, left: dict[str, float], *, factors: bool) -> None:
    assert kept_channels(net(parse_graph, 16), net(parse_graph, inner, factors=factors)) == left


def test_extent(parse_graph: Parse) -> None:
    assert Extent.of(net(parse_graph, 16)) == Extent(8 * 16 + 16 * 4, 8 * 16 + 16 * 4)
