"""Rounded constants are those of the graph that is written."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hwc.backends.ort import Options, Session
from hwc.passes.rounded import rounded_constants
from hwc.toolchain.engine import Array
from hwc.toolchain.observe import observer
from hwc.toolchain.plan import NodeChoice, Precision

HEAD = '<ir_version: 9, opset_import: ["" : 21]>'
GRAPHS = {
    "conv": """g (float[1,4,6,6] x) => (float[1,8,4,4] y) <float[8,4,3,3] w, float[8] b>
        { y = Conv(x, w, b) }""",
    "transposed": """g (float[1,4,6,6] x) => (float[1,8,8,8] y) <float[4,8,3,3] w>
        { y = ConvTranspose(x, w) }""",
    "gemm": """g (float[n,64] x) => (float[n,8] y) <float[8,64] w, float[8] b>
        { y = Gemm<transB = 1>(x, w, b) }""",
    "matmul": "g (float[n,64] x) => (float[n,8] y) <float[64,8] w> { y = MatMul(x, w) }",
    "left": "g (float[8,2] x) => (float[64,2] y) <float[64,8] w> { y = MatMul(w, x) }",
    "mul": "g (float[2,8] x) => (float[2,8] y) <float[8] w> { y = Mul(x, w) }",
}
CASES = [
    *((name, "x86", Precision.INT8) for name in GRAPHS if name != "transposed"),
    *((name, "a100", Precision.INT8) for name in GRAPHS if name not in {"mul", "left"}),
    *((name, "a100", Precision.FP16) for name in GRAPHS),
    *((name, "a100", Precision.BF16) for name in ("gemm", "matmul", "mul")),
    *((name, device, Precision.INT4) for name in ("gemm", "matmul") for device in ("x86", "a100")),
]
WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Mul")
Made = Callable[..., Any]


def node_of(bench: Any) -> ir.Node:  # noqa: ANN401 - the workbench
    """Its only node."""
    node: ir.Node = next(iter(bench.model.graph))
    return node


@pytest.mark.parametrize(
    ("name", "device", "precision"), CASES, ids=[f"{n} {d} {p}" for n, d, p in CASES]
)
def test_as_written(name: str, device: str, precision: Precision, subject: Made) -> None:
    """What stands in the written graph, read back, is what the function says."""
    bench = subject(HEAD + GRAPHS[name], device)
    dialect = bench.writer.dialect
    held = rounded_constants(node_of(bench), NodeChoice(precision), dialect=dialect)
    assert set(held) == {"w"}
    assert NodeChoice(precision) in bench.slots.slots[0].choices
    got = read_back(bench, precision)
    got = got.reshape(held["w"].shape) if got.shape != held["w"].shape[::-1] else got.T
    np.testing.assert_allclose(held["w"], got, rtol=6e-4, atol=1e-6)  # TensorRT's are read in fp16
    exact = bench.model.graph.initializers["w"].const_value.numpy()
    assert 0 < np.abs(held["w"] - exact).max() < np.abs(exact).max() / 4


def read_back(bench: Any, precision: Precision) -> Array:  # noqa: ANN401 - the workbench
    """The weight that the written graph multiplies with."""
    written = bench.writer.write(bench.plan(every=precision.value))
    ops = {node.op_type: node for node in written.graph}
    if "MatMulNBits" in ops:
        weight = Session(written, Options(1, optimise=False))({"x": np.eye(64, dtype=np.float32)})
        bias = bench.model.graph.initializers.get("b")
        matrix: Array = weight["y"] - (bias.const_value.numpy() if bias else 0)
        return matrix.T if node_of(bench).op_type == "Gemm" else matrix
    node = next(ops[op] for op in WEIGHTED if op in ops)
    value = node.inputs[0 if "w" in [v.name for v in node_of(bench).inputs[:1] if v] else 1]
    assert value is not None
    if value.const_value is not None:
        return np.asarray(value.const_value.numpy(), np.float32)
    run = observer(written, [value.name], lambda m: Session(m, Options(1, optimise=False)))
    return np.asarray(run(bench.samples[0])[str(value.name)], np.float32)


def test_fp32_and_infinite_constants_stay(subject: Made) -> None:
    bench = subject(HEAD + GRAPHS["mul"])
    node = node_of(bench)
    dialect = bench.writer.dialect
    assert rounded_constants(node, NodeChoice(Precision.FP32), dialect=dialect) == {}
    weight = node.inputs[1]
    assert weight is not None
    weight.const_value = ir.tensor(np.full(8, -np.inf, np.float32), name="w")
    assert rounded_constants(node, NodeChoice(Precision.INT8), dialect=dialect) == {}
