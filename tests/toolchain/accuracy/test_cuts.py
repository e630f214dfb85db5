"""Graphs are cut where one tensor holds all the work so far, and where it pays."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hwc.toolchain.accuracy.cuts import Cuts
from hwc.toolchain.kernels import elements

if TYPE_CHECKING:
    from hwc.tests.conftest import Subject

NETS = Path(__file__).parent / "nets"
Load = Callable[[str], "Subject"]


@pytest.fixture(scope="module")
def load(subject: Callable[..., "Subject"]) -> Load:
    return lambda name: subject((NETS / f"{name}.txt").read_text())


def cut(net: "Subject") -> Cuts:
    return Cuts.of(net.model.graph, net.slots)


@pytest.mark.parametrize(
    ("name", "between"),
    [
        # r1 and c2 are no places for a cut: r0 passes them by
        ("residual", {"r0", "a2", "a4", "r5", "a6"}),
        ("two_outputs", {"c0", "r1", "r2"}),
        # x and the mask pass m1 by, too: nothing is lost where inputs are read again
        ("masked", {"m0", "r0", "m1", "k1", "a1", "r2", "a3"}),
    ],
)
def test_everything_flows_through_a_cut(load: Load, name: str, between: set[str]) -> None:
    cuts = cut(load(name))
    assert len(cuts) > 2
    assert set(cuts.tensors) <= between
    assert sum(cuts.work) == pytest.approx(1)


@pytest.mark.parametrize("name", ["residual", "two_outputs", "masked"])
def test_cuts_say_what_lies_between_them(load: Load, name: str) -> None:
    """Slots before a cut write it, slots behind read it, in topological order."""
    net = load(name)
    cuts = cut(net)
    assert len(cuts.work) == len(cuts.outputs) == len(cuts)
    sizes = {str(v.name): elements(v) for node in net.model.graph for v in node.outputs}
    for k, (tensor, writer, size) in enumerate(
        zip(cuts.tensors, cuts.writers, cuts.elements, strict=True)
    ):
        assert tensor in net.slots.slots[writer].outputs
        assert cuts.block_of[writer] == k
        assert size >= sizes[tensor] > 0  # where the batch is free, the samples have 2
        readers = [i for i, slot in enumerate(net.slots.slots) if tensor in slot.inputs]
        assert all(cuts.block_of[i] > k for i in readers)
    assert list(cuts.block_of) == sorted(cuts.block_of)


def test_outputs_belong_to_the_block_that_writes_them(load: Load) -> None:
    cuts = cut(load("two_outputs"))
    owner = {name: k for k, names in enumerate(cuts.outputs) for name in names}
    assert owner["late"] == len(cuts) - 1
    assert owner["early"] <= owner["late"]
    assert cut(load("residual")).outputs[-1] == ("y",)


@pytest.mark.parametrize("name", ["skipped", "small"])
def test_no_place_for_a_cut(load: Load, name: str, subject: Callable[..., "Subject"]) -> None:
    """Another tensor passes every layer by; or there is too little to do."""
    text = (NETS / "residual.txt").read_text().replace("3,32,32] x", "3,8,8] x")
    cuts = cut(subject(text) if name == "small" else load(name))
    assert (len(cuts), cuts.tensors) == (1, ())
    assert set(cuts.block_of) == {0}
    assert cuts.work == (1.0,)


def test_cuts_pay(load: Load) -> None:
    """Neither a cut everywhere nor one only: blocks are neither tiny nor nearly the whole."""
    work = np.array(cut(load("residual")).work)
    assert work.max() < 0.6
