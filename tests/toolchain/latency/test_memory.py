"""Memory of a plan: what lives when, counted by hand."""

import numpy as np
import onnx_ir as ir
import pytest
from hwc.toolchain.latency.memory import Memory, Weight, find_weights, memory
from hwc.toolchain.plan import NodeChoice, Precision
from hwc.toolchain.slots import Edge, Slot, SlotGraph, Work

FP32, FP16, INT8, INT4 = Precision.FP32, Precision.FP16, Precision.INT8, Precision.INT4


def slot(name: str) -> Slot:
    return Slot(
        name=name,
        op="Conv",
        parts=((name,),),
        inner=(),
        inputs=(),
        outputs=(),
        key=name,
        kind="conv",
        work=Work(0, 0, 0, 0),
        choices=(NodeChoice(),),
    )


def edge(tensor: str, producer: int, *consumers: int, size: int, out: bool = False) -> Edge:
    return Edge(tensor, producer, consumers, size, is_output=out)


# x -> a -> b -> c -> y, where c reads what a wrote, too: it lives across b.
RESIDUAL = SlotGraph(
    (slot("a"), slot("b"), slot("c")),
    (
        edge("x", -1, 0, size=10),
        edge("h", 0, 1, 2, size=100),
        edge("i", 1, 2, size=30),
        edge("y", 2, size=5, out=True),
    ),
)
CHAIN = SlotGraph(
    tuple(map(slot, "abc")),
    (
        edge("x", -1, 0, size=10),
        edge("h", 0, 1, size=100),
        edge("i", 1, 2, size=30),
        edge("y", 2, size=5, out=True),
    ),
)


@pytest.mark.parametrize(
    ("graph", "precisions", "elements_bytes", "at"),
    [
        # The caller's x (40 bytes) and y (20 bytes) are there all the time.
        (CHAIN, (FP32, FP32, FP32), 60 + 4 * (100 + 30), "b"),
        (RESIDUAL, (FP32, FP32, FP32), 60 + 4 * (100 + 30), "b"),
        # h in fp16; x is converted for a (20 bytes), y is written in fp16 and converted.
        (CHAIN, (FP16, FP16, FP16), 60 + 2 * (100 + 30), "b"),
        # h in fp32 for c and its int8 copy for b; i in int8, its fp32 copy is made for c.
        (RESIDUAL, (FP32, INT8, FP32), 60 + 4 * 100 + 30 + 4 * 30, "c"),
        # 4-bit weights leave activations as they are.
        (CHAIN, (INT4, INT4, INT4), 60 + 4 * (100 + 30), "b"),
    ],
    ids=["chain", "residual", "half", "mixed", "weight-only"],
)
def test_the_peak_of_what_lives_at_once(
    graph: SlotGraph, precisions: tuple[Precision, ...], elements_bytes: int, at: str
) -> None:
    found = memory(graph, (), precisions)
    assert found == Memory(weights=0, activations=elements_bytes, at=at)


def test_a_tensor_that_is_read_late_lives_until_then() -> None:
    late = SlotGraph(
        tuple(map(slot, "abcd")),
        (
            edge("h", 0, 3, size=100),
            edge("i", 0, 1, size=1),
            edge("j", 1, 2, size=200),
            edge("k", 2, 3, size=2),
        ),
    )
    assert memory(late, (), (FP32,) * 4) == Memory(0, 4 * (100 + 200 + 2), "c")


@pytest.mark.parametrize(
    ("precision", "bits"),
    [(FP32, 32 * 640 + 320), (FP16, 16 * 650), (INT8, 8 * 640 + 320), (INT4, 5 * 640 + 320)],
    ids=str,
)
def test_weights_are_stored_as_their_kernel_reads_them(precision: Precision, bits: int) -> None:
    """A bias of 10 floats beside 640 weights; each 32 weights of 4 bits share a float scale."""
    weights = (
        Weight(640, 32, 2, is_float=True, readers=(0,)),
        Weight(10, 32, 1, is_float=True, readers=(0,)),
    )
    one = SlotGraph((slot("a"),), ())
    assert memory(one, weights, (precision,)).weights == bits / 8


def test_a_weight_with_readers_in_two_precisions_is_stored_twice() -> None:
    two = SlotGraph((slot("a"), slot("b"), slot("c")), ())
    shared = Weight(100, 32, 2, is_float=True, readers=(0, 1, 2))
    assert memory(two, (shared,), (FP32, FP16, FP16)).weights == 400 + 200


def test_what_is_no_fp32_weight_stays_as_it_is() -> None:
    one = SlotGraph((slot("a"),), ())
    table, nobody = (
        Weight(8, 64, 1, is_float=False, readers=(0,)),
        Weight(3, 32, 2, is_float=True, readers=()),
    )
    assert memory(one, (table, nobody), (INT8,)).weights == 64 + 12


@pytest.mark.parametrize(("precision", "bits"), [(FP16, 9), (INT8, 5)], ids=str)
def test_2_4_weights_are_half_and_their_positions(precision: Precision, bits: int) -> None:
    """Two of four weights are kept, with two bits of position each: one bit for each weight."""
    two = SlotGraph((slot("a"), slot("b")), ())
    weights = (
        Weight(64, 32, 2, is_float=True, readers=(0,)),
        Weight(64, 32, 2, is_float=True, readers=(1,)),
    )
    found = memory(two, weights, (precision, precision), sparse={0}).weights
    assert found == bits * 8 + precision.weight_bits * 8


def test_a_graph_without_slots_needs_nothing() -> None:
    assert memory(SlotGraph((), ()), (), ()) == Memory(0, 0, "")


def test_the_weights_of_a_model() -> None:
    x = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([1, 4]))
    w, table = (
        ir.Value(name=name, const_value=ir.tensor(array, name=name))
        for name, array in (
            ("w", np.ones((4, 2), np.float32)),
            ("table", np.zeros(3, np.int64)),
        )
    )
    node = ir.Node("", "MatMul", [x, w], name="m")
    gather = ir.Node("", "Gather", [node.outputs[0], table], name="g")
    graph = ir.Graph(
        [x], gather.outputs, nodes=[node, gather], initializers=[w, table], opset_imports={"": 17}
    )
    found = find_weights(ir.Model(graph, ir_version=10), SlotGraph((slot("m"),), ()))
    assert found == (
        Weight(8, 32, 2, is_float=True, readers=(0,)),
        Weight(3, 64, 1, is_float=False, readers=()),
    )
