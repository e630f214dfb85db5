"""Channels in another order: no output changes, whatever the group's members are."""

from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hwc.backends.ort import Options, Session
from hwc.backends.trt import TensorRT
from hwc.passes import pipeline
from hwc.passes.permute import for_two_four, permute
from hwc.toolchain import kernels
from hwc.toolchain.device import load_profile
from hwc.toolchain.errors import InputError
from hwc.toolchain.observe import annotate
from hwc.toolchain.sparse.channels import best_orders
from hwc.toolchain.sparse.nodes import has_sparse_kernel, reduction
from hwc.toolchain.sparse.pattern import Floats, two_four
from hwc.toolchain.sparse.permute import Order, retained
from hwc.toolchain.structure.find_groups import find_groups
from hwc.toolchain.structure.groups import ChannelGroup, Member, Role

MODELS = Path(__file__).resolve().parents[2].parent / "shared" / "bench" / "dev" / "models"
HEAD = '<ir_version: 10, opset_import: ["" : 21]>'
WRITES, READS = Role.WRITES, Role.READS
CHAIN = """g (float[2,3,6,6] x) => (float[2,4,4,4] y, float[2,4,4,4] z)
    <float[8,3,1,1] w, float[8] b, float[8,1,3,3] d, float[4,8,1,1] v, float[4,8,1,1] u>
    { a = Conv(x, w, b) r = Relu(a) m = Conv<group = 8>(r, d)
      y = Conv(m, v) z = Conv(m, u) }"""
SHARED = """g (float[2,4] x) => (float[2,8] y) <float[4,8] w, float[8] b, float[8,8] v>
    { h = Gemm(x, w, b) k = Gemm(h, v, b) y = Relu(k) }"""
FLAT = """g (float[2,3,2,2] x) => (float[2,5] y) <float[8,3,1,1] w, float[32,5] v>
    { a = Conv(x, w) f = Flatten(a) y = MatMul(f, v) }"""
Made = Callable[..., Any]


def lying(units: int, width: int = 1, start: int = 0) -> Order:
    """Units one after the other."""
    return start + np.arange(units * width).reshape(units, width)


def group_of(*members: tuple[str, str, int, Role, Order]) -> ChannelGroup:
    made = tuple(Member(name, axis, at, role, node) for node, name, axis, role, at in members)
    return ChannelGroup("g", len(made[0].indices), made, ())


GROUPS = {
    "a depthwise conv between, and two readers": (
        CHAIN,
        group_of(
            ("a", "w", 0, WRITES, lying(8)),
            ("a", "b", 0, WRITES, lying(8)),
            ("m", "d", 0, WRITES, lying(8)),
            ("y", "v", 1, READS, lying(8)),
            ("z", "u", 1, READS, lying(8)),
        ),
    ),
    "a bias that others read, too": (
        SHARED,
        group_of(
            ("h", "w", 1, WRITES, lying(8)),
            ("h", "b", 0, WRITES, lying(8)),
            ("k", "v", 0, READS, lying(8)),
        ),
    ),
    "channels that are flattened": (
        FLAT,
        group_of(("a", "w", 0, WRITES, lying(8)), ("y", "v", 0, READS, lying(8, 4))),
    ),
}


def weight(model: ir.Model, name: str) -> Floats:
    """Magnitudes of a 1x1 convolution; shape (outputs, inputs)."""
    tensor = model.graph.initializers[name].const_value
    assert tensor is not None
    magnitudes: Floats = np.abs(tensor.numpy()[..., 0, 0])
    return magnitudes


def unoptimised(model: ir.Model) -> Session:
    """Runs a graph as it is written."""
    return Session(model, Options(1, optimise=False))


def outputs(model: ir.Model, bench: Any) -> list[np.ndarray]:  # noqa: ANN401 - the workbench
    session = unoptimised(model)
    return [array for feeds in bench.samples for array in session(feeds).values()]


@pytest.mark.parametrize("name", GROUPS)
def test_no_output_changes(name: str, subject: Made) -> None:
    text, group = GROUPS[name]
    bench = subject(HEAD + text)
    order = np.random.default_rng(0).permutation(8)
    before = ir.to_proto(bench.model).SerializeToString(deterministic=True)
    moved = permute(bench.model, [group], {"g": order})
    assert ir.to_proto(bench.model).SerializeToString(deterministic=True) == before
    for old, new in zip(outputs(bench.model, bench), outputs(moved, bench), strict=True):
        np.testing.assert_allclose(new, old, rtol=1e-5, atol=1e-6)
    first = group.members[0].constant
    made = (m.graph.initializers[first].const_value for m in (bench.model, moved))
    old, new = (tensor.numpy() for tensor in made if tensor is not None)
    axis = group.members[0].axis
    assert np.array_equal(new, np.take(old, order, axis))
    assert not np.array_equal(new, old)


RESIDUAL = """g (float[1,3,8,8] x) => (float[1,10] y)
    <float[16,3,3,3] w0, float[16] b0, float[16,16,3,3] w1, float[16] b1, float[16,16,3,3] w2,
    float[16] b2, float[10,16] w3, float[10] b3>
    { a = Conv<pads = [1,1,1,1]>(x, w0, b0) r = Relu(a)
      c = Conv<pads = [1,1,1,1]>(r, w1, b1) d = Relu(c)
      e = Conv<pads = [1,1,1,1]>(d, w2, b2) s = Add(e, r) t = Relu(s)
      p = GlobalAveragePool(t) f = Flatten(p) y = Gemm<transB = 1>(f, w3, b3) }"""
