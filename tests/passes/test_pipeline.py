"""Random graphs and real models keep their outputs; what golden text cannot say about passes."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from hwc.passes.journal import Outcome
from hwc.passes.pipeline import run, standard
from hwc.toolchain.dialect import Dialect
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

DIALECT = Dialect("test", 13, 21, fused_activations=frozenset({"Relu", "Clip"}))
MODELS = Path(__file__).resolve().parents[2].parent / "shared" / "bench" / "dev" / "models"
FREE = {"batch": 2, "seq": 9, "sequence": 512, "?": 48, "p2o.DynamicDimension.1": 160}
Feeds = dict[str, np.ndarray]


def outputs(model: onnx.ModelProto, feeds: Feeds) -> list[np.ndarray]:
    """What ONNX Runtime computes with its optimiser off."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return list(session.run(None, feeds))


def test_passes_have_unique_names_but_for_folding_twice() -> None:
    names = [graph_pass.name for graph_pass in standard(DIALECT)]
    assert len(names) == len(set(names)) + 1
    assert names.count("fold-constants") == 2


# ---- real models


def model_feeds(model: onnx.ModelProto) -> Feeds:
    """Plausible inputs: normal numbers, small ids, masks of ones."""
    rng = np.random.default_rng(0)
    feeds: Feeds = {}
    for value in model.graph.input:
        tensor = value.type.tensor_type
        shape = [dim.dim_value or FREE.get(dim.dim_param, 2) for dim in tensor.shape.dim]
        if tensor.elem_type == TensorProto.FLOAT:
            feeds[value.name] = rng.normal(scale=0.5, size=shape).astype(np.float32)
        elif value.name == "sr":
            feeds[value.name] = np.array(16000, dtype=np.int64)
        else:
            ids = "mask" not in value.name
            feeds[value.name] = rng.integers(1, 1000, shape) if ids else np.ones(shape, np.int64)
    return feeds


# Nodes that the graph must not exceed after the passes: what they reach today.
NODES = {
    "dscnn_kws": 22,
    "efficientnet_lite0": 94,
    "minilm_l6": 300,
    "ppocr_v4_rec": 173,
    "resnet20_cifar10": 56,
    "resnet56_cifar10": 146,
    "silero_vad_16k": 52,
    "speaker_lstm": 20,
    "tinyvit_cifar10": 163,
    "yolox_nano": 367,
}


@pytest.mark.parametrize("name", NODES)
def test_real_model_keeps_its_outputs(name: str) -> None:
    path = MODELS / f"{name}.onnx"
    if not path.exists():
        pytest.skip("the development models are not beside this checkout")
    before = onnx.load(path)
    model = ir.from_proto(before)
    journal = run(model, DIALECT)
    after = ir.to_proto(model)
    onnx.checker.check_model(after, full_check=True)
    assert [v.name for v in after.graph.output] == [v.name for v in before.graph.output]
    feeds = model_feeds(before)
    for wanted, got in zip(outputs(before, feeds), outputs(after, feeds), strict=True):
        # Folding rounds each weight once more: a few units in the last place of the largest value.
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5 * max(1.0, np.abs(wanted).max()))
    assert journal.after <= NODES[name]
    assert run(model, DIALECT).of(Outcome.DONE) == ()


# ---- random graphs

SHAPE = [2, 3, 4, 4]
UNARY = ("Relu", "Sigmoid", "Tanh", "Neg", "Identity", "Exp", "Abs")


