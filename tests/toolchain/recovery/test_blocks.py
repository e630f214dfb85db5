"""Blocks end where one tensor is all that goes on, and hold the layers between."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hwc.toolchain.recovery.blocks import Block, find_blocks
from hwc.toolchain.recovery.layers import find_layers

if TYPE_CHECKING:
    from hwc.tests.conftest import Subject

Make = Callable[..., "Subject"]
HEAD = '<ir_version: 10, opset_import: ["" : 21]> g (float[1,8,4,4] x) =>'
WEIGHTS = "<{}>".format(
    ", ".join(f"float[8,8,1,1] {name}" for name in ("u", "v", "w", "t", "s")),
)
CHAIN = f"""{HEAD} (float[1,8,4,4] y) {WEIGHTS}
{{ a = Conv (x, u) b = Relu (a) c = Conv (b, v) d = Conv (c, w) e = Conv (d, t) y = Relu (e) }}"""
RESIDUAL = f"""{HEAD} (float[1,8,4,4] y) {WEIGHTS}
{{ a = Conv (x, u) b = Relu (a)
   c = Conv (b, v) d = Relu (c) e = Conv (d, w) f = Add (e, b) g = Relu (f)
   h = Conv (g, t) y = Conv (h, s) }}"""
TWO_ENDS = f"""{HEAD} (float[1,8,4,4] y, float[1,8,4,4] z) {WEIGHTS}
{{ a = Conv (x, u) y = Conv (a, v) b = Conv (a, w) z = Conv (b, t) }}"""


def found(subject: Make, text: str) -> Sequence[Block]:
    """The blocks of a graph, all of it int8."""
    shape = (1, 8, 4, 4)
    feeds = tuple(
        {"x": np.random.default_rng(seed).standard_normal(shape).astype(np.float32)}
        for seed in range(2)
    )
    bench = subject(text, samples=feeds)
    plan = bench.plan(every="int8")
    written = bench.writer.write(plan)
    layers = find_layers(bench.writer.model, bench.writer.slots, plan, written)
    blocks = find_blocks(bench.writer.model, written, layers)
    names = {str(value.name) for node in written.graph for value in node.outputs} | {"x"}
    assert {source for block in blocks for source in block.sources.values()} <= names
    return blocks


CASES = {
    "runs of single layers": (CHAIN, [("x", "d", 3), ("d", "y", 1)]),
    "residuals": (RESIDUAL, [("x", "b", 1), ("b", "g", 2), ("g", "y", 2)]),
    "two outputs": (TWO_ENDS, [("x", "a", 1)]),
}


@pytest.mark.parametrize(("text", "expected"), CASES.values(), ids=CASES)
def test_a_block_is_between_tensors_that_all_that_follows_depends_on(
    subject: Make, text: str, expected: list[tuple[str, str, int]]
) -> None:
    blocks = found(subject, text)
    assert [(*b.inputs, b.output, len(b.layers)) for b in blocks] == expected


def test_a_name_says_where_it_begins_and_ends(subject: Make) -> None:
    first, second, _ = found(subject, RESIDUAL)
    assert first.name == first.layers[0].name
    assert second.name == f"{second.layers[0].name} to {second.layers[1].name}"