FORWARD = """g (float[2,6,16] x) => (float[2,6,16] y)
    <float[16,32] w, float[32] b, float[32,16] v, float[16] c, float[16] s, float[16] t>
    { h = MatMul(x, w) i = Add(h, b) k = Gelu(i) m = MatMul(k, v) n = Add(m, c) o = Add(n, x)
      y = LayerNormalization<axis = -1>(o, s, t) }"""


@pytest.mark.parametrize("text", [RESIDUAL, FORWARD], ids=["residual block", "feed-forward"])
def test_more_is_kept_of_a_network_that_does_the_same(text: str, subject: Made) -> None:
    bench = subject(HEAD + text)
    model = annotate(bench.model, unoptimised, bench.samples[0])
    moved = for_two_four(model)
    for old, new in zip(outputs(model, bench), outputs(moved, bench), strict=True):
        np.testing.assert_allclose(new, old, rtol=1e-4, atol=1e-5)
    assert kept(moved) > kept(model)


@pytest.mark.parametrize("name", ["resnet20_cifar10", "tinyvit_cifar10"])
def test_more_is_kept_of_a_model_that_does_the_same(name: str) -> None:
    path = MODELS / f"{name}.onnx"
    if not path.is_file():
        pytest.skip(f"no model {path}")
    model = ir.load(path)
    model.graph.inputs[0].shape = ir.Shape([1, 3, 32, 32])
    pipeline.run(model, TensorRT().dialect(load_profile("a100")))
    groups = find_groups(model).groups
    moved = permute(model, groups, best_orders(model, groups, escapes=2))
    x = np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)
    feeds = {str(model.graph.inputs[0].name): x}
    old, new = (unoptimised(m)(feeds) for m in (model, moved))
    for output, array in old.items():
        np.testing.assert_allclose(new[output], array, rtol=1e-3, atol=1e-4)
    assert kept(moved) > kept(model)


def kept(model: ir.Model) -> float:
    """The magnitude that 2:4 keeps, in all weights that sparse kernels can read."""
    total = 0.0
    for node in model.graph:
        if has_sparse_kernel(node, 4):
            tensor, axis = kernels.constant(node.inputs[1]), reduction(node)
            assert tensor is not None
            assert axis is not None
            array = np.abs(tensor.numpy())
            total += float(array[two_four(array, axis)].sum(dtype=np.float64))
    return total


def test_a_writer_that_is_left_out_changes_the_function(subject: Made) -> None:
    """The test above can fail."""
    text, group = GROUPS["channels that are flattened"]
    bench = subject(HEAD + text)
    half = ChannelGroup("g", 8, group.members[:1], ())
    moved = permute(bench.model, [half], {"g": np.arange(8)[::-1]})
    pairs = zip(outputs(bench.model, bench), outputs(moved, bench), strict=True)
    assert not all(np.allclose(old, new, atol=1e-3) for old, new in pairs)


def test_the_order_is_the_best_of_all_readers_together(subject: Made) -> None:
    text, group = GROUPS["a depthwise conv between, and two readers"]
    bench = subject(HEAD + text)
    rng = np.random.default_rng(3)
    for name in ("v", "u"):
        loud = np.array([9, 9, 9, 9, 1, 1, 1, 1])[None, :, None, None]  # four beside each other
        array = (rng.standard_normal((4, 8, 1, 1)) * loud).astype(np.float32)
        bench.model.graph.initializers[name].const_value = ir.tensor(array, name=name)
    orders = best_orders(bench.model, [group])
    moved = permute(bench.model, [group], orders)
    before, after = (
        np.concatenate([weight(m, n) for n in ("v", "u")]) for m in (bench.model, moved)
    )
    every = [
        np.array([*p, *(c for c in range(8) if c not in p)]) for p in combinations(range(8), 4)
    ]
    best = max(retained(before, order) for order in every)
    assert retained(before) < retained(after) == pytest.approx(best)


@pytest.mark.parametrize(
    "name", ["channels that are flattened", "a depthwise conv between, and two readers"]
)
def test_only_readers_in_groups_of_four_have_a_say(name: str, subject: Made) -> None:
    text, group = GROUPS[name]
    bench = subject(HEAD + text)
    aside = [
        Member(m.constant, m.axis, m.indices + 2, m.role, m.node)
        for m in group.members
        if m.role is READS
    ]
    assert best_orders(bench.model, [ChannelGroup("g", 8, tuple(aside), ())]) == {}


@pytest.mark.parametrize(
    ("name", "order"),
    [("g", np.arange(7)), ("g", np.zeros(8, int)), ("other", np.arange(8))],
    ids=["too few", "not each once", "no such group"],
)
def test_what_is_no_order(name: str, order: Order, subject: Made) -> None:
    text, group = GROUPS["channels that are flattened"]
    with pytest.raises(InputError, match=name):
        permute(subject(HEAD + text).model, [group], {name: order})
