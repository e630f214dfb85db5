"""Cross-layer equalisation: weights of equal size, the same function, nothing without a pair."""

from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
from hwc.backends.ort import Options, Session
from hwc.passes.equalize import equalize
from hwc.passes.find_links import find_links
from hwc.passes.journal import Outcome

RTOL = 2e-5  # of the largest output: every sweep rounds the weights to fp32

Parse = Callable[[str], onnx.ModelProto]
CNN = """<ir_version: 10, opset_import: ["" : 18]>
g (float[1,3,8,8] x) => (float[1,4,8,8] y)
<float[6,3,1,1] w1, float[6] b1, float[6,1,3,3] w2, float[6] b2, float[4,6,1,1] w3>
{ a = Conv (x, w1, b1) r = Relu (a) c = Conv <group = 6, pads = [1,1,1,1]> (r, w2, b2)
  d = Relu (c) y = Conv (d, w3) }"""
LONE = """<ir_version: 10, opset_import: ["" : 18]>
g (float[1,3,8,8] x) => (float[1,4,8,8] y) <float[6,3,1,1] w1, float[4,6,1,1] w3>
{ a = Conv (x, w1) s = Sigmoid (a) y = Conv (s, w3) }"""


def unbalanced(parse_graph: Parse) -> ir.Model:
    """A network whose channels differ in size by a factor of a thousand."""
    model = ir.from_proto(onnx.shape_inference.infer_shapes(parse_graph(CNN)))
    weight = model.graph.initializers["w1"]
    factors = np.geomspace(0.03, 30, 6).astype(np.float32).reshape(6, 1, 1, 1)
    assert weight.const_value is not None
    weight.const_value = ir.tensor(weight.const_value.numpy() * factors)
    return model


def run(model: ir.Model) -> np.ndarray:
    x = np.random.default_rng(1).standard_normal((1, 3, 8, 8)).astype(np.float32)
    return Session(model, Options(threads=1, optimise=False))({"x": x})["y"]


def test_what_is_written_and_what_is_read_have_weights_of_equal_size(parse_graph: Parse) -> None:
    model = unbalanced(parse_graph)
    made = equalize(model, 18)
    for link in find_links(made.model).links:
        written = link.written_magnitude()
        assert written is not None
        ratio = written / link.read_magnitude()
        np.testing.assert_allclose(ratio, ratio[0], rtol=0.05)


def test_the_function_stays_and_so_does_the_model_that_was_given(parse_graph: Parse) -> None:
    model = unbalanced(parse_graph)
    before = run(model)
    made = equalize(model, 18)
    np.testing.assert_allclose(run(made.model), before, rtol=0, atol=RTOL * np.abs(before).max())
    assert np.array_equal(run(model), before)


def test_notes_name_the_nodes_and_the_range_of_factors(parse_graph: Parse) -> None:
    notes = [n for n in equalize(unbalanced(parse_graph), 18).notes if n.outcome is Outcome.DONE]
    assert [note.node for note in notes] == ["c", "y"]
    assert notes[0].text.startswith("6 channels of a equalised: factors ")


def test_a_dead_channel_is_left_alone(parse_graph: Parse) -> None:
    model = unbalanced(parse_graph)
    weight = model.graph.initializers["w1"]
    assert weight.const_value is not None
    weight.const_value = ir.tensor(
        weight.const_value.numpy() * np.float32([[[[0]]]] + [[[[1]]]] * 5)
    )
    before = run(model)
    after = run(equalize(model, 18).model)
    np.testing.assert_allclose(after, before, rtol=0, atol=RTOL * np.abs(before).max())


def test_a_graph_without_pairs_is_as_before(parse_graph: Parse) -> None:
    model = ir.from_proto(parse_graph(LONE))
    made = equalize(model, 18)
    assert not made.modified
    assert ir.to_proto(made.model) == ir.to_proto(model)
