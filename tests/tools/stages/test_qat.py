"""Training rounds what the plan rounds, where the plan rounds it, and hands it on unchanged."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
import pytest
from hwc.backends import ort
from hwc.passes import quantize
from hwc.passes.apply import PlanWriter
from hwc.passes.store import has_weight
from hwc.toolchain import kernels
from hwc.toolchain.accuracy.samples import Sample
from hwc.toolchain.engine import Array, Runner
from hwc.toolchain.frontend.torch_graph import tensors_of
from hwc.toolchain.plan import NodeChoice, Plan, Precision, Sparsity
from hwc.toolchain.storage.formats import Format
from hwc.toolchain.training.qat import quantise
from hwc.toolchain.training.student import Student
from hwc.tools.stages.qat import growing_zeros, rounded_tensors, rounded_weights

if TYPE_CHECKING:
    from hwc.tests.conftest import Subject

torch = pytest.importorskip("torch", reason="torch is not installed")
Make = Callable[..., "Subject"]
NETWORK = """<ir_version: 10, opset_import: ["" : 21]> g (float[1,4,8,8] x) => (float[1,8] y)
<float[8,4,3,3] w, float[8] b, float[8,1,3,3] d, float[8] e, float[8,8,1,1] p, float[8] f,
 float[8,8] m, float[8] n, int64[2] axes = {2, 3}>
{ c = Conv <pads = [1, 1, 1, 1]> (x, w, b) r = Relu (c)
  k = Conv <group = 8, pads = [1, 1, 1, 1], strides = [2, 2]> (r, d, e) q = Relu (k)
  z = Conv (q, p, f) s = Add (z, q) a = ReduceMean <keepdims = 0> (s, axes)
  y = Gemm <transB = 1> (a, m, n) }"""
SHARED = """<ir_version: 10, opset_import: ["" : 21]> g (float[8,8] x) => (float[8,8] y)
<float[8,8] m> { h = Gemm (x, m) y = Gemm (h, m) }"""
CHOICES = {
    "int8": NodeChoice(Precision.INT8),
    "fp32": NodeChoice(),
    "stored": NodeChoice(Precision.INT8, storage="lsq3"),
    "float": NodeChoice(Precision.INT8, storage="float4e2m1"),
    "codebook": NodeChoice(Precision.INT8, storage="codebook3"),
    "blocks": NodeChoice(Precision.INT8, storage="int4/32"),
    "sparse": NodeChoice(Precision.INT8, Sparsity.TWO_FOUR),
    "zeros": NodeChoice(Precision.INT8, storage="lsq4~50"),
    "runs": NodeChoice(storage="int8~75x4"),
}


def opened(model: ir.Model) -> Runner:
    return ort.Session(model, ort.Options(threads=1, optimise=False))


def planned(bench: "Subject", name: str) -> Plan:
    """A choice wherever there is a weight; int8 elsewhere, but for a plan of fp32."""
    choice = CHOICES[name]
    rest = CHOICES["fp32" if name == "fp32" else "int8"]
    return Plan.of(
        (slot.name, choice if slot.work.weights else rest) for slot in bench.writer.slots.slots
    )


@pytest.fixture
def bench(subject: Make) -> "Subject":
    rng = np.random.default_rng(0)
    feeds = [{"x": rng.standard_normal((1, 4, 8, 8)).astype(np.float32)} for _ in range(8)]
    return subject(NETWORK, samples=tuple(feeds))


def outputs(bench: "Subject", plan: Plan, count: int) -> tuple[Array, Array, Array]:
    """What torch, the written plan and the original make of some samples."""
    samples = [Sample(each) for each in bench.samples[:count]]
    student = Student.of(bench.model, samples, opened)
    writer = bench.writer
    quantise(student, rounded_weights(writer, plan), rounded_tensors(writer, plan))
    runs = opened(writer.write(plan)), opened(bench.model)
    with torch.no_grad():
        mine = [student(tensors_of(sample.feeds))["y"].numpy() for sample in samples]
    rest = [np.stack([run(sample.feeds)["y"] for sample in samples]) for run in runs]
    return np.stack(mine), rest[0], rest[1]


@pytest.mark.parametrize("name", ["int8", "stored", "float"])
def test_training_sees_what_the_plan_computes(bench: "Subject", name: str) -> None:
    """Up to int32 biases, and to the int8 kernel's own rounding of stored weights."""
    mine, real, exact = outputs(bench, planned(bench, name), 6)
    lost = np.abs(real - exact).mean()
    assert lost > 1e-3
    assert np.abs(mine - real).mean() < 0.25 * lost


