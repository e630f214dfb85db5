"""Plans with stored weights: the written graph holds what storage leaves, in the kernel's type."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hwc.backends.ort import Options, Session
from hwc.passes.rounded import rounded_constants
from hwc.toolchain.engine import Array
from hwc.toolchain.find_slots import find_slots
from hwc.toolchain.plan import NodeChoice, Plan, Precision, Sparsity
from hwc.toolchain.storage.encode import stored
from hwc.toolchain.storage.formats import Format
from hwc.toolchain.storage.pack import pack_model, unpack_model

HEAD = '<ir_version: 10, opset_import: ["" : 21]>'
GRAPHS = {
    "conv": (
        """g (float[1,32,6,6] x) => (float[1,64,4,4] y) <float[64,32,3,3] w, float[64] b>
        { y = Conv(x, w, b) }""",
        0,
    ),
    "gemm": (
        """g (float[4,64] x) => (float[4,32] y) <float[32,64] w, float[32] b>
        { y = Gemm<transB = 1>(x, w, b) }""",
        0,
    ),
    "matmul": ("g (float[4,64] x) => (float[4,32] y) <float[64,32] w> { y = MatMul(x, w) }", 1),
}
TIED = """g (float[4,32] x) => (float[4,32] y) <float[32,32] w>
    { h = MatMul(x, w) y = Gemm<transB = 1>(h, w) }"""
FORMATS = ("int4", "lsq3", "log4", "codebook3", "float4e2m1")
Made = Callable[..., Any]


def written(bench: Any, *choices: NodeChoice) -> ir.Model:  # noqa: ANN401 - the workbench
    """The graph of a plan with these choices."""
    names = [slot.name for slot in bench.slots.slots]
    model: ir.Model = bench.writer.write(Plan.of(zip(names, choices, strict=True)))
    return model


def weight(model: ir.Model, name: str = "w") -> Array:
    """A constant of a graph."""
    array: Array = model.graph.initializers[name].const_value.numpy()
    return array


@pytest.mark.parametrize("form", [*FORMATS, "int4/32"])
@pytest.mark.parametrize("name", GRAPHS)
def test_an_fp32_kernel_reads_what_was_decoded(name: str, form: str, subject: Made) -> None:
    text, axis = GRAPHS[name]
    bench = subject(HEAD + text, "x86")
    model = written(bench, NodeChoice(storage=form))
    (held,) = (v for n, v in model.graph.initializers.items() if n.endswith("__stored"))
    expected = stored(weight(bench.model), Format.parse(form), axis)
    assert np.array_equal(held.const_value.numpy(), expected)
    assert "w" not in model.graph.initializers


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", GRAPHS)
def test_an_int8_kernel_reads_no_more_numbers_than_there_are_codes(
    name: str, form: str, subject: Made
) -> None:
    text, axis = GRAPHS[name]
    bench = subject(HEAD + text, "x86")
    model = written(bench, NodeChoice(Precision.INT8, storage=form))
    (integers,) = (
        value.const_value.numpy()
        for value in model.graph.initializers.values()
        if value.const_value.dtype is ir.DataType.INT8 and value.const_value.size > 64
    )
    rows = np.moveaxis(integers, axis, 0).reshape(integers.shape[axis], -1)
    assert max(len(np.unique(row)) for row in rows) <= 2 ** Format.parse(form).bits


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.INT8])
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", GRAPHS)
def test_rounded_constants_are_those_that_are_written(
    name: str, form: str, precision: Precision, subject: Made
) -> None:
    bench = subject(HEAD + GRAPHS[name][0], "x86")
    choice = NodeChoice(precision, storage=form)
    node = next(iter(bench.model.graph))
    held = rounded_constants(node, choice, dialect=bench.writer.dialect)["w"]
    uses = len(list(node.inputs[1].uses()))
    model = written(bench, choice)
    found = [
        value
        for value in model.graph.initializers.values()
        if value.const_value.size == held.size and value.const_value.dtype is not ir.DataType.INT32
    ]
    assert len(found) == 1
    array = found[0].const_value.numpy()
    if precision is Precision.INT8:
        axis = GRAPHS[name][1]
        scale = model.graph.initializers[f"{found[0].name}__scale"].const_value.numpy()
        array = array * scale.reshape([-1 if i == axis else 1 for i in range(array.ndim)])
    np.testing.assert_allclose(held, array, rtol=1e-6, atol=1e-8)
    assert uses == len(list(node.inputs[1].uses()))


def test_sparse_weights_are_stored_with_their_zeros(subject: Made) -> None:
    bench = subject(HEAD + GRAPHS["gemm"][0], "a100")
    choice = NodeChoice(Precision.FP16, Sparsity.TWO_FOUR, storage="codebook3")
    model = written(bench, choice)
    (held,) = (
        value.const_value.numpy()
        for value in model.graph.initializers.values()
        if value.const_value.size == 32 * 64
    )
    assert ((held.reshape(32, 16, 4) != 0).sum(2) <= 2).all()
    assert len(np.unique(held)) <= 8


def test_two_nodes_keep_one_weight_in_two_formats(subject: Made) -> None:
    bench = subject(HEAD + TIED, "x86")
    model = written(bench, NodeChoice(storage="int4"), NodeChoice(storage="int2"))
    found = {n: v.const_value.numpy() for n, v in model.graph.initializers.items()}
    assert len(found) == 2
    assert len({len(np.unique(array[0])) for array in found.values()}) == 2


def test_the_stored_graph_runs_and_packs_to_a_fraction(subject: Made) -> None:
    bench = subject(HEAD + GRAPHS["conv"][0], "x86")
    for choice in (NodeChoice(storage="int4"), NodeChoice(Precision.INT8, storage="int4")):
        model = written(bench, choice)
        x = np.random.default_rng(0).standard_normal((1, 32, 6, 6)).astype(np.float32)
        exact = Session(bench.model, Options())({"x": x})["y"]
        got = Session(model, Options())({"x": x})["y"]
        assert 0 < np.abs(got - exact).max() < 0.4 * np.abs(exact).max()
        data = ir.to_proto(model).SerializeToString()
        packed = pack_model(data, [Format.parse("int4")])
        assert len(packed) < 64 * 288 / 2 + 4000
        assert unpack_model(packed) == data


def test_storage_is_offered_where_it_saves_bytes(subject: Made) -> None:
    bench = subject(HEAD + GRAPHS["gemm"][0], "x86")
    formats = [Format.parse(name) for name in ("int8", "int4", "int4/32", "float8e4m3")]
    precisions = (Precision.FP32, Precision.INT8, Precision.INT4)
    (slot,) = find_slots(bench.model, bench.writer.dialect, precisions, storage=formats).slots
    offered = {(str(c.precision), c.storage) for c in slot.choices}
    assert slot.choices[0] == NodeChoice()
    assert offered == {
        *(("fp32", name) for name in ("", "int8", "int4/32", "float8e4m3")),
        *(("int8", name) for name in ("", "int4")),
        ("int4", ""),
    }
    (slot,) = find_slots(bench.model, bench.writer.dialect, precisions).slots
    assert not any(choice.storage for choice in slot.choices)


def test_small_weights_are_left_alone(subject: Made) -> None:
    bench = subject(HEAD + "g (float[4,8] x) => (float[4,8] y) <float[8,8] w> { y = MatMul(x, w) }")
    formats = [Format.parse("int4")]
    (slot,) = find_slots(
        bench.model, bench.writer.dialect, (Precision.FP32,), storage=formats
    ).slots
    assert len(slot.choices) == 1
