"""Outlier channels of activations move into weights: the same function, int8 keeps more of it."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hwc.backends.ort import Options, Session
from hwc.passes.journal import Noted, Outcome
from hwc.passes.smooth import insert_scales, smooth, smoothable, twin_norms
from hwc.toolchain.accuracy.fidelity import fidelity
from hwc.toolchain.calibration import ChannelRanges, collect_channels
from hwc.toolchain.observe import observer
from hwc.toolchain.progress import Silent
from onnx import numpy_helper

RTOL = 2e-5  # of the largest output: weights and shifts are rounded to fp32 once more
OUTLIER = 100.0
GAIN_DB = 10.0
HEAD = '<ir_version: 10, opset_import: ["" : 18]>\n'
PRE_NORM = (
    HEAD
    + """g (float[1,16,64] x) => (float[1,16,64] y)
<float[64] gamma, float[64] beta, float[64,64] q, float[64,64] k>
{ n = LayerNormalization (x, gamma, beta) a = MatMul (n, q) b = MatMul (n, k) y = Add (a, b) }"""
)
POST_NORM = (
    HEAD
    + """g (float[1,16,64] x) => (float[1,16,64] y)
<float[64] gamma, float[64] beta, float[64,64] q>
{ n = LayerNormalization (x, gamma, beta) a = MatMul (n, q) y = Add (n, a) }"""
)
CNN = (
    HEAD
    + """g (float[1,8,8,8] x) => (float[1,8,8,8] y)
