"""A cut saves what is asked, loses as little as any that does, and says what could not be cut."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hwc.backends.ort import Options, Session
from hwc.toolchain import kernels
from hwc.toolchain.accuracy.evaluator import Reference
from hwc.toolchain.accuracy.losses import Distance
from hwc.toolchain.accuracy.samples import Sample
from hwc.toolchain.engine import Array
from hwc.toolchain.origin import Origin
from hwc.toolchain.plan import NodeChoice, Plan
from hwc.toolchain.progress import Silent
from hwc.toolchain.search.problem import Objective
from hwc.toolchain.structure.groups import ChannelGroup
from hwc.toolchain.structure.importance import Importance, by_weights, ranked
from hwc.toolchain.structure.site import Bill, Part
from hwc.tools.request import Method, Request
from hwc.tools.stages.cut import TRIES, Cut, Cutter, Reach
from hwc.tools.stages.sites import SiteFinder

Parse = Callable[[str], onnx.ModelProto]
NET = """<ir_version: 10, opset_import: ["" : 21]> g (float[N,3,8,8] x) => (float[N,4] y)
<float[16,3,3,3] w, float[16] b, float[32,16,3,3] v, float[32] d, float[4,32] u>
{ first = Conv <pads = [1, 1, 1, 1]> (x, w, b) r = Relu (first)
  second = Conv <pads = [1, 1, 1, 1]> (r, v, d) q = Relu (second)
  pool = GlobalAveragePool (q) f = Flatten (pool) y = Gemm <transB = 1> (f, u) }"""
LRN = NET.replace("q = Relu (second)", "q = LRN <size = 3> (second)")
ALONE = """<ir_version: 10, opset_import: ["" : 21]> g (float[N,3,8,8] x) => (float[N,4,8,8] y)
<float[4,3,1,1] w> { y = Conv (x, w) }"""
DEAD = 16  # channels of the second convolution that give nothing


def built(parse_graph: Parse, text: str) -> ir.Model:
    """A model with shapes, half of whose second convolution gives nothing."""
    proto = parse_graph(text)
    for tensor in proto.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor).copy()
        if tensor.name in {"v", "d"}:
            array[:DEAD] = 0.0
        if tensor.name == "u":
            array[:, :DEAD] = 0.0
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    return ir.from_proto(onnx.shape_inference.infer_shapes(proto))


def by_size(model: ir.Model, groups: Sequence[ChannelGroup]) -> Mapping[str, Any]:
    return ranked(by_weights(model, groups, Importance.L2))


def bill(model: ir.Model) -> Bill:
    """A microsecond for each hundred weights, and one for each kernel."""
    parts = []
    for node in model.graph:
        tensors = [kernels.constant(value) for value in node.inputs]
        count = sum(tensor.size for tensor in tensors if tensor is not None)
        parts.append(Part(frozenset({str(node.name)}), 1.0 + count / 100, count))
    return Bill(tuple(parts), 5.0, Origin.MEASURED)


@dataclass(frozen=True)
class Bench:
    """A model, and what cuts it."""

    model: ir.Model
    cutter: Cutter
    samples: list[Sample]

    def cut(self, share: float, figure: Objective = Objective.LATENCY) -> Cut | None:
        """The cut to a share of a figure."""
        now = self.cutter.biller.bill(self.model)
        return self.cutter.cut(self.model, now, figure=figure, share=share)

    def error(self, model: ir.Model) -> float:
        """Mean square distance of its outputs from the original's."""
        return float(
            np.square(outputs(model, self.samples) - outputs(self.model, self.samples)).mean()
        )


def outputs(model: ir.Model, samples: Sequence[Sample]) -> Array:
    session = Session(model, Options(1, optimise=False))
    return np.concatenate([session(sample.feeds)["y"] for sample in samples])


