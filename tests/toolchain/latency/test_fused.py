"""Which slots a device's compiler runs inside another's kernel."""

from dataclasses import replace

import pytest
from hwc.toolchain.device import load_profile
from hwc.toolchain.latency.build_cost import from_profile
from hwc.toolchain.latency.fused import fused
from hwc.toolchain.plan import NodeChoice
from hwc.toolchain.slots import Edge, Slot, SlotGraph, Work

KINDS = {"Conv": "conv", "MatMul": "gemm", "MaxPool": "pool", "Reshape": "move"}


def graph(*lines: str, outputs: str = "y") -> SlotGraph:
    """Slots from lines such as `c Conv x`: what it writes, its op, what it reads."""
    slots, readers, writers = [], {}, {}
    for i, line in enumerate(lines):
        name, op, *reads = line.split()
        work = Work(10_000 if op in {"Conv", "MatMul"} else 0, 10, 100 * len(reads), 100)
        kind = KINDS.get(op, "elementwise")
        slots.append(Slot(name, op, ((name,),), (), tuple(reads), (name,), line, kind, work, ()))
        writers[name] = i
        for read in reads:
            readers.setdefault(read, []).append(i)
    edges = [
        Edge(t, writers.get(t, -1), tuple(readers.get(t, ())), 100, is_output=t == outputs)
        for t in dict.fromkeys((*readers, outputs))
    ]
    return SlotGraph(tuple(slots), tuple(edges))


RESIDUAL = ("a Conv x", "b Relu a", "c Conv b", "d Add c x", "y Relu d")
CASES = {
    "activation and residual": (RESIDUAL, {"b": 0, "d": 100, "y": 0}),
    "SiLU": (("a Conv x", "s Sigmoid a", "y Mul a s"), {"s": 0, "y": 100}),
    "another kernel needs the sum": (
        ("a Conv x", "b Add a x", "c MaxPool a", "y Add b c"),
        {"y": 100},
    ),
    "after a pool": (("a MaxPool x", "b Relu a", "y Mul b b"), {"y": 100}),
    "a view": (("a MaxPool x", "y Reshape a"), {"y": 0}),
    "of the inputs alone": (("y Add x z",), {}),
    "an output is written, and can end nothing": (("y Conv x", "z Relu y"), {}),
}


@pytest.mark.parametrize(("lines", "wanted"), CASES.values(), ids=list(CASES))
def test_fused(lines: tuple[str, ...], wanted: dict[str, int]) -> None:
    it = graph(*lines)
    found = fused(it)
    assert {it.slots[i].name: work.reads for i, work in found.items()} == wanted
    assert all(work.writes == 0 for work in found.values())


def test_what_runs_inside_another_kernel_is_not_launched() -> None:
    it = graph(*RESIDUAL)
    slots = tuple(replace(slot, choices=(NodeChoice(),)) for slot in it.slots)
    profile = load_profile("jetson_orin")
    cost = from_profile(SlotGraph(slots, it.edges), profile)
    us = dict(zip("abcdy", cost.node_us[:, 0], strict=True))
    launch = profile.launch.value
    assert [us["b"], us["y"]] == pytest.approx([0.0, 0.0], abs=0.01)  # its weights are still read
    assert 0.0 < us["d"] < launch < us["a"]