<float[64,8,1,1] gamma, float[64] beta, float[8,64,1,1] q>
{ a = Conv (x, gamma, beta) n = Relu (a) y = Conv (n, q) }"""
)

Parse = Callable[[str], onnx.ModelProto]
OnBench = Callable[..., object]


def planted(parse_graph: Parse, text: str) -> ir.Model:
    """A network with one channel that is a hundred times larger than the others."""
    proto = parse_graph(text)
    for stored in proto.graph.initializer:
        if stored.name in {"gamma", "beta"}:
            array = np.array(numpy_helper.to_array(stored))
            array[5] *= OUTLIER
            stored.CopyFrom(numpy_helper.from_array(array, stored.name))
        elif stored.name in {"q", "k"}:
            array = np.array(numpy_helper.to_array(stored))
            where = (slice(None), 5) if array.ndim > 2 else (5,)
            array[where] /= OUTLIER
            stored.CopyFrom(numpy_helper.from_array(array, stored.name))
    return ir.from_proto(onnx.shape_inference.infer_shapes(proto))


def feeds(model: ir.Model, count: int = 4) -> list[dict[str, np.ndarray]]:
    (value,) = model.graph.inputs
    shape = [dim for dim in value.shape or () if isinstance(dim, int)]
    rng = np.random.default_rng(3)
    return [{"x": rng.standard_normal(shape).astype(np.float32)} for _ in range(count)]


def run(model: ir.Model) -> list[dict[str, np.ndarray]]:
    session = Session(model, Options(threads=1, optimise=False))
    return [session(feed) for feed in feeds(model)]


def channels_of(model: ir.Model) -> dict[str, ChannelRanges]:
    tensors = smoothable(model)
    opened = observer(model, list(tensors), lambda m: Session(m, Options(1, optimise=False)))
    samples = feeds(model)
    return collect_channels(opened, lambda: samples, tensors=tensors, progress=Silent())


def smoothed(model: ir.Model, alpha: float | None = None) -> Noted:
    return smooth(model, channels_of(model), opset_max=18, alpha=alpha)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, None])
@pytest.mark.parametrize("text", [PRE_NORM, CNN], ids=["transformer", "cnn"])
def test_the_function_stays(parse_graph: Parse, text: str, alpha: float | None) -> None:
    model = planted(parse_graph, text)
    before = run(model)
    made = smoothed(model, alpha)
    assert made.modified
    for got, expected in zip(run(made.model), before, strict=True):
        bound = RTOL * np.abs(expected["y"]).max()
        np.testing.assert_allclose(got["y"], expected["y"], rtol=0, atol=bound)
    assert all(np.array_equal(a["y"], b["y"]) for a, b in zip(run(model), before, strict=True))


@pytest.mark.parametrize("text", [PRE_NORM, CNN], ids=["transformer", "cnn"])
def test_a_planted_outlier_costs_int8_ten_decibels_less(
    parse_graph: Parse, subject: Callable[..., object], text: str
) -> None:
    model = planted(parse_graph, text)
    plain, better = (int8_db(subject, m, model) for m in (model, smoothed(model).model))
    assert better - plain >= GAIN_DB


def int8_db(subject: Callable[..., object], model: ir.Model, original: ir.Model) -> float:
    """The SQNR of a graph in which all that may run in int8 does."""
    bench = subject(ir.to_proto(model), samples=tuple(feeds(model)))
    written = bench.write(every="int8")  # type: ignore[attr-defined]  # a Subject of conftest
    session = Session(ir.from_proto(written), Options(threads=1))
    return fidelity([session(feed) for feed in feeds(model)], run(original)).sqnr_db


def test_more_alpha_leaves_less_of_the_outlier(parse_graph: Parse) -> None:
    model = planted(parse_graph, PRE_NORM)
    spreads = []
    for alpha in (0.0, 0.25, 0.5, 0.75, 1.0):
        sizes = channels_of(smoothed(model, alpha).model)["n"].magnitude
        spreads.append(sizes.max() / sizes.min())
    assert all(more > less for more, less in pairwise(spreads[1:]))
    assert spreads[-1] == pytest.approx(1.0, abs=1e-3)


def test_notes_name_the_node_and_the_alpha(parse_graph: Parse) -> None:
    (note,) = (n for n in smoothed(planted(parse_graph, PRE_NORM), 0.5).notes)
    assert (note.node, note.outcome) == ("a", Outcome.DONE)
    assert note.text.startswith("64 channels of n smoothed, alpha 0.5: factors ")


def test_a_norm_that_others_read_is_named_until_it_has_a_twin(parse_graph: Parse) -> None:
    model = planted(parse_graph, POST_NORM)
    assert smoothable(model) == {}
    assert {n.outcome for n in smooth(model, {}, opset_max=18).notes} == {Outcome.KEPT}
    twins = twin_norms(model, 18)
    assert [note.node for note in twins.notes] == ["n"]
    assert len(smoothable(twins.model)) == 1
    before = run(model)
    made = smoothed(twins.model)
    assert made.modified
    for got, expected in zip(run(made.model), before, strict=True):
        bound = RTOL * np.abs(expected["y"]).max()
        np.testing.assert_allclose(got["y"], expected["y"], rtol=0, atol=bound)


def test_no_twin_where_only_linear_nodes_read(parse_graph: Parse) -> None:
    assert not twin_norms(planted(parse_graph, PRE_NORM), 18).modified


def test_channels_that_are_alike_are_left_alone(parse_graph: Parse) -> None:
    model = ir.from_proto(parse_graph(PRE_NORM))
    model.graph.initializers["gamma"].const_value = ir.tensor(np.ones(64, np.float32))
    model.graph.initializers["beta"].const_value = ir.tensor(np.zeros(64, np.float32))
    ranges = {"n": ChannelRanges(-np.ones(64), np.ones(64), np.ones(64) / 3)}
    for name in ("q", "k"):
        model.graph.initializers[name].const_value = ir.tensor(np.eye(64, dtype=np.float32))
    made = smooth(model, ranges, opset_max=18)
    assert not made.modified
    assert made.notes[0].text == "no factors are expected to lower the error of 8 bits"


def test_a_tensor_without_ranges_is_named(parse_graph: Parse) -> None:
    made = smooth(planted(parse_graph, PRE_NORM), {}, opset_max=18, alpha=0.5)
    assert not made.modified
    assert made.notes[0].text == "the ranges of its input are not known, or not finite"


def test_a_mul_is_inserted_where_it_earns_its_kernel(parse_graph: Parse) -> None:
    text = PRE_NORM.replace("y = Add (a, b)", "s = Sigmoid (a) e = Mul (s, big) y = MatMul (e, k)")
    text = text.replace("k>", "k, float[1] big>").replace("b = MatMul (n, k) ", "")
    model = planted(parse_graph, text)
    before = run(model)
    scales = insert_scales(model, 18)
    assert [note.node for note in scales.notes] == ["y"]
    (name,) = set(smoothable(scales.model)) - {"n"}
    high = np.ones(64)
    even = {name: ChannelRanges(np.zeros(64), high, high / 3)}
    outlying = {name: even[name].divided(np.where(np.arange(64) == 3, 0.001, 1.0))}
    kept, scaled = (smooth(scales.model, r, opset_max=18, alpha=0.5) for r in (even, outlying))
    assert not kept.modified
    assert [n.node for n in scaled.notes if n.outcome is Outcome.DONE] == ["y"]
    for got, expected in zip(run(scaled.model), before, strict=True):
        bound = RTOL * np.abs(expected["y"]).max()
        np.testing.assert_allclose(got["y"], expected["y"], rtol=0, atol=bound)
