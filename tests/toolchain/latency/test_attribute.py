"""Each kernel's time goes to a slot, to a tensor that changes its form, or to the rest."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir
import pytest
from hwc.toolchain.engine import KernelTime
from hwc.toolchain.latency.attribute import Attribution, attribute, own_kernels
from hwc.toolchain.plan import NodeChoice
from hwc.toolchain.slots import Edge, Slot, SlotGraph, Work

FP32 = (NodeChoice(),)


def slot(name: str, op: str, parts: Sequence[str], *tensors: str) -> Slot:
    """A slot that reads the first tensor and writes the last; those between are hidden."""
    read, *hidden, written = tensors
    return Slot(
        name=name,
        op=op,
        parts=(tuple(parts),),
        inner=(),
        inputs=(read,),
        outputs=(written,),
        key=name,
        kind="other",
        work=Work(0, 0, 0, 0),
        choices=FP32,
        hidden=tuple(hidden),
    )


# x -> conv1 + relu1 -> r -> conv2 -> c -> move -> t -> add(t, r) -> y
SLOTS = SlotGraph(
    (
        slot("conv1", "Conv", ["conv1", "relu1"], "x", "c1", "r"),
        slot("conv2", "Conv", ["conv2"], "r", "c"),
        slot("move", "Transpose", ["move"], "c", "t"),
        slot("add", "Add", ["add"], "t", "y"),
    ),
    (
        Edge("x", -1, (0,), 8),
        Edge("r", 0, (1, 3), 8),
        Edge("c", 1, (2,), 8),
        Edge("t", 2, (3,), 8),
        Edge("y", 3, (), 8, is_output=True),
    ),
)


@dataclass(frozen=True)
class Ran:
    """A node of the runtime's graph and where its time should go.

    Attributes:
        name: The kernel's.
        op: Its op.
        reads: Tensors.
        writes: The tensor.
        owner: A slot's name, a tensor with `~` before it, or empty for the rest.
    """

    name: str
    op: str
    reads: tuple[str, ...]
    writes: str
    owner: str


CASES = {
    "as written": [
        Ran("conv1", "Conv", ("x",), "c1", "conv1"),
        Ran("relu1", "Relu", ("c1",), "r", "conv1"),
        Ran("conv2", "Conv", ("r",), "c", "conv2"),
        Ran("move", "Transpose", ("c",), "t", "move"),
        Ran("add", "Add", ("t", "r"), "y", "add"),
    ],
    "fused under a new name": [
        Ran("fused conv1 and relu1", "FusedConv", ("x",), "r", "conv1"),
        Ran("conv2", "Conv", ("r",), "c", "conv2"),
    ],
    "blocked layout": [
        Ran("r_nchwc", "Conv", ("x",), "reorder_token_1", "conv1"),
        Ran("ReorderOutput", "ReorderOutput", ("reorder_token_1",), "r", "~r"),
        Ran("ReorderInput", "ReorderInput", ("r",), "reorder", "~r"),
        Ran("c_nchwc", "Conv", ("reorder",), "reorder_token_2", "conv2"),
        Ran("ReorderOutput_token_3", "ReorderOutput", ("reorder_token_2",), "c", "~c"),
    ],
    "blocked layout, activation absorbed by the integers": [
        Ran("c1_nchwc", "Conv", ("x",), "reorder_token_1", "conv1"),
        Ran("ReorderOutput", "ReorderOutput", ("reorder_token_1",), "c1", "~r"),
        Ran("r__q", "QuantizeLinear", ("c1",), "r__q", "~r"),
    ],
    "integers": [
        Ran("x__q", "QuantizeLinear", ("x",), "x__q", "~x"),
        Ran("x__pad", "Pad", ("x__q",), "x__pad", "~x"),
        Ran("conv1_token_1", "QLinearConv", ("x__pad",), "r__q", "conv1"),
        Ran("conv2_token_2", "QLinearConv", ("r__q",), "c_token_7", "conv2"),
        Ran("Transpose", "Transpose", ("c_token_7",), "c__q", "~c"),
        Ran("c__dq", "DequantizeLinear", ("c__q",), "c__dq", "~c"),
        Ran("move", "Transpose", ("c__dq",), "t", "move"),
    ],
    "integers moved across a node": [
        Ran("conv1_pre", "QuantizeLinear", ("x",), "x__q", "~x"),
        Ran("c1_pre_q", "Conv", ("x__q",), "c1_pre_q", "conv1"),
        Ran("r__dq/duplicated", "DequantizeLinear", ("r__q",), "r__dq/duplicated", "~r"),
    ],
    "a weight that was not fused": [
        Ran("conv2__q8__dq", "DequantizeLinear", ("conv2__q8",), "conv2__q8__dq", "conv2"),
    ],
    "a layout change of what nothing names": [
        Ran("conv1", "Conv", ("x",), "r", "conv1"),
        Ran("Transpose_1", "Transpose", ("r",), "Transpose_out0", "~r"),
        Ran("Transpose_2", "Transpose", ("Transpose_out0",), "Transpose_out1", "~r"),
    ],
    "shape arithmetic": [
        Ran("shape_of_x", "Shape", ("x",), "shape", ""),
        Ran("some constant", "Cast", ("shape",), "shape_float", "~x"),
    ],
    "a cast": [
        Ran("r__fp16", "Cast", ("r",), "r__fp16", "~r"),
        Ran("c__raw", "Conv", ("r__fp16",), "c__raw", "conv2"),
        Ran("c__fp32", "Cast", ("c__raw",), "c", "~c"),
    ],
}


def ran_graph(case: Sequence[Ran]) -> ir.Graph:
    """The graph that the runtime wrote out."""
    values: dict[str, ir.Value] = {}
    nodes = []
    for ran in case:
        inputs = [values.setdefault(name, ir.Value(name=name)) for name in ran.reads]
        values[ran.writes] = ir.Value(name=ran.writes)
        nodes.append(ir.node(ran.op, inputs, outputs=[values[ran.writes]], name=ran.name))
    inputs = [value for value in values.values() if value.producer() is None]
    return ir.Graph(inputs, [], nodes=nodes)


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_owners(case: list[Ran]) -> None:
    graph = ran_graph(case)
    # Powers of two: every sum tells which kernels are in it.
    times = [(KernelTime.of(node, np.zeros(0)), np.array([2.0**i])) for i, node in enumerate(graph)]
    shares = attribute(times, graph, SLOTS)
    slots: dict[int, float] = {}
    edges: dict[int, float] = {}
    rest = np.zeros(1)
    names = [s.name for s in SLOTS.slots]
    tensors = [edge.tensor for edge in SLOTS.edges]
    for ran, (_, us) in zip(case, times, strict=True):
        if ran.owner.startswith("~"):
            index = tensors.index(ran.owner[1:])
            edges[index] = edges.get(index, 0.0) + us
        elif ran.owner:
            index = names.index(ran.owner)
            slots[index] = slots.get(index, 0.0) + us
        else:
            rest += us
    assert (shares.slots, shares.edges, shares.rest) == (slots, edges, rest)
    assert shares.total == 2.0 ** len(case) - 1


def test_a_product_that_took_the_bias_along_is_the_product() -> None:
    """ONNX Runtime's 4-bit product writes what the Add after it would have written."""
    product, bias = slot("product", "MatMul", ["product"], "x", "p"), SLOTS.slots[3]
    bias = replace(bias, inputs=("p",))
    edges = (Edge("p", 0, (1,), 8), Edge("y", 1, (), 8, is_output=True))
    graph = ran_graph([Ran("product", "MatMulNBits", ("x",), "y", "product")])
    times = [(KernelTime.of(node, np.zeros(0)), np.array([7.0])) for node in graph]
    shares = attribute(times, graph, SlotGraph((product, bias), edges))
    assert shares.slots == {0: 7.0}
    own = ran_graph([Ran("add", "Add", ("p",), "y", "add")])
    times = [(KernelTime.of(node, np.zeros(0)), np.array([7.0])) for node in own]
    assert attribute(times, own, SlotGraph((product, bias), edges)).slots == {1: 7.0}


def test_nothing_ran() -> None:
    assert attribute([], ir.Graph([], [], nodes=[]), SLOTS) == Attribution(np.zeros(1))


def test_which_slots_have_a_kernel_of_their_own() -> None:
    graph = ran_graph(
        [
            Ran("conv1", "FusedConv", ("x",), "r", "conv1"),
            Ran("add", "Add", ("t", "r"), "y", "add"),
            Ran("shape_of_x", "Shape", ("x",), "shape", ""),
        ]
    )
    assert own_kernels(graph, SLOTS) == {0, 3}
