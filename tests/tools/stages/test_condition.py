"""A rewrite is kept where int8 surely loses less with it, and the graph as it was otherwise."""

from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hwc.toolchain.accuracy.evaluator import Reference
from hwc.toolchain.accuracy.samples import Sample
from hwc.toolchain.dialect import Dialect
from hwc.toolchain.engine import Array
from hwc.toolchain.plan import Precision
from hwc.toolchain.progress import Silent
from hwc.tools.stages.condition import PLAIN, Int8Judge, condition, in_int8
from hwc.tools.stages.decide import reference

SAMPLES = 6
PAIR = """<ir_version: 10, opset_import: ["" : 18]>
g (float[1,8] x) => (float[1,4] y) <float[8,16] w, float[16] b, float[16,4] v>
{ h = Gemm (x, w, b) r = Relu (h) y = MatMul (r, v) }"""
LONE = """<ir_version: 10, opset_import: ["" : 18]>
g (float[1,8] x) => (float[1,4] y) <float[8,4] w> { y = MatMul (x, w) }"""

Parse = Callable[[str], onnx.ModelProto]


@pytest.fixture
def samples() -> list[Sample]:
    rng = np.random.default_rng(2)
    return [Sample({"x": rng.standard_normal((1, 8)).astype(np.float32)}) for _ in range(SAMPLES)]


def graph(parse_graph: Parse, text: str) -> ir.Model:
    return ir.from_proto(onnx.shape_inference.infer_shapes(parse_graph(text)))


def tried(model: ir.Model, samples: list[Sample], judge: Callable[[ir.Model], Array]) -> object:
    return condition(
        model, samples, judge=judge, dialect=Dialect("test", 13, 18), progress=Silent()
    )


def test_the_best_is_kept_where_it_is_surely_better(
    parse_graph: Parse, samples: list[Sample]
) -> None:
    model = graph(parse_graph, PAIR)
    noise = np.random.default_rng(0).standard_normal(SAMPLES) * 1e-3
    judged: list[ir.Model] = []

    def judge(candidate: ir.Model) -> Array:
        judged.append(candidate)
        return noise * len(judged) + (0.5 if len(judged) == 3 else 1.0)

    made = tried(model, samples, judge)
    assert made.model is judged[2]
    assert made.chosen == made.trials[2].name != PLAIN
    assert made.notes
    assert made.trials[2].gain == pytest.approx(0.5, abs=0.01)
    assert 0 < made.trials[2].sure <= made.trials[2].gain


@pytest.mark.parametrize(
    ("loss", "spread"), [(1.5, 0.01), (0.95, 1.0)], ids=["worse", "within noise"]
)
def test_the_plain_graph_stays_otherwise(
    parse_graph: Parse, samples: list[Sample], loss: float, spread: float
) -> None:
    model = graph(parse_graph, PAIR)
    rng = np.random.default_rng(0)

    def judge(candidate: ir.Model) -> Array:
        if candidate is model:
            return np.full(SAMPLES, 1.0)
        return loss + spread * rng.standard_normal(SAMPLES)

    made = tried(model, samples, judge)
    assert made.model is model
    assert made.chosen == PLAIN
    assert len(made.trials) > 1


def test_nothing_is_tried_where_no_pair_is(parse_graph: Parse, samples: list[Sample]) -> None:
    model = graph(parse_graph, LONE)
    made = tried(model, samples, lambda _: np.zeros(SAMPLES))
    assert made.model is model
    assert [trial.name for trial in made.trials] == [PLAIN]


def test_the_judge_sees_what_int8_loses(begin: Callable[..., object]) -> None:
    begun = begin()
    search = begun.prepared.splits.search
    part = Reference.of(reference(begun.prepared.original), search, "search")
    judge = Int8Judge(begun.request, begun.target, begun.prepared, part)
    losses = judge(begun.prepared.model)
    assert losses.shape == (len(search),)
    assert (losses > 0).any()
    plan = in_int8(judge.space(begun.prepared.model).slots).as_dict()
    assert {name: c.precision for name, c in plan.items()}["h"] is Precision.INT8