@pytest.mark.parametrize(
    ("name", "rounded"),
    [
        ("int8", {"w", "d", "p", "m"}),
        ("stored", {"w", "d", "p", "m"}),
        ("fp32", set()),
        ("codebook", set()),
        ("blocks", set()),
        ("sparse", set()),
        ("zeros", {"w", "d", "p", "m"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_rounded(bench: "Subject", name: str, rounded: set[str]) -> None:
    found = rounded_weights(bench.writer, planned(bench, name))
    assert {weight.name for weight in found} == rounded


def test_a_weight_that_two_nodes_share_is_left_alone(subject: Make) -> None:
    feeds = {"x": np.random.default_rng(0).standard_normal((8, 8)).astype(np.float32)}
    bench = subject(SHARED, samples=(feeds,))
    assert rounded_weights(bench.writer, planned(bench, "int8")) == ()


@pytest.mark.parametrize("name", ["int8", "stored", "float"])
def test_the_plan_writes_trained_weights_as_they_were_trained(bench: "Subject", name: str) -> None:
    """Weights moved and steps moved, as training does: the writer's own rounding adds nothing."""
    plan = planned(bench, name)
    samples = [Sample(each) for each in bench.samples]
    student = Student.of(bench.model, samples, opened)
    made = quantise(student, rounded_weights(bench.writer, plan), ())
    rng = np.random.default_rng(1)
    with torch.no_grad():
        for key, step in made.steps.items():
            step.mul_(torch.from_numpy(rng.uniform(0.6, 1.4, step.shape).astype(np.float32)))
            weight = student.graph.weights[key]
            weight.add_(torch.from_numpy(0.05 * rng.standard_normal(weight.shape)).float())
    trained = made.to_model()
    old = bench.writer
    writer = PlanWriter(trained, old.slots, dialect=old.dialect, ranges=old.ranges)
    nodes = [node for node in trained.graph if has_weight(node)]
    assert {str(node.inputs[1] and node.inputs[1].name) for node in nodes} == set(made.steps)
    for node in nodes:
        wanted = weight_of(node)
        assert len(np.unique(wanted)) > 2
        if storage := CHOICES[name].storage:
            got = writer.stored(node, Format.parse(storage))
        else:
            rounded = quantize.weights(node, 1.0)
            shape = [-1 if axis == rounded.axis else 1 for axis in range(wanted.ndim)]
            got = rounded.integers * rounded.affine.scale.reshape(shape)
        np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", ["zeros", "runs"])
def test_zeros_grow_to_those_that_the_plan_writes(name: str, bench: "Subject") -> None:
    """Trained with a mask, a weight is written with the zeros of that mask, and no others."""
    plan, writer = planned(bench, name), bench.writer
    gradual = growing_zeros(writer, plan)
    assert gradual is not None
    nodes = {str(n.inputs[1] and n.inputs[1].name): n for n in writer.model.graph if has_weight(n)}
    weights = {key: weight_of(node) for key, node in nodes.items()}
    counts = [
        {key: np.count_nonzero(~mask) for key, mask in gradual.make(weights, share).items()}
        for share in (0.0, 0.5, 1.0)
    ]
    form = Format.parse(CHOICES[name].storage)
    for key, array in weights.items():
        if array[0].size % form.run:
            continue  # runs at the end of a channel are shorter
        wanted = [array.size * form.zeros / 100 * along for along in (0, 0.5, 1.0)]
        assert [each[key] for each in counts] == pytest.approx(wanted, abs=form.run)
    for key, mask in gradual.make(weights, 1.0).items():
        read = nodes[key].inputs[1]
        assert read is not None
        read.const_value = ir.tensor(weights[key] * mask, name=key)
        held = writer.stored(nodes[key], form)
        assert held is not None
        assert (held[~mask] == 0).all()
        assert np.count_nonzero(held) > 0.8 * np.count_nonzero(mask)


def test_what_stores_no_zeros_has_no_masks(bench: "Subject") -> None:
    assert growing_zeros(bench.writer, planned(bench, "stored")) is None


def test_masks_have_one_text_in_every_process(bench: "Subject") -> None:
    """A checkpoint is of a run with that text."""
    texts = {str(growing_zeros(bench.writer, planned(bench, "zeros"))) for _ in range(2)}
    assert len(texts) == 1
    assert " at 0x" not in texts.pop()


def weight_of(node: ir.Node) -> Array:
    tensor = kernels.constant(node.inputs[1])
    assert tensor is not None
    return tensor.numpy()