def bench(model: ir.Model, price: Callable[[ir.Model], Bill] = bill, **asked: object) -> Bench:
    rng = np.random.default_rng(0)
    samples = [Sample({"x": x}) for x in rng.standard_normal((8, 1, 3, 8, 8)).astype(np.float32)]
    methods = asked.pop("methods", (Method.PRUNE,))
    asked = {"effort": 0, "strategy": "exact", "threads": 1, **asked}
    request = Request("m", data="d", methods=methods, **asked)  # type: ignore[arg-type] # any
    reference = Reference.of(Session(model, Options(1, optimise=False)), samples, "search")
    finder = SiteFinder(samples[0].feeds, 4, request.methods, by_size)
    biller: Any = SimpleNamespace(bill=price)
    loss = Distance.of(reference.outputs)
    return Bench(model, Cutter(request, finder, biller, reference, loss, Silent()), samples)


def plans(made: Bench) -> list[Plan]:
    """Every plan of the sites."""
    sites = made.cutter.finder.find(made.model).sites
    return [
        Plan.of((site.name, choice) for site, choice in zip(sites, chosen, strict=True))
        for chosen in itertools.product(*(site.choices for site in sites))
    ]


@pytest.fixture
def model(parse_graph: Parse) -> ir.Model:
    return built(parse_graph, NET)


@pytest.mark.parametrize("share", [0.9, 0.8, 0.65])
def test_what_gives_nothing_goes_first(model: ir.Model, share: float) -> None:
    made = bench(model)
    cut = made.cut(share)
    assert cut is not None
    assert cut.choices.keys() == {"second"}
    assert cut.choices["second"].keep >= DEAD / 32
    assert cut.loss < 1e-9
    assert made.error(cut.model) < 1e-9
    assert bill(cut.model).us == cut.bill.us <= share * bill(model).us


@pytest.mark.parametrize("share", [0.5, 0.4, 0.3])
def test_no_other_cut_that_saves_as_much_loses_less(model: ir.Model, share: float) -> None:
    """A search that has the evaluations to try them all."""
    made = bench(model, effort=1, strategy="local")
    cut = made.cut(share)
    assert cut is not None
    writer = made.cutter.finder.find(model).writer
    others = [writer.write(plan) for plan in plans(made)]
    assert len(others) == 16
    as_small = [other for other in others if bill(other).us <= cut.bill.us]
    assert made.error(cut.model) == pytest.approx(min(map(made.error, as_small)))
    assert cut.loss > 0


@pytest.mark.parametrize("share", [0.9, 0.6, 0.4, 0.25])
def test_at_least_half_of_what_is_asked_is_saved(model: ir.Model, share: float) -> None:
    """Sites that share a kernel save less together than one by one: such a cut is tried again."""
    cut = bench(model).cut(share)
    assert cut is not None
    assert cut.bill.us <= (1 + share) / 2 * bill(model).us


def test_the_size_is_another_figure(model: ir.Model) -> None:
    def alike(of: ir.Model) -> Bill:
        parts = tuple(Part(part.nodes, 1.0, part.weights) for part in bill(of).parts)
        return Bill(parts, 0.0, Origin.MEASURED)

    made = bench(model, alike)
    assert made.cut(0.6) is None  # no time is saved by anything
    cut = made.cut(0.6, Objective.SIZE)
    assert cut is not None
    assert cut.bill.weights <= 0.6 * bill(model).weights


def test_a_cut_that_saves_nothing_once_it_is_made_is_none(model: ir.Model) -> None:
    """Both sites at once are as slow as none."""
    whole = bill(model)

    def apart(of: ir.Model) -> Bill:
        shapes = {name: value.shape for name, value in of.graph.initializers.items()}
        both = shapes["w"] != (16, 3, 3, 3) and shapes["u"] != (4, 32)
        return whole if both else bill(of)

    assert bench(model, apart).cut(0.3) is None
    assert bench(model, apart).cut(0.7) is not None


