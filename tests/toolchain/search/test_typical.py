"""Typical sensitivities."""

import numpy as np
from hwc.toolchain.plan import NodeChoice, Precision
from hwc.toolchain.search.typical import typical
from hwc.toolchain.slots import Slot, SlotGraph, Work

EVERY = tuple(map(NodeChoice, Precision))


def slot(name: str, op: str, kind: str, macs: int, choices: tuple[NodeChoice, ...] = EVERY) -> Slot:
    return Slot(name, op, ((name,),), (), (), (), name, kind, Work(macs, 1, 1, 1), choices)


GRAPH = SlotGraph(
    (
        slot("first", "Conv", "conv", 1),
        slot("wide", "Conv", "depthwise", 1),
        slot("middle", "Conv", "conv", 1),
        slot("moved", "Reshape", "move", 0),
        slot("kept", "Softmax", "norm", 0, EVERY[:1]),
        slot("last", "Gemm", "gemm", 1),
    ),
    (),
)


def test_fewer_bits_lose_more_and_fp32_nothing() -> None:
    table = typical(GRAPH)
    row = dict(zip(Precision, table[2], strict=True))
    order = (Precision.FP32, Precision.FP16, Precision.BF16, Precision.INT8, Precision.INT4)
    assert sorted(row, key=row.__getitem__) == list(order)
    assert row[Precision.FP32] == 0.0


def test_ends_and_depthwise_lose_more_and_moves_nothing() -> None:
    first, wide, middle, moved, _, last = typical(GRAPH)[:, EVERY.index(NodeChoice(Precision.INT8))]
    assert first > wide > middle > moved == 0.0
    assert last > middle


def test_what_is_no_choice_has_no_figure() -> None:
    table = typical(GRAPH)
    assert np.isnan(table[4, 1:]).all()
    assert np.isfinite(table[[0, 1, 2, 3, 5]]).all()


def test_no_slots_are_no_figures() -> None:
    assert typical(SlotGraph((), ())).shape == (0, 1)
