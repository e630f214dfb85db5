"""The TensorRT dialect offers only what TensorRT builds: every op in every precision it names."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx
import pytest
from hwc.backends import trt
from hwc.backends.trt_runtime import AHEAD_OF_TIME, Target, Toolkit
from hwc.toolchain.device import load_profile
from hwc.toolchain.dialect import Int4Form
from hwc.toolchain.errors import BackendError
from hwc.toolchain.plan import Precision
from onnx import TensorProto, checker, helper, numpy_helper

OPSET = trt.OPSET_MIN
WORKSPACE = 1 << 28
Operand = tuple[int, ...] | np.ndarray | np.float32 | str
Attribute = int | list[int]
IMAGE, ROWS = (1, 8, 8, 8), (4, 64)
TYPES = {
    Precision.FP16: (TensorProto.FLOAT16, np.float16),
    Precision.BF16: (TensorProto.BFLOAT16, ml_dtypes.bfloat16),
}


@dataclass(frozen=True)
class Case:
    """One op: its attributes, and its inputs after the first (a shape: weights; "x": the first)."""

    shape: tuple[int, ...] = IMAGE
    inputs: tuple[Operand, ...] = ()
    attributes: dict[str, Attribute] = field(default_factory=dict)
    outputs: int = 1
    result: tuple[int, ...] | None = None  # the output's shape, where ONNX does not infer it


def ints(*values: int) -> np.ndarray:
    """A constant int64 operand."""
    return np.array(values, np.int64)


CASES = {
    "Conv": Case(inputs=((16, 8, 3, 3), (16,)), attributes={"pads": [1, 1, 1, 1]}),
    "ConvTranspose": Case(inputs=((8, 16, 2, 2), (16,)), attributes={"strides": [2, 2]}),
    "Gemm": Case(ROWS, ((32, 64), (32,)), {"transB": 1}),
    "MatMul": Case(ROWS, ((64, 32),)),
    "MaxPool": Case(attributes={"kernel_shape": [2, 2], "strides": [2, 2]}),
    "AveragePool": Case(attributes={"kernel_shape": [2, 2], "strides": [2, 2]}),
    "PRelu": Case(inputs=((8, 1, 1),)),
    "Clip": Case(inputs=(np.float32(0), np.float32(6))),
    "Pow": Case(inputs=(np.float32(2),)),
    "LayerNormalization": Case(inputs=((8,), (8,))),
    "BatchNormalization": Case(inputs=((8,), (8,), (8,), (8,))),
    "InstanceNormalization": Case(inputs=((8,), (8,))),
    "GroupNormalization": Case(IMAGE, ((8,), (8,)), {"num_groups": 2}, result=IMAGE),
    "Gather": Case(inputs=(ints(0, 2),), attributes={"axis": 1}),
    "Slice": Case(inputs=(ints(0), ints(4), ints(2))),
    "Split": Case(attributes={"axis": 1, "num_outputs": 2}, outputs=2),
    "Pad": Case(inputs=(ints(0, 0, 1, 1, 0, 0, 1, 1),)),
    "Reshape": Case(inputs=(ints(1, 8, 64),)),
    "Expand": Case(inputs=(ints(2, 8, 8, 8),)),
    "Tile": Case(inputs=(ints(2, 1, 1, 1),)),
    "Squeeze": Case(inputs=(ints(0),)),
    "Unsqueeze": Case(inputs=(ints(0),)),
    "Transpose": Case(attributes={"perm": [0, 2, 3, 1]}),
    "Concat": Case(inputs=("x",), attributes={"axis": 1}),
    "DepthToSpace": Case(attributes={"blocksize": 2}),
    "SpaceToDepth": Case(attributes={"blocksize": 2}),
} | dict.fromkeys(("Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean"), Case(inputs=("x",)))
CASES |= dict.fromkeys(
    ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceL2"), Case(inputs=(ints(2),))
)
SCALES = np.array([1, 1, 2, 2], np.float32)
WEIGHTED = {"Conv": 0, "ConvTranspose": 1, "Gemm": 0, "MatMul": 1}  # the channel axis


@pytest.fixture(scope="module")
def toolkit() -> Toolkit:
    """TensorRT-RTX."""
    found = Toolkit.find(AHEAD_OF_TIME)
    if found is None:
        pytest.skip("tensorrt_rtx is not installed (pip install hwc-compiler[rtx])")
    return found


@pytest.fixture
def build(toolkit: Toolkit, tmp_path: Path) -> Callable[[onnx.ModelProto], None]:
    """Builds a model for SM80, or raises BackendError."""

    def run(model: onnx.ModelProto) -> None:
        path = tmp_path / "model.onnx"
        onnx.save(model, path)
        toolkit.build(path, Target(80, WORKSPACE))

    return run


class Graph:
    """A graph of one op, under construction."""

    def __init__(self, op: str, elem: int, dtype: npt.DTypeLike) -> None:
        self.case = CASES.get(op, Case())
        self.op, self.elem, self.dtype = op, elem, dtype
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.random = np.random.default_rng(0)

    def constant(self, array: np.ndarray) -> str:
        """A new initialiser."""
        name = f"c{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def node(self, op: str, inputs: list[str], outputs: list[str], **attributes: Attribute) -> str:
        """A new node; the name of its first output."""
        self.nodes.append(helper.make_node(op, inputs, outputs, **attributes))
        return outputs[0]

    def operand(self, given: Operand, x: str) -> str:
        """An operand as the case describes it."""
        if isinstance(given, str):
            return x
        if isinstance(given, tuple):
            return self.constant((1 + self.random.random(given)).astype(self.dtype))
        integer = np.issubdtype(np.asarray(given).dtype, np.integer)
        return self.constant(given if integer else np.asarray(given).astype(self.dtype))

    def model(self, inputs: list[str]) -> onnx.ModelProto:
        """The checked model of the op on these inputs."""
        outputs = [f"y{i}" for i in range(self.case.outputs)]
        self.node(self.op, inputs, outputs, **self.case.attributes)
        graph = helper.make_graph(
            self.nodes,
            "one",
            [helper.make_tensor_value_info("x", self.elem, self.case.shape)],
            [helper.make_tensor_value_info(name, self.elem, self.case.result) for name in outputs],
            self.initializers,
        )
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
        checker.check_model(model, full_check=True)
        return model


def float_model(op: str, precision: Precision) -> onnx.ModelProto:
    """The op in a float type."""
    graph = Graph(op, *TYPES[precision])
    inputs = ["x", *(graph.operand(given, "x") for given in graph.case.inputs)]
    if op == "Where":
        inputs = [graph.constant(np.ones(IMAGE, np.bool_)), "x", "x"]
    if op == "Resize":
        inputs += ["", graph.constant(SCALES)]
    return graph.model(inputs)


def int8_model(op: str, *, zero: int = 0) -> onnx.ModelProto:
    """The op on int8 data: pairs on its activations, int8 weights per channel, a float bias."""
    graph = Graph(op, *TYPES[Precision.FP16])
    scale, point = graph.constant(np.float16(0.1)), graph.constant(np.int8(zero))
    integers = graph.node("QuantizeLinear", ["x", scale, point], ["xq"])
    x = graph.node("DequantizeLinear", [integers, scale, point], ["xd"])
    inputs = [x]
    for index, given in enumerate(graph.case.inputs):
        if op in WEIGHTED and index == 0:
            axis = WEIGHTED[op]
            steps = graph.random.integers(-127, 128, given, np.int8)
            scales = np.full(given[axis], 0.01, np.float16)
            zeros = np.zeros(given[axis], np.int8)
            parts = [graph.constant(part) for part in (steps, scales, zeros)]
            inputs.append(graph.node("DequantizeLinear", parts, ["wd"], axis=axis))
        else:
            inputs.append(graph.operand(given, x))
    return graph.model(inputs)


def int4_model(op: str) -> onnx.ModelProto:
    """The op with its weight in blocks of 32 along K, as `Int4Form.DEQUANTIZE` says."""
    graph = Graph(op, TensorProto.FLOAT, np.float32)
    steps = graph.random.integers(-8, 8, (64, 32)).astype(ml_dtypes.int4)
    parts = [graph.constant(part) for part in (steps, np.full((2, 32), 0.1, np.float32))]
    weight = graph.node("DequantizeLinear", parts, ["wd"], axis=0, block_size=32)
    graph.case = Case(ROWS)
    return graph.model(["x", weight])


@pytest.mark.parametrize("op", sorted(trt.FP16_OPS))
def test_builds_in_fp16(build: Callable[[onnx.ModelProto], None], op: str) -> None:
    build(float_model(op, Precision.FP16))


@pytest.mark.parametrize("op", sorted(trt.BF16_OPS))
def test_builds_in_bf16(build: Callable[[onnx.ModelProto], None], op: str) -> None:
    build(float_model(op, Precision.BF16))


@pytest.mark.parametrize("op", sorted(trt.INT8_OPS))
def test_builds_in_int8(build: Callable[[onnx.ModelProto], None], op: str) -> None:
    build(int8_model(op))


@pytest.mark.parametrize("op", ["Gemm", "MatMul"])
def test_builds_with_int4_weights(build: Callable[[onnx.ModelProto], None], op: str) -> None:
    build(int4_model(op))


def test_refuses_a_zero_point(build: Callable[[onnx.ModelProto], None]) -> None:
    with pytest.raises(BackendError, match=r"QuantizeLinear.*Non-zero zero point is not supported"):
        build(int8_model("Conv", zero=3))


@pytest.mark.parametrize("op", ["HardSwish", "Mish", "ConvTranspose"])
def test_what_bf16_lacks_is_not_offered(op: str) -> None:
    assert op in trt.FP16_OPS
    assert op not in trt.BF16_OPS


@pytest.mark.parametrize("name", ["a100_sxm_80gb", "jetson_agx_orin"])
def test_dialect_of_a_device(name: str) -> None:
    profile = load_profile(name)
    dialect = trt.TensorRT().dialect(profile)
    assert set(dialect.ops) == set(profile.precisions) - {Precision.FP32}
    assert dialect.opset_min <= dialect.opset_max <= profile.opset_max
    assert dialect.int4 is Int4Form.DEQUANTIZE
    assert dialect.int8_float is Precision.FP16
    assert not any((dialect.unsigned_activations, dialect.int32_bias, dialect.quantized_outputs))