def test_a_cut_that_saves_too_little_is_tried_again_and_harder(model: ir.Model) -> None:
    """One by one, sites promise more than they save together, but for the smallest graph."""
    written: list[tuple[float, float]] = []

    def together(of: ir.Model) -> Bill:
        shapes = {name: kernels.dims(value) for name, value in of.graph.initializers.items()}
        kept = shapes["w"][0] / 16, shapes["u"][1] / 32
        written.append(kept)
        saved = [60 * (1 - keep) for keep in kept]
        both = sum(saved) if max(kept) == 0.25 else min(saved) / 2
        us = 100 - (both if max(kept) < 1 else sum(saved))
        return Bill((Part(frozenset({"second"}), us, 1),), 0.0, Origin.MEASURED)

    cut = bench(model, together).cut(0.5)
    assert cut is not None
    assert {node: choice.keep for node, choice in cut.choices.items()} == dict.fromkeys(
        ("first", "second"), 0.25
    )
    tries = [kept for kept in written if max(kept) < 1]
    assert len(tries) == TRIES
    assert tries[-1] == (0.25, 0.25)


def test_more_than_all_kernels_take_cannot_be_saved(model: ir.Model) -> None:
    def mostly_fixed(of: ir.Model) -> Bill:
        return replace(bill(of), fixed_us=1000.0)

    assert bench(model, mostly_fixed).cut(0.9) is None


def test_nothing_to_cut(parse_graph: Parse) -> None:
    made = bench(built(parse_graph, ALONE))
    assert made.cut(0.9) is None
    assert made.cutter.notes == ()


def test_what_cannot_be_cut_is_noted(parse_graph: Parse) -> None:
    made = bench(built(parse_graph, LRN))
    cut = made.cut(0.8)
    assert cut is not None
    assert cut.choices.keys() == {"first"}
    assert made.cutter.notes == ("not cut: q: LRN is not understood",)


def test_a_search_is_no_worse_than_the_plan_it_begins_with(model: ir.Model) -> None:
    plain = bench(model).cut(0.4)
    found = bench(model, effort=1, strategy="local").cut(0.4)
    assert plain is not None
    assert found is not None
    assert found.loss <= plain.loss


def test_one_node_may_lose_channels_and_rank(model: ir.Model) -> None:
    made = bench(model, methods=(Method.PRUNE, Method.LOWRANK))
    cut = made.cut(0.2)
    assert cut is not None
    assert 0 < cut.choices["second"].keep < 1
    assert cut.choices["second"].rank
    assert cut.choices["second"].factors
    assert np.isfinite(outputs(cut.model, made.samples)).all()
    assert "v/factor0" in cut.model.graph.initializers


def test_the_model_that_was_given_stays(model: ir.Model) -> None:
    before = ir.to_proto(model).SerializeToString()
    assert bench(model).cut(0.5) is not None
    assert ir.to_proto(model).SerializeToString() == before


RESIDUAL = """<ir_version: 10, opset_import: ["" : 21]> g (float[N,3,8,8] x) => (float[N,4] y)
<float[16,3,3,3] w, float[16] b, float[16,16,3,3] v, float[16] d, float[16,16,3,3] t, float[4,16] u>
{ stem = Conv <pads = [1, 1, 1, 1]> (x, w, b) r = Relu (stem)
  inner = Conv <pads = [1, 1, 1, 1]> (r, v, d) q = Relu (inner)
  outer = Conv <pads = [1, 1, 1, 1]> (q, t) sum = Add (outer, r)
  pool = GlobalAveragePool (sum) f = Flatten (pool) y = Gemm <transB = 1> (f, u) }"""


def test_only_whole_branches_go_where_nothing_else_may(parse_graph: Parse) -> None:
    made = bench(ir.from_proto(onnx.shape_inference.infer_shapes(parse_graph(RESIDUAL))))
    now = bill(made.model)
    sites = made.cutter.finder.find(made.model).sites
    assert {site.node: len(site.choices) for site in sites} == {"stem": 4, "inner": 5}
    cut = made.cutter.cut(
        made.model, now, figure=Objective.LATENCY, share=0.9, reach=Reach.BRANCHES
    )
    assert cut is not None
    assert cut.choices == {"inner": NodeChoice(keep=0.0)}
    assert [node.op_type for node in cut.model.graph].count("Conv") == 1


def test_without_branches_none_can_go(model: ir.Model) -> None:
    made = bench(model)
    assert (
        made.cutter.cut(
            model, bill(model), figure=Objective.LATENCY, share=0.9, reach=Reach.BRANCHES
        )
        is None
    )
