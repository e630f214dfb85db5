"""Models travel whole."""

import onnx
import onnx_ir as ir
import pytest
from hwc.toolchain.frontend.parcel import Parcel
from onnx import TensorProto, helper


def model(dtype: int) -> onnx.ModelProto:
    """Reads a large weight of some type, and a small constant."""
    shape, large = [8, 4096], helper.make_tensor_value_info("y", dtype, [8, 4096])
    size = helper.tensor_dtype_to_np_dtype(dtype).itemsize * 8 * 4096
    size = size // 2 if dtype == TensorProto.INT4 else size
    raw = bytes(i % 120 for i in range(size))
    weight = helper.make_tensor("w", dtype, shape, raw, raw=True)
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [0])
    nodes = [
        helper.make_node("Identity", ["w"], ["y"]),
        helper.make_node("Unsqueeze", ["x", "axes"], ["z"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [3])
    z = helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 3])
    graph = helper.make_graph(nodes, "g", [x], [large, z], [weight, axes])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


@pytest.mark.parametrize("kind", ["FLOAT", "FLOAT16", "BFLOAT16", "INT8", "INT4"])
def test_models_travel_whole(kind: str) -> None:
    """Large weights apart from the graph, and all there again on arrival."""
    proto = model(TensorProto.DataType.Value(kind))
    sent = ir.from_proto(proto)
    before = ir.to_proto(sent).SerializeToString(deterministic=True)
    parcel = Parcel.of(sent)
    assert list(parcel.weights) == ["w"]
    assert len(parcel.graph) < 1000
    assert ir.to_proto(sent).SerializeToString(deterministic=True) == before
    got = ir.to_proto(parcel.open())
    assert [value.name for value in got.graph.input] == ["x"]
    want = ir.to_proto(sent)
    assert list(got.graph.node) == list(want.graph.node)
    assert {t.name: (t.data_type, list(t.dims), t.raw_data) for t in got.graph.initializer} == {
        t.name: (t.data_type, list(t.dims), t.raw_data) for t in want.graph.initializer
    }
