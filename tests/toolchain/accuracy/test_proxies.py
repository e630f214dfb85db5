"""Noise that is worked out from weights and histograms is the noise that a run shows."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hwc.backends.ort import Options, Session
from hwc.toolchain.accuracy.perturbation import Rounding
from hwc.toolchain.accuracy.proxies import noise, propagated, sqnr_db
from hwc.toolchain.plan import Precision

HEAD = '<ir_version: 9, opset_import: ["" : 21]>'
GRAPHS = {
    "gemm": """g (float[64,96] x) => (float[64,48] y) <float[96,48] w, float[48] b>
        { y = Gemm(x, w, b) }""",
    "matmul": "g (float[64,96] x) => (float[64,48] y) <float[96,48] w> { y = MatMul(x, w) }",
    "conv": """g (float[2,16,20,20] x) => (float[2,24,18,18] y) <float[24,16,3,3] w>
        { y = Conv(x, w) }""",
    "conv and relu": """g (float[2,16,20,20] x) => (float[2,24,18,18] y) <float[24,16,3,3] w>
        { c = Conv(x, w) y = Relu(c) }""",
    "depthwise": """g (float[2,16,20,20] x) => (float[2,16,18,18] y) <float[16,1,3,3] w>
        { y = Conv<group = 16>(x, w) }""",
    "add": "g (float[64,96] x, float[64,96] z) => (float[64,96] y) { y = Add(x, z) }",
    "mul": "g (float[64,96] x, float[64,96] z) => (float[64,96] y) { y = Mul(x, z) }",
    "average": """g (float[4,16,20,20] x) => (float[4,16,1,1] y) { y = GlobalAveragePool(x) }""",
}
CASES = [
    *((name, Precision.INT8) for name in GRAPHS),
    ("gemm", Precision.INT4),
    ("matmul", Precision.INT4),
]
Made = Callable[..., Any]


def measured(bench: Any, precision: Precision) -> float:  # noqa: ANN401 - the workbench
    """Noise over signal of the output when all slots run in a precision."""
    reference = Session(bench.model, Options(1, optimise=False))
    written = bench.writer.write(bench.plan(every=precision.value))
    # the optimiser would run 4-bit weights on activations of 8 bits, which is no rounding of ours
    run = Session(written, Options(1, optimise=False))
    pairs = [(reference(f)["y"], run(f)["y"]) for f in bench.samples]
    exact, got = (np.concatenate(arrays).astype(np.float64) for arrays in zip(*pairs, strict=True))
    return float(((got - exact) ** 2).mean() / exact.var())


def column(rounding: Rounding, row: int, precision: Precision) -> int:
    """Where a slot has a precision."""
    choices = rounding.graph.slots[row].choices
    return [choice.precision for choice in choices].index(precision)


@pytest.mark.parametrize(("name", "precision"), CASES, ids=[f"{n} {p}" for n, p in CASES])
def test_the_noise_of_one_slot(
    name: str, precision: Precision, subject: Made, rounding: Callable[[Any], Rounding]
) -> None:
    """Predicted and measured noise agree within 20 %."""
    bench = subject(HEAD + GRAPHS[name])
    made = rounding(bench)
    found = noise(made)[0, column(made, 0, precision)]
    assert found == pytest.approx(measured(bench, precision), rel=0.2)


def test_numbers_with_a_mean(subject: Made, rounding: Callable[[Any], Rounding]) -> None:
    """A weight's error times a mean adds up over the depth; it is no independent noise."""
    rng = np.random.default_rng(3)
    feeds = tuple({"x": rng.uniform(2, 3, (64, 96)).astype(np.float32)} for _ in range(4))
    bench = subject(HEAD + GRAPHS["matmul"], samples=feeds)
    made = rounding(bench)
    exact = Session(bench.model, Options(1, optimise=False))
    total = np.concatenate([exact(f)["y"] for f in feeds]).var()
    delta = next(c for c in made.perturbations() if c.column == column(made, 0, Precision.INT4))
    error = np.concatenate([f["x"] @ delta.constants["w"] for f in feeds])
    found = noise(made)[0, column(made, 0, Precision.INT4)]
    assert found == pytest.approx((error**2).mean() / total, rel=0.1)


