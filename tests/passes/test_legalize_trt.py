"""What TensorRT-RTX refuses builds after the pass, with the same numbers."""

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from hwc.backends.trt_runtime import AHEAD_OF_TIME, Target, Toolkit
from hwc.passes.legalize_trt import legalize_trt
from hwc.toolchain.dialect import Dialect
from hwc.toolchain.errors import BackendError
from onnx import TensorProto, helper, numpy_helper, parser

DIALECT = Dialect("trt", opset_min=21, opset_max=21)
RANDOM = np.random.default_rng(0)
HEAD = '<ir_version: 10, opset_import: ["": 21]>'
LSTM = "y, h, c = LSTM <hidden_size=4> (i, w, r)"
CONSTANTS = {
    "w": RANDOM.standard_normal((1, 16, 8)).astype(np.float32),
    "r": RANDOM.standard_normal((1, 16, 4)).astype(np.float32),
    "s": np.float32(0.05),
    "s16": np.float16(0.05),
    "z": np.int8(0),
    "three": np.int8(3),
    "ws": np.full((2, 32), 0.1, np.float32),
    "shape": np.array([8, 1, 8]),
}
CASES = {
    "cast before a recurrent layer": (
        f"""g (float[8,1,8] x) => (float[8,1,1,4] y)
        {{ a = Cast <to=10> (x) i = Cast <to=1> (a) {LSTM} }}""",
        "Add",
    ),
    "cast and moves before a recurrent layer": (
        f"""g (float[1,8,8] x) => (float[8,1,1,4] y)
        {{ a = Cast <to=10> (x) b = Cast <to=1> (a) t = Transpose <perm=[1,0,2]> (b)
           i = Reshape (t, shape) {LSTM} }}""",
        "Add",
    ),
    "dequantized fp16 before 4-bit weights": (
        """g (float[4,64] x) => (float[4,32] y)
        { a = Cast <to=10> (x) q = QuantizeLinear (a, s16, z) d = DequantizeLinear (q, s16, z)
          i = Cast <to=1> (d) m = DequantizeLinear <axis=0, block_size=32> (w4, ws)
          y = MatMul (i, m) }""",
        "Add",
    ),
    "scalar int8 constant": (
        """g (float[1,8] x) => (float[1,8] y)
        { q = QuantizeLinear (x, s, z) d = DequantizeLinear (q, s, z)
          k = DequantizeLinear (three, s, z) y = Add (d, k) }""",
        None,
    ),
}
UNTOUCHED = {
    "recurrent layer without a cast": f"""g (float[8,1,8] x) => (float[8,1,1,4] y)
        {{ i = Relu (x) {LSTM} }}""",
    "cast before another kernel": """g (float[1,8] x) => (float[1,8] y)
        { a = Cast <to=10> (x) b = Cast <to=1> (a) y = MatMul (b, m) }""",
}


def make(text: str) -> onnx.ModelProto:
    """The checked model of a text, with the constants that it names."""
    model = parser.parse_model(HEAD + text)
    read = {name for node in model.graph.node for name in node.input}
    weights = [numpy_helper.from_array(np.asarray(a), n) for n, a in CONSTANTS.items() if n in read]
    if "w4" in read:
        steps = RANDOM.integers(-8, 8, 64 * 32).tolist()
        weights.append(helper.make_tensor("w4", TensorProto.INT4, (64, 32), steps))
    if "m" in read - {out for node in model.graph.node for out in node.output}:
        weights.append(numpy_helper.from_array(np.eye(8, dtype=np.float32), "m"))
    model.graph.initializer.extend(weights)
    model = onnx.shape_inference.infer_shapes(model)
    onnx.checker.check_model(model, full_check=True)
    return model


def legalized(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model after the pass, checked."""
    changed = ir.from_proto(model)
    legalize_trt(DIALECT)(changed)
    after = ir.to_proto(changed)
    onnx.checker.check_model(after, full_check=True)
    return after


def run(model: onnx.ModelProto) -> np.ndarray:
    """The first output on random data, with the optimiser off."""
    settings = onnxruntime.SessionOptions()
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), settings)
    feed = np.random.default_rng(1).standard_normal(session.get_inputs()[0].shape)
    return session.run(None, {session.get_inputs()[0].name: feed.astype(np.float32)})[0]


@pytest.mark.parametrize(("text", "added"), CASES.values(), ids=CASES)
def test_same_numbers_and_idempotent(text: str, added: str | None) -> None:
    before = make(text)
    after = legalized(before)
    np.testing.assert_array_equal(run(after), run(before))
    ops = [node.op_type for node in before.graph.node]
    assert sorted(n.op_type for n in after.graph.node) == sorted(
        [*ops, *([added] if added else [])]
    )
    assert not legalize_trt(DIALECT)(ir.from_proto(after)).modified


@pytest.mark.parametrize("text", UNTOUCHED.values(), ids=UNTOUCHED)
def test_leaves_alone(text: str) -> None:
    assert not legalize_trt(DIALECT)(ir.from_proto(make(text))).modified


@pytest.mark.parametrize("text", [text for text, _ in CASES.values()], ids=CASES)
def test_builds_after_it_and_in_1_7_not_before(text: str, tmp_path: Path) -> None:
    toolkit = Toolkit.find(AHEAD_OF_TIME)
    if toolkit is None:
        pytest.skip("tensorrt_rtx is not installed (pip install hwc-compiler[rtx])")
    target = Target(86, 1 << 28)
    model, path = make(text), tmp_path / "model.onnx"
    onnx.save(legalized(model), path)
    toolkit.build(path, target)
    if not toolkit.version.startswith("tensorrt_rtx 1.7."):
        return  # other versions may have the faults mended
    onnx.save(model, path)
    with pytest.raises(BackendError, match="refused"):
        toolkit.build(path, target)