class Draft:
    """A random graph over tensors of one shape, drawn node by node."""

    def __init__(self, draw: Callable[[st.SearchStrategy[int]], int]) -> None:
        self.draw = draw
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.tensors = ["x"]
        self.rng = np.random.default_rng(draw(st.integers(0, 2**16)))

    def pick(self) -> str:
        """A tensor, more often a recent one."""
        back = self.draw(st.integers(1, 3))
        return self.tensors[-min(back, len(self.tensors))]

    def constant(self, *shape: int) -> str:
        """A constant; often of ones or zeros, so that it may be neutral."""
        kind = self.draw(st.integers(0, 3))
        array = self.rng.normal(size=shape) if kind > 1 else np.full(shape, float(kind))
        name = f"k{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array.astype(np.float32), name))
        return name

    def node(self, op: str, *inputs: str, **attributes: object) -> str:
        """Append a node."""
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=f"n_{name}", **attributes))
        return name

    def step(self) -> None:
        """Append one step, of one to three nodes."""
        steps = (self.unary, self.binary, self.scalar, self.conv, self.norm, self.moved, self.swish)
        self.tensors.append(steps[self.draw(st.integers(0, len(steps) - 1))]())

    def unary(self) -> str:
        """One of the element-wise ops."""
        return self.node(UNARY[self.draw(st.integers(0, len(UNARY) - 1))], self.pick())

    def binary(self) -> str:
        """Two computed tensors."""
        return self.node(("Add", "Mul", "Sub")[self.draw(st.integers(0, 2))], *self.two())

    def two(self) -> tuple[str, str]:
        """Two tensors."""
        return self.pick(), self.pick()

    def scalar(self) -> str:
        """Arithmetic with a constant, on either side."""
        shape = ((), (1,), (3, 1, 1), (1, 3, 1, 1), (4,))[self.draw(st.integers(0, 4))]
        pair = [self.pick(), self.constant(*shape)]
        op = ("Add", "Mul", "Sub")[self.draw(st.integers(0, 2))]
        return self.node(op, *(pair if self.draw(st.booleans()) else pair[::-1]))

    def conv(self) -> str:
        """A Conv or ConvTranspose that keeps the shape."""
        size = self.draw(st.sampled_from([1, 3]))
        groups = self.draw(st.sampled_from([1, 3]))
        op = self.draw(st.sampled_from(["Conv", "ConvTranspose"]))
        inputs = [self.pick(), self.constant(3, 3 // groups, size, size)]
        if self.draw(st.booleans()):
            inputs.append(self.constant(3))
        return self.node(op, *inputs, group=groups, pads=[size // 2] * 4)

    def norm(self) -> str:
        """A BatchNormalization."""
        numbers = [self.constant(3) for _ in range(3)]
        variance = numpy_helper.from_array(self.rng.uniform(0.5, 2, 3).astype(np.float32), "")
        variance.name = f"k{len(self.constants)}"
        self.constants.append(variance)
        return self.node("BatchNormalization", self.pick(), *numbers, variance.name)

    def moved(self) -> str:
        """Two transposes that cancel."""
        there = self.node("Transpose", self.pick(), perm=[0, 2, 3, 1])
        middle = self.node("Relu", there) if self.draw(st.booleans()) else there
        return self.node("Transpose", middle, perm=[0, 3, 1, 2])

    def swish(self) -> str:
        """X * HardSigmoid(x)."""
        x = self.pick()
        return self.node("Mul", x, self.node("HardSigmoid", x, alpha=1 / 6, beta=0.5))

    def model(self) -> onnx.ModelProto:
        """The graph, with one to three of its tensors as outputs."""
        names = sorted({self.tensors[-1], self.pick(), self.pick()} - {"x"}) or [self.unary()]
        graph = helper.make_graph(
            self.nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *SHAPE[1:]])],
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", *SHAPE[1:]]) for n in names],
            self.constants,
        )
        return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 18)])


@st.composite
def graphs(draw: st.DrawFn) -> onnx.ModelProto:
    draft = Draft(draw)
    for _ in range(draw(st.integers(2, 9))):
        draft.step()
    return draft.model()


@settings(max_examples=int(os.environ.get("HWC_EXAMPLES", "60")), deadline=None)
@given(before=graphs())
def test_random_graph_keeps_its_outputs(before: onnx.ModelProto) -> None:
    model = ir.from_proto(before)
    run(model, DIALECT)
    after = ir.to_proto(model)
    onnx.checker.check_model(after, full_check=True)
    feeds = {"x": np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)}
    for wanted, got in zip(outputs(before, feeds), outputs(after, feeds), strict=True):
        size = np.abs(wanted[np.isfinite(wanted)]).max(initial=1.0)
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4 * size)
    assert run(model, DIALECT).of(Outcome.DONE) == ()
