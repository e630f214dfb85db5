"""Recovered constants are better on other samples, really in the graph, and the same each time."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
import pytest
from hwc.backends import ort
from hwc.toolchain.accuracy.samples import Sample
from hwc.toolchain.engine import Array, Feeds, Runner
from hwc.toolchain.errors import InputError
from hwc.toolchain.observe import observer
from hwc.toolchain.plan import NodeChoice, Plan, Precision, Sparsity
from hwc.toolchain.recovery.layers import find_layers
from hwc.toolchain.recovery.narrow import narrow
from hwc.toolchain.recovery.recover import BIAS, Effort, Recovered, Recovery

if TYPE_CHECKING:
    from hwc.tests.conftest import Subject

Make = Callable[..., "Subject"]
OPSET = '<ir_version: 10, opset_import: ["" : 21, "com.microsoft" : 1]>'
LINEAR = f"""{OPSET} g (float[8,24] x) => (float[8,6] y) <float[24,6] w, float[6] b>
{{ y = Gemm (x, w, b) }}"""
DEEP = f"""{OPSET} g (float[1,4,8,8] x) => (float[1,8] y)
<float[8,4,3,3] w, float[8] b, float[8,1,3,3] d, float[8] e, float[8,8,1,1] p, float[8] f,
 float[8,8] m, float[8] n, int64[2] axes = {{2, 3}}>
{{ c = Conv <pads = [1, 1, 1, 1]> (x, w, b) r = Relu (c)
   k = Conv <group = 8, pads = [1, 1, 1, 1], strides = [2, 2]> (r, d, e) q = Relu (k)
   z = Conv (q, p, f) s = Add (z, q) a = ReduceMean <keepdims = 0> (s, axes)
   y = Gemm <transB = 1> (a, m, n) }}"""
COUNT = 32


def correlated(shape: tuple[int, ...], seed: int) -> Array:
    """Numbers that hang together along axis 1, and are not centred."""
    rng = np.random.default_rng(seed)
    few = rng.standard_normal((*shape[:1], 3, *shape[2:]))
    mixed = np.tensordot(few, np.random.default_rng(7).standard_normal((3, shape[1])), (1, 0))
    return (np.moveaxis(mixed, -1, 1) + 0.5 + 0.1 * rng.standard_normal(shape)).astype(np.float32)


def opened(model: ir.Model) -> Runner:
    """A session on one thread."""
    return ort.Session(model, ort.Options(threads=1))


def recovery(subject: Make, text: str, *, every: str = "int8", shape: tuple[int, ...]) -> Recovery:
    """A uniform plan of a graph, with samples that fit it."""
    feeds = tuple({"x": correlated(shape, seed)} for seed in range(COUNT))
    bench = subject(text, samples=feeds)
    samples = [Sample(each) for each in feeds]
    plan = bench.plan(y=every) if every == "int4" else bench.plan(every=every)
    return Recovery(bench.writer, plan, samples, opened)


def narrowed(asked: Recovery) -> Recovery:
    """The same plan with 3-bit integers, where rounding matters."""
    writer, plan = asked.writer, asked.plan
    layers = find_layers(writer.model, writer.slots, plan, writer.write(plan))
    constants = {name: array for layer in layers for name, array in narrow(layer, 3).items()}
    return replace(asked, writer=writer.recovered(constants))


def held(model: ir.Model, name: str) -> Array:
    """An initialiser."""
    tensor = model.graph.initializers[name].const_value
    assert tensor is not None
    return tensor.numpy()


def mean(model: ir.Model, feeds: Sequence[Feeds]) -> Array:
    """The mean of what the Gemm itself writes, before its output is rounded."""
    (tensor,) = [node.outputs[0].name for node in model.graph if node.op_type == "Gemm"]
    run = observer(model, [str(tensor)], lambda m: ort.Session(m, ort.Options(optimise=False)))
    made: Array = np.mean([run(sample)[str(tensor)].mean(0) for sample in feeds], axis=0)
    return made


def test_bias_correction_restores_the_mean(subject: Make) -> None:
    asked = narrowed(recovery(subject, LINEAR, shape=(8, 24)))
    found = asked.run(BIAS)
    graphs = [w.write(asked.plan) for w in (asked.writer, asked.writer.recovered(found.constants))]
    own = [asked.samples[i].feeds for i in range(COUNT) if i % 4 != 1]
    exact, before, after = (mean(graph, own) for graph in (asked.writer.model, *graphs))
    half = held(graphs[0], "y__raw__q8__scale") / 2  # the bias is an integer, too
    assert np.abs(before - exact).max() > 10 * half.max()
    assert (np.abs(after - exact) <= half + 1e-5).all()
    assert found.after < found.before


CASES = {
    "int8": (LINEAR, "int8", (8, 24)),
    "int4": (LINEAR, "int4", (8, 24)),
    "convs": (DEEP, "int8", (1, 4, 8, 8)),
}


@pytest.mark.parametrize(("text", "every", "shape"), CASES.values(), ids=CASES)
def test_recovered_constants_are_in_the_graph_and_better(
    subject: Make, text: str, every: str, shape: tuple[int, ...]
) -> None:
    asked = recovery(subject, text, every=every, shape=shape)
    asked = asked if every == "int4" else narrowed(asked)
    found = asked.run()
    assert found.constants
    assert found.after < found.before
    written = asked.writer.recovered(found.constants).write(asked.plan)
    for name, array in found.constants.items():
        assert np.array_equal(held(written, name), array)
        assert held(written, name).dtype == array.dtype
    assert all(layer.after <= layer.before for layer in found.layers)
    assert error(asked, found, seeds=range(100, 116)) < error(asked, None, seeds=range(100, 116))


def error(asked: Recovery, found: Recovered | None, *, seeds: range) -> float:
    """Squared error on samples that the recovery has never seen."""
    writer = asked.writer.recovered(found.constants if found else {})
    exact, real = opened(asked.writer.model), opened(writer.write(asked.plan))
    shape = asked.samples[0].feeds["x"].shape
    fresh = [{"x": correlated(shape, seed)} for seed in seeds]
    return float(np.mean([(exact(f)["y"] - real(f)["y"]) ** 2 for f in fresh]))


def test_the_same_samples_give_the_same_constants(subject: Make) -> None:
    asked = narrowed(recovery(subject, DEEP, shape=(1, 4, 8, 8)))
    first, second = asked.run().constants, asked.run().constants
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_constants_that_fit_only_their_own_samples_are_not_kept(subject: Make) -> None:
    asked = recovery(subject, LINEAR, shape=(8, 24))
    feeds = [{"x": correlated((8, 24), seed)} for seed in range(COUNT)]
    for index, each in enumerate(feeds):
        if index % 4 != 1:  # fitted to: nothing like what judges
            each["x"] = np.where(each["x"] > 0, 100, -1).astype(np.float32)
    found = replace(asked, samples=[Sample(each) for each in feeds]).run()
    assert not found.constants
    assert found.after == found.before


def test_a_pattern_of_zeros_stays(subject: Make) -> None:
    asked = narrowed(recovery(subject, LINEAR, shape=(8, 24)))
    choice = NodeChoice(Precision.INT8, sparsity=Sparsity.TWO_FOUR)
    plan = Plan.of((name, choice) for name, _ in asked.plan.choices)
    asked = replace(asked, plan=plan)
    writer = asked.writer
    (layer,) = find_layers(writer.model, writer.slots, plan, writer.write(plan))
    found = asked.run()
    zeros = layer.like == 0
    assert zeros.any()
    assert (found.constants[layer.weight][zeros] == 0).all()


def test_rounding_and_bias_can_be_had_alone(subject: Make) -> None:
    asked = narrowed(recovery(subject, LINEAR, shape=(8, 24)))
    assert set(asked.run(BIAS).constants) == {"y__raw__q8"}
    rounded = asked.run(Effort(bias=False))
    written = asked.writer.write(asked.plan)
    assert np.array_equal(
        rounded.constants.get("y__raw__q8", held(written, "y__raw__q8")),
        held(written, "y__raw__q8"),
    )
    assert "y__q8" in rounded.constants


def test_one_sample_is_too_few(subject: Make) -> None:
    asked = recovery(subject, LINEAR, shape=(8, 24))
    with pytest.raises(InputError, match="1 samples"):
        replace(asked, samples=[asked.samples[0]]).run()


def test_a_plan_without_integers_has_nothing_to_recover(subject: Make) -> None:
    found = recovery(subject, LINEAR, every="fp32", shape=(8, 24)).run()
    assert not found.constants
    assert not found.layers
