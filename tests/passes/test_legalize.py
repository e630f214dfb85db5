"""Graphs come out in the dialect: listed operators, an opset that is read, the same numbers."""

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from hwc.passes.legalize import legalize
from hwc.toolchain.dialect import Dialect
from hwc.toolchain.errors import InputError
from hwc.toolchain.operators import OperatorTable

MODELS = Path(__file__).resolve().parents[2].parent / "shared" / "bench" / "dev" / "models"
SIZES = {"batch": 1, "seq": 32, "sequence": 576, "p2o.DynamicDimension.0": 1}
SIZES |= {"?": 48, "p2o.DynamicDimension.1": 320}
ASCEND = Dialect(
    "ascend", 8, 18, static_shapes=True, operators=OperatorTable.load("ascend_onnx_ops.csv")
)
DCU = Dialect("dcu", 8, 19, static_shapes=True, operators=OperatorTable.load("dcu_onnx_ops.csv"))
Case = tuple[int, str, str, str]
ATOL = 2e-6  # one operator becomes several: a few units in the last place of values near 1

CASES: dict[str, Case] = {
    "gelu": (20, "float[2,8] x", "", "y = Gelu(x)"),
    "gelu-tanh": (20, "float[2,8] x", "", 'y = Gelu<approximate="tanh">(x)'),
    "mish": (18, "float[2,8] x", "", "y = Mish(x)"),
    "swish": (24, "float[2,8] x", "", "y = Swish<alpha=1.5>(x)"),
    "group-norm-18": (
        18,
        "float[2,4,3] x",
        "<float[2] s = {1.0, 2.0}, float[2] b = {0.5, -0.5}>",
        "y = GroupNormalization<num_groups=2>(x, s, b)",
    ),
    "group-norm-21": (
        21,
        "float[2,4,3] x",
        "<float[4] s = {1.0, 2.0, 3.0, 4.0}, float[4] b = {0.5, -0.5, 0.0, 1.0}>",
        "y = GroupNormalization<num_groups=2>(x, s, b)",
    ),
    "rms-norm": (
        23,
        "float[2,4] x",
        "<float[4] s = {1.0, 2.0, 3.0, 4.0}>",
        "y = RMSNormalization(x, s)",
    ),
    "reduce-l2": (
        18,
        "float[2,8] x",
        "<int64[1] axes = {1}>",
        "y = ReduceL2<keepdims=1>(x, axes)",
    ),
    "attention": (23, "float[1,2,4,8] x", "", "y = Attention(x, x, x)"),
    "plain-reshape": (
        18,
        "float[2,8] x",
        "<int64[2] shape = {4, 4}>",
        "y = Reshape<allowzero=1>(x, shape)",
    ),
    "average-pool-19": (
        19,
        "float[1,2,4,4] x",
        "",
        "y = AveragePool<kernel_shape=[2,2], dilations=[1,1]>(x)",
    ),
    "gelu-in-if": (
        20,
        "float[2,8] x, bool c",
        "",
        """y = If(c) <then_branch = t () => (float[2,8] a) { a = Gelu(x) },
                      else_branch = e () => (float[2,8] b) { b = Relu(x) }>""",
    ),
}


def parse(opset: int, inputs: str, constants: str, body: str) -> ir.Model:
    """A model of one line with output y."""
    text = (
        f'<ir_version: 10, opset_import: ["" : {opset}]>'
        f"g ({inputs}) => (float[] y) {constants} {{ {body} }}"
    )
    proto = onnx.parser.parse_model(text)
    wanted = proto.graph.output[0].type.tensor_type
    if "GroupNormalization" in body:  # opset 18 infers nothing for it
        wanted.CopyFrom(proto.graph.input[0].type.tensor_type)
    else:
        wanted.ClearField("shape")
    for index, node in enumerate(proto.graph.node):
        node.name = f"node_{index}"
    return ir.from_proto(onnx.shape_inference.infer_shapes(proto))


