"""What the golden cases cannot show: random ops, other dialects, large and overridable weights."""

from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hwc.passes.journal import Entry, Journal, Note, Outcome
from hwc.passes.pipeline import run
from hwc.toolchain.dialect import Dialect
from onnx import numpy_helper

DIALECT = Dialect("test", 13, 21)
GELU = """g (float[N,4] x) => (float[N,4] y)
<float root = {1.4142135}, float one = {1.0}, float half = {0.5}> {
   d = Div (x, root) e = Erf (d) a = Add (one, e) h = Mul (half, x) y = Mul (a, h)
}"""


def model(body: str, opset: int = 18) -> ir.Model:
    text = f'<ir_version: 10, opset_import: ["" : {opset}]>\n{body}'
    return ir.from_proto(onnx.parser.parse_model(text))


def ops(graph: ir.Model) -> list[str]:
    return [node.op_type for node in graph.graph]


@pytest.mark.parametrize("op", ["Bernoulli (x)", "RandomNormalLike (x)", "RandomUniformLike (x)"])
def test_two_draws_are_not_one(op: str) -> None:
    graph = model(f"g (float[N] x) => (float[N] y) {{ a = {op} b = {op} y = Sub (a, b) }}")
    run(graph, DIALECT)
    assert len(ops(graph)) == 3


def test_a_random_constant_is_not_folded() -> None:
    graph = model(
        "g (float[2] x) => (float[2] y) { a = RandomNormal <shape = [2]> () y = Add (x, a) }"
    )
    run(graph, DIALECT)
    assert ops(graph) == ["RandomNormal", "Add"]


@pytest.mark.parametrize(
    ("opset", "ceiling", "wanted", "expected"),
    [
        (20, 21, True, "Gelu"),
        (20, 19, True, "Mul"),
        (18, 21, True, "Mul"),
        (20, 21, False, "Mul"),
    ],
    ids=["wanted", "target too old", "model too old", "not wanted"],
)
def test_gelu_is_one_op_only_where_the_target_wants_it(
    opset: int, ceiling: int, expected: str, *, wanted: bool
) -> None:
    fused = frozenset({"Gelu"} if wanted else ())
    graph = model(GELU, opset)
    journal = run(graph, replace(DIALECT, opset_max=ceiling, fused_activations=fused))
    assert ops(graph)[-1] == expected
    assert (journal.of(Outcome.LEFT) == ()) == (expected == "Gelu")


def test_a_constant_that_a_caller_may_override_is_none() -> None:
    graph = model(
        "g (float[2] x, float[2] k) => (float[2] y) <float[2] k = {0.0, 0.0}> { y = Add (x, k) }"
    )
    run(graph, DIALECT)
    assert ops(graph) == ["Add"]


def test_a_large_shared_weight_is_not_copied() -> None:
    graph = model(
        "g (float[N,600] x, float[N,600] z) => (float[N,600] y, float[N,600] v) "
        "<float k = {2.0}> { c = MatMul (x, w) y = Mul (c, k) v = MatMul (z, w) }".replace(
            "<float k", "<float[600,600] w, float k"
        )
    )
    weight = numpy_helper.from_array(np.eye(600, dtype=np.float32), "w")
    graph = ir.from_proto(_with(ir.to_proto(graph), weight))
    journal = run(graph, DIALECT)
    assert ops(graph) == ["MatMul", "Mul", "MatMul"]
    assert any("w is shared, and a copy adds 1.4 MiB" in line for line in journal.lines())


def _with(proto: onnx.ModelProto, weight: onnx.TensorProto) -> onnx.ModelProto:
    proto.graph.initializer.append(weight)
    return proto


def test_a_function_of_the_model_passes_through() -> None:
    text = """<ir_version: 10, opset_import: ["" : 18, "own" : 1]>
    g (float[N] x) => (float[N] y) { y = own.twice (x) }
    <domain: "own", opset_import: ["" : 18]> twice (a) => (b) { c = Identity (a) b = Add (c, a) }"""
    graph = ir.from_proto(onnx.parser.parse_model(text))
    before = ir.to_proto(graph).functions[0].SerializeToString()
    run(graph, DIALECT)
    assert ir.to_proto(graph).functions[0].SerializeToString() == before


def test_a_batch_norm_in_training_mode_stays() -> None:
    graph = model(
        "g (float[N,1,2,2] x) => (float[N,1,2,2] y) <float[1,1,1,1] w = {2.0}, float[1] k = {1.0}>"
        "{ c = Conv (x, w) y, m, v = BatchNormalization <training_mode = 1> (c, k, k, k, k) }"
    )
    journal = run(graph, DIALECT)
    assert ops(graph) == ["Conv", "BatchNormalization"]
    assert any("it is in training mode" in line for line in journal.lines())


def test_the_journal_says_what_and_why() -> None:
    entries = (
        Entry("fuse", Note("conv", "absorbed bn", Outcome.DONE)),
        Entry("fuse", Note("other", "it is shared", Outcome.KEPT)),
        Entry("see", Note("", "attention", Outcome.LEFT)),
    )
    journal = Journal(entries, before=3, after=2)
    assert list(journal.lines()) == [
        "graph: 3 -> 2 nodes in 1 rewrites",
        "fuse conv: absorbed bn",
        "fuse other: kept: it is shared",
        "see: left to the runtime: attention",
    ]
    assert journal.counts() == {"fuse": 1}
    assert journal.counts(Outcome.KEPT) == {"fuse": 1}
