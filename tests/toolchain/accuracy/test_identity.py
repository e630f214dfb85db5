"""Digests change with what numbers depend on, and with nothing else."""

from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hwc.toolchain.accuracy.identity import data_digest, model_digest
from hwc.toolchain.accuracy.samples import Sample
from onnx import numpy_helper

TEXT = """<ir_version: 8, opset_import: ["" : 17]>
net (float[N,4] x) => (float[N,3] y) <float[4,3] w>
{
  m = MatMul (x, w)
  y = LeakyRelu <alpha = 0.5> (m)
}
"""


def weight(model: onnx.ModelProto) -> None:
    array = numpy_helper.to_array(model.graph.initializer[0]).copy()
    array[0, 0] = np.nextafter(array[0, 0], 9, dtype=np.float32)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(array, "w"))


def attribute(model: onnx.ModelProto) -> None:
    model.graph.node[1].attribute[0].f = 0.25


def operator(model: onnx.ModelProto) -> None:
    model.graph.node[1].op_type = "Elu"


def opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 18


def remarks(model: onnx.ModelProto) -> None:
    model.doc_string = model.graph.node[0].doc_string = "said"
    model.producer_name = "another"


@pytest.mark.parametrize(
    ("change", "same"),
    [(weight, False), (attribute, False), (operator, False), (opset, False), (remarks, True)],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_models(
    parse_graph: Callable[[str], onnx.ModelProto],
    change: Callable[[onnx.ModelProto], None],
    same: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    model, other = parse_graph(TEXT), parse_graph(TEXT)
    change(other)
    first = model_digest(ir.from_proto(model))
    assert (first == model_digest(ir.from_proto(other))) == same
    assert first != model_digest(ir.from_proto(model), "onnxruntime 1.30")


X = np.arange(6.0).reshape(2, 3)


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ([Sample({"x": X.copy()}), Sample({"x": -X}, np.asarray(1))], True),
        ([Sample({"x": np.asfortranarray(X)}), Sample({"x": -X}, np.asarray(1))], True),
        ([Sample({"x": X}), Sample({"x": -X}, np.asarray(2))], False),
        ([Sample({"x": X}), Sample({"x": -X})], False),
        ([Sample({"x": X}), Sample({"x": X}, np.asarray(1))], False),
        ([Sample({"z": X}), Sample({"x": -X}, np.asarray(1))], False),
        ([Sample({"x": X.reshape(3, 2)}), Sample({"x": -X}, np.asarray(1))], False),
        ([Sample({"x": X.view(np.int64)}), Sample({"x": -X}, np.asarray(1))], False),
        ([Sample({"x": -X}, np.asarray(1)), Sample({"x": X})], False),
        ([Sample({"x": X})], False),
    ],
    ids=[
        "equal",
        "layout",
        "label",
        "no label",
        "value",
        "name",
        "shape",
        "type",
        "order",
        "fewer",
    ],
)
def test_data(other: list[Sample], same: bool) -> None:  # noqa: FBT001 - a parameter of the test
    data = [Sample({"x": X}), Sample({"x": -X}, np.asarray(1))]
    assert (data_digest(data) == data_digest(other)) == same


def test_texts_are_data() -> None:
    words = [
        Sample({"x": np.array(["a", "bc"], object)}),
        Sample({"x": np.array(["ab", "c"], object)}),
    ]
    assert data_digest(words[:1]) != data_digest(words[1:])
    assert data_digest(words) == data_digest(list(words))
