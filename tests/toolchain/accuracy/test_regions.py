"""What is written of a part of the graph is what the whole has there, whatever the plan."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from hwc.toolchain.accuracy.cuts import Cuts
from hwc.toolchain.accuracy.regions import Outline, Regions
from hwc.toolchain.accuracy.sections import section_of
from hwc.toolchain.dialect import Dialect
from hwc.toolchain.plan import Plan, Precision
from onnx import shape_inference

if TYPE_CHECKING:
    from hwc.tests.conftest import Subject

NETS = Path(__file__).parent / "nets"
Load = Callable[[str, str], "Subject"]


@pytest.fixture(scope="module")
def load(
    subject: Callable[..., "Subject"],
    find_dialect: Callable[[str], Dialect],
    parse_graph: Callable[[str], onnx.ModelProto],
) -> Load:
    """A net as it is judged on this machine, whatever the device."""

    def loaded(name: str, device: str) -> "Subject":
        dialect = find_dialect(device)
        if device != "x86":
            dialect = replace(dialect, qdq=True, casts=True, emulated=frozenset({Precision.BF16}))
        graph = parse_graph((NETS / f"{name}.txt").read_text())
        return subject(shape_inference.infer_shapes(graph), dialect)

    return loaded


def random_plans(net: "Subject", count: int, seed: int) -> list[Plan]:
    rng = np.random.default_rng(seed)
    slots = net.slots.slots
    return [
        Plan.of((slot.name, slot.choices[int(rng.integers(len(slot.choices)))]) for slot in slots)
        for _ in range(count)
    ]


def cut_from_the_whole(net: "Subject", cuts: Cuts, plan: Plan) -> list[str]:
    """The keys of a plan's sections, each cut from the graph of the whole plan."""
    whole, keys = net.writer.write(plan), []
    for outline in Regions(net.writer, cuts).outlines(plan):
        section = section_of(whole, cuts, net.slots, plan, outline.place[0])
        assert section is not None
        keys.append(section.key)
    return keys


@pytest.mark.parametrize("device", ["x86", "a100", "ascend"])
@pytest.mark.parametrize("name", ["residual", "two_outputs", "masked", "branches"])
def test_parts_are_as_in_the_whole(load: Load, name: str, device: str) -> None:
    """Node for node, with one cache for all plans: what matters to a part is in its key."""
    net = load(name, device)
    cuts = Cuts.of(net.model.graph, net.slots)
    assert len(cuts) > 1
    regions = Regions(net.writer, cuts)
    for plan in random_plans(net, 12, 0):
        outlines = regions.outlines(plan)
        assert [outline.key for outline in outlines] == cut_from_the_whole(net, cuts, plan)
        blocks = [range(place.first, place.last + 1) for place, _ in (o.place for o in outlines)]
        assert [block for some in blocks for block in some] == list(range(len(cuts)))


def test_a_change_writes_what_is_near(load: Load) -> None:
    """One slot's choice is written once, and not what lies far from it."""
    net = load("residual", "x86")
    written: list[int] = []

    class Counting(type(net.writer)):  # type: ignore[misc]  # a class that is found out here
        def write(self, plan: Plan) -> object:
            written.append(len(plan.choices))
            return super().write(plan)

    writer = Counting(net.model, net.slots, dialect=net.writer.dialect, ranges=net.writer.ranges)
    writer.within = lambda model, slots: Counting(
        model, slots, dialect=net.writer.dialect, ranges=net.writer.ranges
    )
    cuts = Cuts.of(net.model.graph, net.slots)
    regions = Regions(writer, cuts)
    plain = Plan.of((slot.name, slot.choices[0]) for slot in net.slots.slots)
    regions.outlines(plain)
    assert len(written) == len(cuts)
    written.clear()
    regions.outlines(plain)
    assert not written
    changed = [*plain.choices]
    changed[-1] = changed[-1][0], net.slots.slots[-1].choices[-1]
    outlines: list[Outline] = regions.outlines(Plan(tuple(changed)))
    assert 0 < sum(written) < len(net.slots.slots)
    regions.model(outlines[-1])
    assert 0 < sum(written) < len(net.slots.slots)


def test_a_section_that_was_forgotten_is_written_again(load: Load) -> None:
    net = load("residual", "x86")
    cuts = Cuts.of(net.model.graph, net.slots)
    regions = Regions(net.writer, cuts)
    outlines = [o for plan in random_plans(net, 4, 1) for o in regions.outlines(plan)]
    for outline in outlines:
        model = regions.model(outline)
        assert {value.name for value in model.graph.outputs}
    assert len(outlines) > 4