def test_fewer_bits_are_noisier(subject: Made, rounding: Callable[[Any], Rounding]) -> None:
    """A matrix product in fp16, bf16, int8 and int4."""
    made = rounding(subject(HEAD + GRAPHS["gemm"], "a100"))
    row = noise(made)[0]
    order = [Precision.FP32, Precision.FP16, Precision.BF16, Precision.INT8, Precision.INT4]
    figures = [row[column(made, 0, precision)] for precision in order]
    assert figures == sorted(figures)
    assert len(set(figures)) == len(order)
    # relative to int8, a step of int4 is about 16 times as large; blocks of 32 take some of it back
    assert 40 < figures[4] / figures[3] < 400
    assert sqnr_db(noise(made))[0, 0] == np.inf
    assert 30 < sqnr_db(noise(made))[0, column(made, 0, Precision.INT8)] < 50


RESIDUAL = """g (float[4,16,20,20] x) => (float[4,16,20,20] y)
    <float[16,16,1,1] w1, float[16,16,1,1] w2, float[16,16,1,1] w3>
    { a = Conv(x, w1) r = Conv(a, w2) s = Add(a, r) m = Reshape(s, keep) y = Conv(m, w3) }"""


def test_gains(subject: Made, rounding: Callable[[Any], Rounding], parse_graph: Made) -> None:
    """A branch counts by its share of the sum that it ends in; moving numbers costs nothing."""
    text = RESIDUAL.replace("m = Reshape(s, keep)", "m = Transpose<perm = [0,1,3,2]>(s)")
    proto = parse_graph(HEAD + text)
    weight = next(tensor for tensor in proto.graph.initializer if tensor.name == "w2")
    half = np.frombuffer(weight.raw_data, np.float32) * 0.5
    weight.raw_data = half.astype(np.float32).tobytes()
    made = rounding(subject(proto))
    local, whole = noise(made), propagated(made)
    names = [slot.name for slot in made.graph.slots]
    gains = {name: whole[i, 1] / local[i, 1] for i, name in enumerate(names) if local[i, 1] > 0}
    assert gains["y"] == 1
    assert gains["s"] == pytest.approx(1)
    assert gains["r"] == pytest.approx(0.2, abs=0.05)  # a quarter of the other branch's power
    assert gains["a"] == pytest.approx(1.0, abs=0.05)  # by itself, and through the branch
    assert local[names.index("m"), 1] == whole[names.index("m"), 1] == 0


def test_a_closed_relu_passes_no_noise(subject: Made, rounding: Callable[[Any], Rounding]) -> None:
    """Half of a sum of noise and signal is cut off with the half that is negative."""
    text = """g (float[4,16,20,20] x, float[4,16,20,20] z) => (float[4,16,20,20] y)
        <float[16,16,1,1] w, float[16,16,1,1] v>
        { a = Conv(x, w) s = Add(a, z) r = Relu(s) y = Conv(r, v) }"""
    made = rounding(subject(HEAD + text))
    local, whole = noise(made)[:, 1], propagated(made)[:, 1]
    moments = made.activations.moments
    expected = 0.5 * moments["a"].variance / moments["r"].variance
    assert whole[0] / local[0] == pytest.approx(expected, rel=0.03)


def test_the_shape_of_a_table(subject: Made, rounding: Callable[[Any], Rounding]) -> None:
    made = rounding(subject(HEAD + RESIDUAL.replace("Reshape(s, keep)", "Sigmoid(s)"), "x86"))
    table = noise(made)
    slots = made.graph.slots
    assert table.shape == (len(slots), max(len(slot.choices) for slot in slots))
    assert (table[:, 0] == 0).all()
    for row, slot in zip(table, slots, strict=True):
        assert np.isfinite(row[: len(slot.choices)]).all()
        assert np.isnan(row[len(slot.choices) :]).all()
