"""A walk gives what one run gives, and runs every node once."""

from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
from hwc.backends import ort
from hwc.toolchain.engine import Feeds, Runner
from hwc.toolchain.observe import observer
from hwc.toolchain.recovery.walk import Walk

GRAPH = """<ir_version: 10, opset_import: ["" : 21]>
g (float[2,4] x, float[2,4] z) => (float[2,4] y) <float[4,4] w, float[4,4] v>
{ a = MatMul (x, w) b = Relu (a) c = MatMul (b, v) d = Add (c, x) k = Neg (v) e = MatMul (d, k)
  y = Add (e, z) }"""


def test_stops_are_those_of_one_run(parse_graph: Callable[[str], onnx.ModelProto]) -> None:
    model = ir.from_proto(parse_graph(GRAPH))
    rng = np.random.default_rng(0)
    feeds = [{n: rng.standard_normal((2, 4)).astype(np.float32) for n in "xz"} for _ in range(2)]
    ran: list[str] = []

    def opened(stretch: ir.Model) -> Runner:
        ran.extend(str(node.outputs[0].name) for node in stretch.graph)
        session = ort.Session(stretch, ort.Options(threads=1))

        def run(feeds: Feeds) -> dict[str, np.ndarray]:
            assert set(feeds) == {str(value.name) for value in stretch.graph.inputs}
            return session(feeds)

        return run

    walk = Walk(model, feeds, ["x", "a", "b", "b", "d", "y"], opened)
    whole = [observer(model, list("abcde"), ort.Session)(sample) for sample in feeds]
    for stop in ["x", "a", "b", "b", "d", "y"]:
        for got, expected in zip(walk.to(stop), whole, strict=True):
            assert np.allclose(got, expected[stop], atol=1e-5), stop
    assert sorted(ran) == sorted("abcdkey")


def test_constants_ahead_may_change(parse_graph: Callable[[str], onnx.ModelProto]) -> None:
    model = ir.from_proto(parse_graph(GRAPH))
    feeds = [{n: np.ones((2, 4), np.float32) for n in "xz"}]
    walk = Walk(model, feeds, ["b", "c"], ort.Session)
    b = walk.to("b")[0]
    model.graph.initializers["v"].const_value = ir.tensor(np.eye(4, dtype=np.float32), name="v")
    assert np.allclose(walk.to("c")[0], b)
