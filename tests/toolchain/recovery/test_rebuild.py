"""Blocks are fitted to what really comes in, and only what is better on other samples is kept."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
import pytest
from hwc.backends import ort
from hwc.toolchain.accuracy.samples import Sample, each
from hwc.toolchain.engine import Array, Runner
from hwc.toolchain.errors import InputError
from hwc.toolchain.plan import Sparsity
from hwc.toolchain.recovery import rebuild
from hwc.toolchain.recovery.blocks import find_blocks
from hwc.toolchain.recovery.layers import find_layers
from hwc.toolchain.recovery.narrow import narrow
from hwc.toolchain.recovery.rebuild import Rebuilder, Rebuilt
from hwc.toolchain.recovery.recover import Effort, Recovery

if TYPE_CHECKING:
    from hwc.tests.conftest import Subject

Make = Callable[..., "Subject"]
TEXT = """<ir_version: 10, opset_import: ["" : 21]> g (float[1,4,8,8] x) => (float[1,6] y)
<float[8,4,3,3] w, float[8] b, float[8,8,3,3] v, float[8] d, float[8,8,3,3] t, float[8] e,
 float[8,6] u, float[6] f, int64[2] axes = {2, 3}>
{ a = Conv <pads = [1, 1, 1, 1]> (x, w, b) r = Relu (a)
  c = Conv <pads = [1, 1, 1, 1]> (r, v, d) q = Relu (c)
  k = Conv <pads = [1, 1, 1, 1]> (q, t, e) s = Add (k, r) o = Relu (s)
  m = ReduceMean <keepdims = 0> (o, axes) y = Gemm (m, u, f) }"""
COUNT, FITTED = 32, 24


def sample(seed: int) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    mixed = np.einsum("kxy,ck->cxy", rng.standard_normal((3, 8, 8)), MIX)
    return {"x": mixed[None].astype(np.float32)}


MIX = np.random.default_rng(9).standard_normal((4, 3))


def opened(model: ir.Model) -> Runner:
    return ort.Session(model, ort.Options(threads=1))


@pytest.fixture
def fine(subject: Make) -> Recovery:
    """A residual network in 8 bits."""
    feeds = tuple(sample(seed) for seed in range(COUNT))
    bench = subject(TEXT, samples=feeds)
    plan = bench.plan(every="int8")
    return Recovery(bench.writer, plan, [Sample(one) for one in feeds], opened)


@pytest.fixture
def asked(fine: Recovery) -> Recovery:
    """The same in 3 bits."""
    writer, plan = fine.writer, fine.plan
    layers = find_layers(writer.model, writer.slots, plan, writer.write(plan))
    constants = {name: array for layer in layers for name, array in narrow(layer, 3).items()}
    return replace(fine, writer=writer.recovered(constants))


def rebuilt(asked: Recovery, updates: int) -> tuple[list[Rebuilt], ir.Model]:
    """Every block, and the written graph as it then is."""
    model, written = asked.writer.model, asked.writer.write(asked.plan)
    layers = find_layers(model, asked.writer.slots, asked.plan, written)
    blocks = find_blocks(model, written, layers)
    feeds = [one.feeds for one in each(asked.samples)]
    rebuilder = Rebuilder(model, written, opened, updates)
    return list(rebuilder.run(blocks, feeds, FITTED)), written


def test_blocks_leave_less_together(asked: Recovery) -> None:
    found, written = rebuilt(asked, 100)
    assert [block.name for block in found] == ["a", "c to k", "y"]
    assert found[1].after < 0.9 * found[1].before
    for block in found:
        assert bool(block.constants) == (block.after < block.before)
        for name, array in block.constants.items():
            tensor = written.graph.initializers[name].const_value
            assert tensor is not None
            assert np.array_equal(tensor.numpy(), array)
    before, after = (
        np.mean([np.square(run(sample(s))["y"] - exact(sample(s))["y"]) for s in range(90, 106)])
        for exact in [opened(asked.writer.model)]
        for run in (opened(asked.writer.write(asked.plan)), opened(written))
    )
    assert after < before


def test_without_updates_nothing_changes(asked: Recovery) -> None:
    found, _ = rebuilt(asked, 0)
    assert all(block.before == block.after and not block.constants for block in found)


def test_blocks_that_are_surely_better_are_taken(asked: Recovery) -> None:
    alone = Effort(rounding=False, bias=False)  # layers are left as they are
    layers, blocks = asked.run(alone), asked.run(replace(alone, updates=200))
    assert (layers.blocks, len(blocks.blocks), blocks.note) == ((), 3, "")
    assert layers.after == layers.before == blocks.before
    assert blocks.after < layers.after


def test_blocks_that_too_few_samples_call_better_are_not_taken(asked: Recovery) -> None:
    layers, blocks = (asked.run(Effort(samples=6, updates=updates)) for updates in (0, 60))
    assert blocks.blocks == ()
    assert blocks.after == layers.after
    assert all(np.array_equal(layers.constants[n], a) for n, a in blocks.constants.items())
    assert "which is not surely better: not taken" in blocks.note


def test_integers_stay_in_range_and_zeros_of_a_pattern_stay(asked: Recovery) -> None:
    model, plan = asked.writer.model, asked.plan
    pattern = {name: replace(choice, sparsity=Sparsity.TWO_FOUR) for name, choice in plan.choices}
    written = asked.writer.write(plan)
    sparse = type(plan).of(pattern.items())
    layers = find_layers(model, asked.writer.slots, sparse, written)
    blocks = find_blocks(model, written, layers)
    before = {layer.weight: layer for layer in layers}
    feeds = [one.feeds for one in each(asked.samples)]
    found = list(Rebuilder(model, written, opened, 60).run(blocks, feeds, FITTED))
    made = {n: a for block in found for n, a in block.constants.items() if n in before}
    assert made
    for name, array in made.items():
        layer = before[name]
        assert layer.grid.low <= array.min() <= array.max() <= layer.grid.high
        assert np.array_equal(array[layer.like == 0], layer.like[layer.like == 0])


def test_what_torch_cannot_run_is_left_as_the_layers_have_it(
    asked: Recovery, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: ir.Model) -> None:
        raise InputError("torch cannot run node 'a'", "")

    alone = asked.run(Effort())
    monkeypatch.setattr(rebuild, "to_torch", refuse)
    found = asked.run(Effort(updates=10))
    assert found.note == "not fitted block by block: torch cannot run node 'a'"
    assert found.after == alone.after
    assert found.constants.keys() == alone.constants.keys()


def test_weights_of_eight_bits_are_left_to_their_layers(fine: Recovery) -> None:
    layers, blocks = fine.run(Effort()), fine.run(Effort(updates=60))
    assert blocks.blocks == ()
    assert blocks.after == layers.after
