"""Which tensors share a factor a channel, which cannot, and that moving one changes nothing."""

from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hwc.backends.ort import Options, Session
from hwc.passes.edit import Editor
from hwc.passes.find_links import find_links
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

HEAD = '<ir_version: 10, opset_import: ["" : 18]>\n'
RTOL = 2e-5  # of the largest output: two roundings of each weight to fp32
CHANNELS = 6

CNN = (
    HEAD
    + """g (float[1,3,8,8] x) => (float[1,4,4,4] y)
<float[6,3,3,3] w1, float[6] b1, float[6,1,3,3] w2, float[6] b2, float[4,6,1,1] w3, float[6] slope>
{ a = Conv <pads = [1,1,1,1]> (x, w1, b1) r = PRelu (a, s)
  c = Conv <group = 6, pads = [1,1,1,1]> (r, w2, b2) d = Relu (c)
  m = MaxPool <kernel_shape = [2,2], strides = [2,2]> (d) y = Conv (m, w3) }"""
).replace("float[6] slope", "float[6,1,1] s")
RESIDUAL = (
    HEAD
    + """g (float[1,3,8,8] x) => (float[1,4,8,8] y)
<float[6,3,1,1] w1, float[6] b1, float[6,6,1,1] w2, float[4,6,1,1] w3>
{ a = Conv (x, w1, b1) c = Conv (a, w2) s = Add (a, c) r = Relu (s) y = Conv (r, w3) }"""
)
ENCODER = (
    HEAD
    + """g (float[1,5,6] x) => (float[1,5,4] y)
<float[6] g1, float[6] c1, float[6,4] q, float[6,4] k, float[4] qb, float[4,4] v>
{ n = LayerNormalization (x, g1, c1) a = MatMul (n, q) a1 = Add (a, qb) b = MatMul (n, k)
  m = Mul (a1, b) y = MatMul (m, v) }"""
)
SCALED = (
    HEAD
    + """g (float[1,5,6] x) => (float[1,5,4] y) <float[6] g1, float[5,6] p, float[6,4] q>
{ s = Mul (x, g1) t = Add (s, p) u = Sub (p, t) r = Relu (u) y = MatMul (r, q) }"""
)
GEMM = (
    HEAD
    + """g (float[2,5] x) => (float[2,4] y) <float[6,5] w1, float[6] b1, float[6,4] w2, float[4] b2>
{ h = Gemm <transB = 1, alpha = 0.5, beta = 2.0> (x, w1, b1) r = LeakyRelu (h)
  y = Gemm (r, w2, b2) }"""
)

Parse = Callable[[str], onnx.ModelProto]


def filled(parse_graph: Parse, text: str) -> ir.Model:
    return ir.from_proto(onnx.shape_inference.infer_shapes(parse_graph(text)))


@pytest.mark.parametrize(
    ("text", "readers"),
    [
        (CNN, [1, 1]),
        (RESIDUAL, [2]),
        (ENCODER, [2]),
        (SCALED, [1]),
        (GEMM, [1]),
    ],
    ids=["cnn", "residual", "encoder", "constants", "gemm"],
)
@given(logs=st.lists(st.floats(-5, 5), min_size=CHANNELS, max_size=CHANNELS))
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_moving_factors_changes_no_output(
    parse_graph: Parse, text: str, readers: list[int], logs: list[float]
) -> None:
    model = filled(parse_graph, text)
    before = run(model)
    links = find_links(model).links
    assert [len(link.readers) for link in links] == readers
    tensor = links[0].tensors[0]
    seen = run(model, tensor)
    for link in links:
        link.rescale(np.exp2(logs), Editor(model, 18))
    after = run(model)
    np.testing.assert_allclose(after, before, rtol=0, atol=RTOL * np.abs(before).max())
    shape = [1] * seen.ndim
    shape[links[0].axis] = CHANNELS
    expected = seen / np.exp2(logs).reshape(shape)
    np.testing.assert_allclose(run(model, tensor), expected, rtol=1e-4, atol=1e-5)


def run(model: ir.Model, tensor: str = "") -> np.ndarray:
    """The output, or an inner tensor."""
    copy = model.clone()
    if tensor:
        value = next(out for node in copy.graph for out in node.outputs if out.name == tensor)
        copy.graph.outputs.insert(0, value)
    (given_input,) = copy.graph.inputs
    shape = [dim if isinstance(dim, int) else 1 for dim in given_input.shape or ()]
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    outputs = Session(copy, Options(threads=1, optimise=False))({str(given_input.name): x})
    return next(iter(outputs.values()))


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (
            "{ a = Conv (x, w) r = Relu (a) y = Conv (r, v) s = Sigmoid (r) z = Neg (s) }",
            "Sigmoid s does not keep the scale of a channel",
        ),
        (
            "{ a = Conv (x, w) r = Clip (a, zero, six) y = Conv (r, v) z = Neg (y) }",
            "Clip r cuts all channels at the same number",
        ),
        ("{ a = Conv (x, w) z = Relu (a) y = Conv (z, v) }", "z is an output of the graph"),
        (
            "{ a = Conv (x, w) r = Relu (a) y = Conv (r, v) b = Conv (x, w) z = Neg (b) }",
            "Conv a: its weight is shared",
        ),
        (
            "{ a = Conv (x, w) h = HardSwish (a) y = Conv (h, v) z = Neg (y) }",
            "HardSwish h does not keep the scale of a channel",
        ),
        (
            "{ a = Conv (x, w) b = Relu (a) h = PRelu (a, b) y = Conv (h, v) z = Neg (y) }",
            "PRelu h does not keep the scale of a channel",
        ),
        (
            "{ a = Conv (x, w) f = Shape (a) g = Reshape (a, f) y = Conv (g, v) z = Neg (y) }",
            "Reshape g does not keep the scale of a channel",
        ),
    ],
    ids=[
        "fan-out",
        "relu6",
        "output",
        "shared weight",
        "not homogeneous",
        "computed slope",
        "reshape",
    ],
)
def test_what_cannot_be_scaled_is_named(parse_graph: Parse, body: str, why: str) -> None:
    head = """g (float[1,3,4,4] x) => (float[1,4,4,4] y, float z)
<float[6,3,1,1] w, float[4,6,1,1] v, float zero = {0.0}, float six = {6.0}>\n"""
    found = find_links(filled(parse_graph, HEAD + head + body))
    assert not found.links
    assert why in {note.text for note in found.skipped}
