"""Conversion keeps the numbers, the names and the weights, or says which node stands in the way."""

import numpy as np
import onnx
import onnx.checker
import onnx.parser
import onnx_ir as ir
import onnxruntime as ort
import pytest
from hwc.toolchain.errors import InputError
from hwc.toolchain.frontend.normalise import normalise
from hwc.toolchain.frontend.opset import convert_opset
from hwc.toolchain.frontend.shapes import infer_shapes


def load(opset: int, body: str) -> tuple[ir.Model, onnx.ModelProto]:
    text = f'<ir_version: 8, opset_import: ["": {opset}, "my": 1]> {body}'
    proto = onnx.parser.parse_model(text)
    model = ir.from_proto(proto)
    normalise(model)
    infer_shapes(model)
    return model, proto


def run(proto: onnx.ModelProto) -> list[np.ndarray]:
    """Outputs of the model for fixed random inputs, with ONNX Runtime's optimiser off."""
    rng = np.random.default_rng(0)
    feeds = {
        value.name: rng.standard_normal(
            [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        ).astype(np.float32)
        for value in proto.graph.input
    }
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(proto.SerializeToString(), options, ["CPUExecutionProvider"])
    return session.run(None, feeds)


UP = {
    "softmax": (11, "g (float[2, 3, 4] x) => (float[2, 3, 4] y) { y = Softmax <axis = 1> (x) }"),
    "softmax-default": (11, "g (float[2, 3, 4] x) => (float[2, 3, 4] y) { y = Softmax (x) }"),
    "logsoftmax": (12, "g (float[2, 3, 4] x) => (float[2, 3, 4] y) { y = LogSoftmax (x) }"),
    "axes": (
        11,
        (
            "g (float[2, 1, 4] x) => (float[1, 2] y)"
            " { p = Squeeze <axes = [1]> (x) q = ReduceSum <axes = [1], keepdims = 0> (p)"
            " y = Unsqueeze <axes = [0]> (q) }"
        ),
    ),
    "split": (
        11,
        (
            "g (float[6, 4] x) => (float[2, 4] a, float[4, 4] b)"
            " { a, b = Split <axis = 0, split = [2, 4]> (x) }"
        ),
    ),
    "even-split": (
        11,
        "g (float[6, 4] x) => (float[3, 4] a, float[3, 4] b) { a, b = Split <axis = 0> (x) }",
    ),
    "resize": (
        11,
        (
            "g (float[1, 2, 4, 4] x) => (float[1, 2, 8, 8] y)"
            " <float[0] r = {}, float[4] s = {1.0, 1.0, 2.0, 2.0}>"
            ' { y = Resize <mode = "linear"> (x, r, s) }'
        ),
    ),
    "norm": (
        11,
        (
            "g (float[2, 2, 4] x) => (float[2, 2, 4] y) <float[2] a = {1, 2}, float[2] v = {3, 4}>"
            " { y = BatchNormalization (x, a, a, a, v) }"
        ),
    ),
    "pool-pad-clip": (
        11,
        (
            "g (float[1, 1, 7, 7] x) => (float[1, 1, 4, 4] y)"
            " <int64[8] p = {0, 0, 1, 1, 0, 0, 1, 1}, float lo = {0}, float hi = {0.5}>"
            ' { a = Pad <mode = "reflect"> (x, p) b = Clip (a, lo, hi)'
            " y = MaxPool <kernel_shape = [3, 3], strides = [2, 2]> (b) }"
        ),
    ),
    "qdq": (
        12,
        (
            "g (float[1, 4] x) => (float[1, 4] y) <float s = {0.1}, uint8 z = {3}>"
            " { q = QuantizeLinear (x, s, z) y = DequantizeLinear (q, s, z) }"
        ),
    ),
    "lstm": (
        11,
        (
            "g (float[2, 1, 3] x, float[1, 8, 3] w, float[1, 8, 2] r) => (float[2, 1, 1, 2] y)"
            " { y = LSTM <hidden_size = 2> (x, w, r) }"
        ),
    ),
    "loop": (
        11,
        (
            "g (float[2, 3] x) => (float[2, 3] y) <int64 t = {3}, bool c = {1}>"
            " { y = Loop (t, c, x)"
            " <body = b (int64 i, bool ci, float[2, 3] v) => (bool co, float[2, 3] w)"
            " { co = Identity (ci) w = Softmax <axis = 0> (v) }> }"
        ),
    ),
    "if": (
        12,
        (
            "g (float[2, 3] x) => (float[2, 3] y) <float zero = {0}>"
            " { m = ReduceSum <keepdims = 0> (x) c = Greater (m, zero)"
            " y = If (c) <then_branch = a () => (float[2, 3] p) { p = Softmax <axis = 0> (x) },"
            " else_branch = b () => (float[2, 3] q) { q = Softmax <axis = 0> (x) }> }"
        ),
    ),
}
DOWN = {
    "gelu": (20, "g (float[2, 3] x) => (float[2, 3] y) { [n] y = Gelu (x) }"),
    "group-norm": (
        21,
        (
            "g (float[2, 4, 3] x) => (float[2, 4, 3] y) <float[4] s = {1, 2, 3, 4}>"
            " { y = GroupNormalization <num_groups = 2> (x, s, s) }"
        ),
    ),
    "types-only": (
        22,
        (
            "g (float[2, 4, 3] x) => (float[2, 4, 1] y)"
            " { s = Shape (x) h = ConstantOfShape (s) p = Add (x, h) y = GlobalMaxPool (p) }"
        ),
    ),
    "attention": (
        23,
        (
            "g (float[1, 2, 4, 8] q, float[1, 2, 4, 8] k) => (float[1, 2, 4, 8] y)"
            " { y = Attention (q, k, k) }"
        ),
    ),
    "rms-norm": (
        23,
        (
            "g (float[2, 3] x) => (float[2, 3] y) <float[3] s = {1, 2, 3}>"
            " { y = RMSNormalization (x, s) }"
        ),
    ),
}
CASES = [
    *(pytest.param(*case, 17, id=f"{name}-17") for name, case in UP.items()),
    *(pytest.param(*case, 21, id=f"{name}-21") for name, case in UP.items()),
    *(pytest.param(*case, 18, id=f"{name}-18") for name, case in DOWN.items()),
    *(pytest.param(*case, 19, id=f"{name}-19") for name, case in DOWN.items()),
]


@pytest.mark.parametrize(("opset", "body", "version"), CASES)
def test_numbers_stay(opset: int, body: str, version: int) -> None:
    model, proto = load(opset, body)
    converted = ir.to_proto(convert_opset(model, version))
    onnx.checker.check_model(converted, full_check=True)
    assert {e.domain: e.version for e in converted.opset_import} == {"": version, "my": 1}
    for expected, got in zip(run(proto), run(converted), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)


BIG = (
    "g (float[N, 64] x, float[64, 64] w) => (float[N, 1, 64] y)"
    " { [mm] p = MatMul (x, w) [c] q = my.Op <k = 3> (p) [u] y = Unsqueeze <axes = [1]> (p) }"
)


def test_weights_names_and_custom_ops_pass_by() -> None:
    model, _ = load(11, BIG)
    weight = model.graph.inputs.pop()
    weight.const_value = tensor = ir.tensor(np.ones((64, 64), np.float32), name="w")
    model.graph.register_initializer(weight)
    next(iter(model.graph)).metadata_props["origin"] = "layer.1"
    before = ir.to_proto(model).SerializeToString()
    converted = convert_opset(model, 17)
    assert ir.to_proto(model).SerializeToString() == before
    assert converted.graph.initializers["w"].const_value is tensor
    assert [value.name for value in converted.graph.inputs] == ["x"]
    assert [node.name for node in converted.graph] == ["mm", "c", "u"]
    mm, custom, _ = converted.graph
    assert mm.metadata_props == {"origin": "layer.1"}
    assert (custom.domain, custom.attributes["k"].value) == ("my", 3)
    assert list(converted.graph.inputs[0].shape or ()) == list(model.graph.inputs[0].shape or ())
    assert converted.ir_version >= 8


@pytest.mark.parametrize(
    ("opset", "body", "version", "says"),
    [
        pytest.param(
            20,
            "g (float[1, 1, 3, 3] x, float[1, 2, 2, 2] z) => (float[1, 1, 2, 2] y)"
            " { [grid] y = GridSample (x, z) }",
            18,
            "node 'grid' (GridSample) cannot be written in opset 18",
            id="no-rule",
        ),
        pytest.param(
            12,
            "g (float[2, 3, 4] x) => (float[2, 3, 4] y) { [hard] y = Hardmax (x) }",
            17,
            "node 'hard' (Hardmax) cannot be written in opset 17",
            id="converted-wrongly",
        ),
        pytest.param(
            19,
            "g (float[1, 1, 9, 9] x) => (float[1, 1, 5, 5] y)"
            " { [pool] y = AveragePool <kernel_shape = [3, 3], dilations = [2, 2]> (x) }",
            18,
            "node 'pool' (AveragePool)",
            id="attribute-too-new",
        ),
        pytest.param(
            17,
            "g (float[2] x) => (float[2] y) { y = Relu (x) }",
            999,
            "there is no opset 999",
            id="no-such-opset",
        ),
    ],
)
def test_what_cannot_be_converted_is_named(opset: int, body: str, version: int, says: str) -> None:
    model, _ = load(opset, body)
    with pytest.raises(InputError) as caught:
        convert_opset(model, version)
    assert says in caught.value.message
    assert "\n" not in str(caught.value)


def test_the_same_opset_is_the_same_model() -> None:
    model, _ = load(17, "g (float[2] x) => (float[2] y) { y = Relu (x) }")
    assert convert_opset(model, 17) is model
