"""Factors as choices: where they pay, what they cost, and what becomes of pruned nodes."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hwc.passes.factorize import sites
from hwc.toolchain.accuracy.samples import Sample
from hwc.toolchain.engine import Array
from hwc.toolchain.lowrank.factors import Factorisation, Ranks
from hwc.toolchain.lowrank.methods import Decomposition, factorise
from hwc.toolchain.plan import NodeChoice
from hwc.toolchain.structure.moments import moments_of
from hwc.toolchain.structure.site import owner
from hwc.tools.stages import low_rank as stage
from hwc.tools.stages.decide import reference
from hwc.tools.stages.low_rank import LowRank, matrices

Parse = Callable[[str], onnx.ModelProto]
HEAD = '<ir_version: 10, opset_import: ["" : 18]> g '
MLP = """(float[N,64] x) => (float[N,48] y) <float[64,96] w, float[96] b, float[96,48] v>
{ a = Gemm (x, w, b) r = Relu (a) y = MatMul (r, v) }"""
CONV = """(float[N,32,8,8] x) => (float[N,4,8,8] y) <float[32,32,3,3] w, float[4,32,1,1] v>
{ a = Conv <pads = [1,1,1,1]> (x, w) y = Conv (a, v) }"""


def built(parse_graph: Parse, text: str) -> ir.Model:
    proto = parse_graph(HEAD + text)
    rng = np.random.default_rng(0)
    for tensor in proto.graph.initializer:
        array = rng.standard_normal(tuple(tensor.dims)).astype(np.float32) / 8
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    return ir.from_proto(onnx.shape_inference.infer_shapes(proto))


def anisotropic(count: int = 128) -> list[Sample]:
    """Inputs of which a few directions hold nearly all."""
    rng = np.random.default_rng(1)
    scale = np.geomspace(1.0, 1e-2, 64)
    mixed = np.linalg.qr(rng.standard_normal((64, 64)))[0]
    rows = rng.standard_normal((count, 64)) * scale @ mixed
    return [Sample({"x": row[None].astype(np.float32)}) for row in rows]


def output(model: ir.Model, samples: list[Sample]) -> Array:
    run = reference(model)
    return np.concatenate([run(sample.feeds)["y"] for sample in samples]).astype(np.float64)


@pytest.mark.parametrize("multiple", [1, 8])
@pytest.mark.parametrize("text", [MLP, CONV], ids=["mlp", "conv"])
def test_choices_save_multiply_accumulates(parse_graph: Parse, text: str, multiple: int) -> None:
    model = built(parse_graph, text)
    choices = LowRank(multiple).choices(model)
    assert "a" in choices
    found = sites(model).sites
    for name, offered in choices.items():
        assert offered[0] == NodeChoice()
        assert len(set(offered)) == len(offered) > 1
        for choice in offered[1:]:
            made = sites(LowRank(multiple).write(model, {name: choice}), least=0).sites
            parts = [part for node, part in made.items() if owner(node) == name]
            assert len(parts) > 1
            assert sum(part.whole.macs for part in parts) < found[name].whole.macs


def test_ranks_of_the_first_method_fall(parse_graph: Parse) -> None:
    ranks = [choice.rank for choice in LowRank(1).choices(built(parse_graph, MLP))["a"][1:]]
    assert all(more > less for more, less in pairwise(ranks))


def test_a_weight_too_small_is_offered_nothing(parse_graph: Parse) -> None:
    small = MLP.replace("96", "8").replace("48", "6")
    assert LowRank(1).choices(built(parse_graph, small)) == {}


def test_ranks_are_clipped_to_what_pruning_left(parse_graph: Parse) -> None:
    smaller = built(parse_graph, MLP.replace("96", "8"))
    written = LowRank(1).write(smaller, {"a": NodeChoice(rank=(24,), factors="svd")})
    samples = anisotropic(4)
    assert output(written, samples) == pytest.approx(output(smaller, samples), abs=1e-4)
    shapes = {tuple(part.weight().shape) for part in sites(written, least=0).sites.values()}
    assert (8, 64) in shapes  # rank 8, not 24


def test_a_node_that_is_gone_is_left_out(parse_graph: Parse) -> None:
    model = built(parse_graph, MLP)
    choice = NodeChoice(rank=(8,), factors="svd")
    written = LowRank(1).write(model, {"gone": choice, "a": choice})
    assert {owner(str(node.name)) for node in written.graph} == {
        "a",
        *(str(node.name) for node in model.graph),
    }
    assert len(written.graph) == len(model.graph) + 1


def test_factors_that_know_the_inputs_lose_less(parse_graph: Parse) -> None:
    model, samples = built(parse_graph, MLP), anisotropic()
    moments = moments_of(model, (), samples, reference, also=matrices(model))
    choice = {"a": NodeChoice(rank=(16,), factors="svd")}
    fresh = anisotropic(256)[128:]
    whole = output(model, fresh)
    plain, aware = (
        float(((output(LowRank(1).write(model, choice, known), fresh) - whole) ** 2).mean())
        for known in (None, moments)
    )
    assert aware < plain / 4


def test_factors_of_other_inputs_are_not_taken_for_these(parse_graph: Parse) -> None:
    model, samples = built(parse_graph, MLP), anisotropic()
    moments = moments_of(model, (), samples, reference, also=matrices(model))
    choice = {"a": NodeChoice(rank=(16,), factors="svd")}
    low_rank = LowRank(1)
    low_rank.write(model, choice)
    after = output(low_rank.write(model, choice, moments), samples)
    assert after == pytest.approx(output(LowRank(1).write(model, choice, moments), samples))


def test_factors_are_worked_out_once(parse_graph: Parse, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Ranks] = []

    def counted(whole: Decomposition, ranks: Ranks, *, node: str) -> Factorisation:
        made.append(ranks)
        return factorise(whole, ranks, node=node)

    monkeypatch.setattr(stage, "factorise", counted)
    model, low_rank = built(parse_graph, MLP), LowRank(1)
    for rank in (8, 16, 8):
        low_rank.write(model, {"a": NodeChoice(rank=(rank,), factors="svd")})
    assert made == [(8,), (16,)]


@pytest.mark.parametrize("method", ["svd", "tucker", "cp", "spatial", "hierarchical"])
def test_every_factor_has_its_owner(parse_graph: Parse, method: str) -> None:
    model = built(parse_graph, MLP if method == "svd" else CONV)
    ranks = {"svd": (8,), "tucker": (8, 8), "cp": (8,), "spatial": (8,)}
    rank = ranks.get(method, (4, 4, 4, 4))
    if method == "hierarchical":
        offered = LowRank(1).choices(model)["a"]
        rank = next(choice.rank for choice in offered if choice.factors == method)
    before = {str(node.name) for node in model.graph}
    written = LowRank(1).write(model, {"a": NodeChoice(rank=rank, factors=method)})
    names = {str(node.name) for node in written.graph}
    assert len(names) > len(before)
    assert {owner(name) for name in names} == before


@pytest.mark.parametrize(
    ("name", "node"),
    [
        ("/conv", "/conv"),
        ("/conv/factor0", "/conv"),
        ("/conv/branch1/factor0_1", "/conv"),
        ("/conv/add2_10", "/conv"),
        ("/factory/factor", "/factory/factor"),
        ("/block/add", "/block/add"),
    ],
)
def test_owners_by_name(name: str, node: str) -> None:
    assert owner(name) == node
