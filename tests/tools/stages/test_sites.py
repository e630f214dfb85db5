"""Where a graph's structure may change, how far, and that graphs in which it did shrank and run."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hwc.backends.ort import Options, Session
from hwc.toolchain import kernels
from hwc.toolchain.accuracy.samples import Sample
from hwc.toolchain.device import load_profile
from hwc.toolchain.engine import Array
from hwc.toolchain.plan import NodeChoice, Plan, Precision
from hwc.toolchain.structure.groups import ChannelGroup
from hwc.toolchain.structure.importance import Importance, by_weights, ranked
from hwc.toolchain.structure.site import Change
from hwc.tools.request import Method
from hwc.tools.stages.sites import Found, SiteFinder, channel_multiple, levels
from hypothesis import given
from hypothesis import strategies as st

Parse = Callable[[str], onnx.ModelProto]
NET = """<ir_version: 10, opset_import: ["" : 21]> g (float[N,3,8,8] x) => (float[N,4] y)
<float[16,3,3,3] w, float[16] b, float[24,16,1,1] v, float[24] c, float[16,24,1,1] u,
 float[64,16,3,3] s, float[64] d, float[4,64] t>
{ stem = Conv <pads = [1, 1, 1, 1]> (x, w, b)
  inner = Conv (stem, v, c) r = Relu (inner) branch = Conv (r, u) sum = Add (stem, branch)
  last = Conv <pads = [1, 1, 1, 1]> (sum, s, d) q = Relu (last)
  pool = GlobalAveragePool (q) f = Flatten (pool) y = Gemm <transB = 1> (f, t) }"""
LRN = NET.replace("q = Relu (last)", "q = LRN <size = 3> (last)")
METHODS = (Method.PRUNE, Method.LOWRANK)


def group(units: int, *, vanishes: bool = False) -> ChannelGroup:
    return ChannelGroup("conv", units, (), (), vanishes)


def samples(count: int = 8, seed: int = 0) -> list[Sample]:
    rng = np.random.default_rng(seed)
    shape = (count, 2, 3, 8, 8)
    return [Sample({"x": x}) for x in rng.standard_normal(shape).astype(np.float32)]


def built(parse_graph: Parse, text: str) -> ir.Model:
    """A model with shapes, as the graph passes leave it."""
    return ir.from_proto(onnx.shape_inference.infer_shapes(parse_graph(text)))


def by_size(model: ir.Model, groups: Sequence[ChannelGroup]) -> dict[str, Any]:
    return dict(ranked(by_weights(model, groups, Importance.L2)))


def found(model: ir.Model, *methods: Method, multiple: int = 4, fit: bool = False) -> Found:
    """The sites of a model."""
    some = samples()
    finder = SiteFinder(some[0].feeds, multiple, methods, by_size, some if fit else ())
    return finder.find(model)


def plan(sites: Found, **chosen: NodeChoice) -> Plan:
    """Sites as they are, but for some: `channels_stem` for "channels of stem"."""
    other = {name.replace("_", " of ", 1): choice for name, choice in chosen.items()}
    assert other.keys() <= {site.name for site in sites.sites}
    return Plan.of((site.name, other.get(site.name, site.choices[0])) for site in sites.sites)


def run(model: ir.Model, some: Sequence[Sample] | None = None) -> Array:
    session = Session(model, Options(1, optimise=False))
    return np.concatenate([session(sample.feeds)["y"] for sample in some or samples()])


def weight(model: ir.Model, name: str) -> Array:
    tensor = kernels.constant(model.graph.initializers[name])
    assert tensor is not None
    return tensor.numpy()


def shapes(model: ir.Model) -> dict[str, tuple[int, ...]]:
    return {str(name): weight(model, name).shape for name in model.graph.initializers}


@pytest.fixture
def model(parse_graph: Parse) -> ir.Model:
    return built(parse_graph, NET)


@pytest.mark.parametrize(
    ("units", "multiple", "vanishes", "counts"),
    [
        pytest.param(64, 8, False, [64, 48, 32, 16], id="shares"),
        pytest.param(64, 8, True, [64, 48, 32, 16, 0], id="none at all"),
        pytest.param(64, 32, False, [64, 32], id="rounded up to the multiple, each once"),
        pytest.param(20, 8, False, [20, 16, 8], id="rounded up"),
        pytest.param(12, 8, False, [12, 8, 4], id="half the multiple, where units are few"),
        pytest.param(3, 8, False, [3, 2, 1], id="one by one"),
        pytest.param(1, 8, False, [1], id="one unit"),
        pytest.param(1, 8, True, [1, 0], id="one unit, and it may go"),
        pytest.param(40, 0, False, [40, 30, 20, 10], id="no multiple"),
    ],
)
def test_levels(units: int, multiple: int, *, vanishes: bool, counts: list[int]) -> None:
    choices = levels(group(units, vanishes=vanishes), multiple)
    assert [choice.keep for choice in choices] == [count / units for count in counts]
    assert {choice.rank for choice in choices} == {()}


@given(units=st.integers(1, 5000), multiple=st.integers(1, 256), vanishes=st.booleans())
def test_levels_of_any_group(units: int, multiple: int, *, vanishes: bool) -> None:
    """They fall from all units, and each is a whole number of them after rounding."""
    keeps = [choice.keep for choice in levels(group(units, vanishes=vanishes), multiple)]
    counts = [round(keep * units) for keep in keeps]
    assert [count / units for count in counts] == keeps
    assert counts[0] == units
    assert counts == sorted(set(counts), reverse=True)
    assert (counts[-1] == 0) == vanishes


def test_multiples_are_those_of_the_device() -> None:
    orin = load_profile("jetson_orin")
    said = {precision: figure.value for precision, figure in orin.channel_multiple.items()}
    assert said
    for precision in Precision:
        assert channel_multiple(orin, precision) == said.get(precision, 8)


def test_sites_are_those_of_the_methods(model: ir.Model) -> None:
    both = found(model, *METHODS)
    for method, change in zip(METHODS, (Change.CHANNELS, Change.RANK), strict=True):
        own = tuple(site for site in both.sites if site.change is change)
        assert own
        assert [site.name for site in found(model, method).sites] == [site.name for site in own]
    assert {site.name for site in both.sites} >= {
        "channels of stem",
        "channels of inner",
        "channels of last",
    }


def test_a_site_is_what_computes_with_its_channels(model: ir.Model) -> None:
    sites = {site.node: site for site in found(model, Method.PRUNE).sites}
    assert sites["inner"].nodes == {"inner", "r", "branch"}
    assert sites["stem"].nodes == {"stem", "inner", "branch", "sum", "last"}
    assert sites["inner"].choices[-1].keep == 0.0  # the branch may go, the stem may not
    assert sites["stem"].choices[-1].keep > 0.0


def test_no_method_no_ranking(model: ir.Model) -> None:
    def asked(*_: object) -> dict[str, Any]:
        raise AssertionError

    finder = SiteFinder(samples(1)[0].feeds, 4, (Method.LOWRANK,), asked)
    assert finder.find(model).sites


def test_what_is_not_understood_is_named(parse_graph: Parse) -> None:
    sites = found(built(parse_graph, LRN), Method.PRUNE)
    assert sites.skipped == {"q": "LRN is not understood"}
    assert "channels of last" not in {site.name for site in sites.sites}


def test_the_plan_that_changes_nothing(model: ir.Model) -> None:
    sites = found(model, *METHODS, fit=True)
    written = sites.writer.write(plan(sites))
    assert np.array_equal(run(written), run(model))
    assert written is not model
    written.graph.initializers["w"].const_value = ir.tensor(np.zeros((16, 3, 3, 3), np.float32))
    assert run(model).any()


def test_channels_that_go_are_the_least_and_shapes_shrink(model: ir.Model) -> None:
    for name, axis in (("s", 0), ("d", 0), ("t", 1)):  # every second channel of the last conv
        array = np.array(weight(model, name))
        array[(slice(None),) * axis + (slice(None, None, 2),)] *= 0.01
        model.graph.initializers[name].const_value = ir.tensor(array, name=name)
    sites = found(model, Method.PRUNE)
    written = sites.writer.write(plan(sites, channels_last=NodeChoice(keep=0.5)))
    assert shapes(written) == {**shapes(model), "s": (32, 16, 3, 3), "d": (32,), "t": (4, 32)}
    assert np.array_equal(weight(written, "s"), weight(model, "s")[1::2])
    assert np.array_equal(weight(written, "t"), weight(model, "t")[:, 1::2])
    np.testing.assert_allclose(run(written), run(model), atol=1e-2)
    assert shapes(model)["s"] == (64, 16, 3, 3)


def test_channels_of_a_sum_go_on_both_sides(model: ir.Model) -> None:
    sites = found(model, Method.PRUNE)
    written = sites.writer.write(plan(sites, channels_stem=NodeChoice(keep=0.25)))
    small = shapes(written)
    assert (small["w"][0], small["v"][1], small["u"][0], small["s"][1]) == (4, 4, 4, 4)
    assert run(written).shape == run(model).shape


def test_a_branch_that_vanishes_is_gone(model: ir.Model) -> None:
    sites = found(model, Method.PRUNE)
    written = sites.writer.write(plan(sites, channels_inner=NodeChoice(keep=0.0)))
    assert not {"inner", "branch"} & {node.name for node in written.graph}
    zeros = model.clone()
    zeros.graph.initializers["u"].const_value = ir.tensor(np.zeros((16, 24, 1, 1), np.float32))
    np.testing.assert_allclose(run(written), run(zeros), rtol=1e-5, atol=1e-6)


def test_what_is_left_is_fitted_to_what_goes(model: ir.Model) -> None:
    """On samples that it was not fitted to."""
    fresh = samples(seed=1)
    wanted, losses = run(model, fresh), []
    for fit in (False, True):
        sites = found(model, Method.PRUNE, fit=fit)
        written = sites.writer.write(plan(sites, channels_last=NodeChoice(keep=0.5)))
        losses.append(np.square(run(written, fresh) - wanted).mean())
    assert losses[1] < 0.5 * losses[0]


def test_every_choice_of_every_site_runs(model: ir.Model) -> None:
    sites = found(model, *METHODS, fit=True)
    whole = sum(map(np.prod, shapes(model).values()))
    for site in sites.sites:
        for choice in site.choices[1:]:
            chosen = {site.name.replace(" of ", "_", 1): choice}
            written = sites.writer.write(plan(sites, **chosen))
            assert sum(map(np.prod, shapes(written).values())) < whole, (site.name, choice)
            assert np.isfinite(run(written)).all()


def test_a_rank_above_what_pruning_left_is_that_which_is_left(model: ir.Model) -> None:
    """Full rank loses nothing."""
    sites = found(model, *METHODS)
    few, rank = NodeChoice(keep=0.0625), NodeChoice(rank=(64, 16), factors="tucker")
    written = sites.writer.write(plan(sites, channels_last=few, rank_last=rank))
    only = sites.writer.write(plan(sites, channels_last=few))
    assert shapes(written)["s/factor0"] == (4, 16, 3, 3)  # the core, of the ranks that are left
    np.testing.assert_allclose(run(written), run(only), rtol=1e-4, atol=1e-5)