def run(model: ir.Model, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """One inference with the runtime's optimiser off."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    data = ir.to_proto(model).SerializeToString()
    return ort.InferenceSession(data, options, ["CPUExecutionProvider"]).run(None, feeds)


def complaints(model: ir.Model, dialect: Dialect) -> list[str]:
    """What the dialect's table has against the model."""
    assert dialect.operators is not None
    opset = model.opset_imports[""]
    said = [dialect.operators.complaint(node, opset) for node in model.graph.all_nodes()]
    return [text for text in said if text]


@pytest.mark.parametrize("dialect", [ASCEND, DCU], ids=["ascend", "dcu"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_listed_equivalent_with_the_same_numbers(case: Case, dialect: Dialect) -> None:
    """What the runtime lacks is rewritten; what it has stays; the numbers stay."""
    rng = np.random.default_rng(0)
    before = parse(*case)
    feeds = {
        value.name: np.ones((), bool)
        if value.dtype is ir.DataType.BOOL
        else rng.standard_normal(list(value.shape)).astype(np.float32)
        for value in before.graph.inputs
    }
    expected = run(before, feeds)
    after = before.clone()
    legalize(after, dialect)
    assert after.opset_imports[""] <= dialect.opset_max
    assert complaints(after, dialect) == []
    onnx.checker.check_model(ir.to_proto(after), full_check=True)
    for want, got in zip(expected, run(after, feeds), strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=ATOL)
    names = [node.name for node in after.graph.all_nodes()]
    assert len(set(names)) == len(names)


def test_twice_is_as_good_as_once() -> None:
    """A legal graph is not touched again."""
    model = parse(*CASES["attention"])
    legalize(model, ASCEND)
    once = ir.to_proto(model).SerializeToString(deterministic=True)
    legalize(model, ASCEND)
    assert ir.to_proto(model).SerializeToString(deterministic=True) == once


def test_a_listed_function_operator_stays() -> None:
    """Only what is missing is expanded."""
    model = parse(18, "float[2,8] x", "", "y = Mish(x)")
    legalize(model, ASCEND)
    assert [node.op_type for node in model.graph] == ["Mish"]


@pytest.mark.parametrize(
    ("case", "named"),
    [
        ((19, "float[2,8] x", "<int64[4] p = {0,1,0,1}>", 'y = Pad<mode="wrap">(x, p)'), "Pad"),
        (
            (20, "float[1,1,4,4] x, float[1,2,2,2] g", "", "y = GridSample(x, g)"),
            "GridSample",
        ),
        (
            (19, "float[1,1,8,8] x", "", "y = AveragePool<kernel_shape=[2,2], dilations=[2,2]>(x)"),
            "AveragePool",
        ),
    ],
    ids=["value-of-a-later-opset", "redefined", "attribute-of-a-later-opset"],
)
def test_what_the_older_opset_cannot_say_is_refused_by_name(case: Case, named: str) -> None:
    """A node that would change its meaning stops the compilation, and is named."""
    with pytest.raises(InputError, match=f"{named} 'node_0'") as caught:
        legalize(parse(*case), ASCEND)
    assert "opset 18" in caught.value.hint


def test_an_open_dialect_only_lowers_the_opset() -> None:
    """A runtime without a table keeps its function operators."""
    model = parse(21, "float[2,8] x", "", "y = Gelu(x)")
    legalize(model, Dialect("trt", 13, 20))
    assert model.opset_imports[""] == 20
    assert [node.op_type for node in model.graph] == ["Gelu"]


def bench_feeds(model: ir.Model) -> dict[str, np.ndarray]:
    """Fix the dimensions of a bench model and make inputs that it takes."""
    rng = np.random.default_rng(0)
    feeds: dict[str, np.ndarray] = {}
    for value in model.graph.inputs:
        dims = [d if isinstance(d, int) else SIZES[str(d.value)] for d in value.shape]
        value.shape = ir.Shape(dims)
        name = str(value.name)
        if value.dtype is ir.DataType.FLOAT:
            feeds[name] = rng.standard_normal(dims).astype(np.float32)
        else:
            feeds[name] = np.full(dims, 16000) if name == "sr" else rng.integers(1, 5000, dims)
    for value in model.graph.outputs:
        value.shape = None
    return feeds


@pytest.mark.parametrize("dialect", [ASCEND, DCU], ids=["ascend", "dcu"])
@pytest.mark.parametrize(
    "name",
    [
        *("dscnn_kws", "efficientnet_lite0", "minilm_l6", "ppocr_v4_rec", "resnet20_cifar10"),
        *("resnet20_cifar10_v2", "resnet56_cifar10", "silero_vad_16k", "speaker_lstm"),
        *("tinyvit_cifar10", "yolox_nano"),
    ],
)
def test_every_bench_model_becomes_legal_and_static(name: str, dialect: Dialect) -> None:
    """Eleven real exports: only listed operators, every shape fixed, the same numbers."""
    path = MODELS / f"{name}.onnx"
    if not path.exists():
        pytest.skip("the bench models are not beside this checkout")
    model = ir.load(path)
    feeds = bench_feeds(model)
    expected = run(model, feeds)
    legalize(model, dialect)
    assert complaints(model, dialect) == []
    written = [out for node in model.graph.all_nodes() for out in node.outputs]
    assert all(value.shape is not None and value.shape.is_static() for value in written)
    names = [node.name for node in model.graph.all_nodes()]
    assert all(names)
    assert len(set(names)) == len(names)
    for want, got in zip(expected, run(model, feeds), strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=ATOL)
