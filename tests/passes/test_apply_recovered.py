"""Constants that are fixed before a plan is written are really in the graph."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx_ir as ir
from onnx import numpy_helper

if TYPE_CHECKING:
    from hwc.passes.apply import PlanWriter
    from hwc.tests.conftest import Subject

Make = Callable[..., "Subject"]

GRAPH = """<ir_version: 10, opset_import: ["" : 21]>
g (float[2,8] x) => (float[2,4] y) <float[8,6] w, float[6] b, float[6,4] v>
{ h = Gemm (x, w, b) r = Relu (h) y = MatMul (r, v) }"""


def constants(written: onnx.ModelProto) -> dict[str, np.ndarray]:
    """The initialisers by name."""
    return {t.name: numpy_helper.to_array(t) for t in written.graph.initializer}


def written(bench: "Subject", writer: "PlanWriter", every: str = "int8") -> dict[str, np.ndarray]:
    """The initialisers of a uniform plan's graph."""
    return constants(ir.to_proto(writer.write(bench.plan(every=every))))


def test_a_recovered_constant_replaces_the_rounded_one(subject: Make) -> None:
    bench = subject(GRAPH)
    before = written(bench, bench.writer)
    fixed = {"h__q8": np.full((8, 6), 3, np.int8), "h__raw__q8": np.arange(6, dtype=np.int32)}
    after = written(bench, bench.writer.recovered(fixed))
    assert {name for name in after if not np.array_equal(after[name], before[name])} == set(fixed)
    for name, array in fixed.items():
        assert np.array_equal(after[name], array)
    assert np.array_equal(written(bench, bench.writer)["h__q8"], before["h__q8"])


def test_constants_add_up_and_reach_parts(subject: Make) -> None:
    bench = subject(GRAPH)
    first, second = np.full((8, 6), 1, np.int8), np.full((6, 4), 2, np.int8)
    writer = bench.writer.recovered({"h__q8": first}).recovered({"y__q8": second})
    after = written(bench, writer.within(bench.model, bench.slots))
    assert np.array_equal(after["h__q8"], first)
    assert np.array_equal(after["y__q8"], second)


def test_a_plan_without_the_constant_ignores_it(subject: Make) -> None:
    bench = subject(GRAPH)
    writer = bench.writer.recovered({"h__q8": np.zeros((8, 6), np.int8)})
    assert "h__q8" not in written(bench, writer, every="fp32")
