"""Plans with 2:4 sparse weights: the pattern holds in the written graph, and TensorRT builds it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hwc.backends.trt import TensorRT
from hwc.backends.trt_runtime import AHEAD_OF_TIME, Target, Toolkit
from hwc.passes.rounded import rounded_constants
from hwc.toolchain import kernels
from hwc.toolchain.device import load_profile
from hwc.toolchain.engine import Array, Status
from hwc.toolchain.plan import NodeChoice, Plan, Precision, Sparsity
from hwc.toolchain.sparse.nodes import reduction
from hwc.toolchain.sparse.pattern import holds

HEAD = '<ir_version: 10, opset_import: ["" : 21]>'
GRAPHS = {
    "conv": """g (float[1,32,6,6] x) => (float[1,64,4,4] y) <float[64,32,3,3] w, float[64] b>
        { y = Conv(x, w, b) }""",
    "gemm": """g (float[4,64] x) => (float[4,32] y) <float[32,64] w, float[32] b>
        { y = Gemm<transB = 1>(x, w, b) }""",
    "matmul": "g (float[4,64] x) => (float[4,32] y) <float[64,32] w> { y = MatMul(x, w) }",
}
GROUPED = """g (float[1,32,6,6] x) => (float[1,32,4,4] y) <float[32,8,3,3] w>
    { y = Conv<group = 4>(x, w) }"""
TIED = """g (float[4,32] x) => (float[4,32] y) <float[32,32] w>
    { h = MatMul(x, w) y = Gemm<transB = 1>(h, w) }"""
PRECISIONS = (Precision.FP16, Precision.INT8)
Made = Callable[..., Any]


def everywhere(bench: Any, precision: Precision, sparsity: Sparsity) -> ir.Model:  # noqa: ANN401 - the workbench
    """The graph of a plan with one choice for all slots."""
    choice = NodeChoice(precision, sparsity)
    written: ir.Model = bench.writer.write(Plan.of((s.name, choice) for s in bench.slots.slots))
    return written


def weights_of(model: ir.Model) -> list[tuple[ir.Node, Array]]:
    """Each node that multiplies with a constant, and the numbers that are stored of it."""
    found = []
    for node in model.graph:
        if node.op_type in {"Conv", "Gemm", "MatMul"} and node.inputs[1] is not None:
            value = node.inputs[1]
            while kernels.constant(value) is None:
                producer = value.producer()
                assert producer is not None
                assert producer.inputs[0] is not None
                value = producer.inputs[0]
            tensor = kernels.constant(value)
            assert tensor is not None
            found.append((node, tensor.numpy()))
    return found


def axis_of(node: ir.Node) -> int:
    """The reduction, by what the operator's definition says."""
    return int(node.op_type == "Conv" or bool(node.attributes.get_int("transB", 0)))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("device", ["a100", "x86"])
def test_the_pattern_holds_exactly(
    device: str, name: str, precision: Precision, subject: Made
) -> None:
    bench = subject(HEAD + GRAPHS[name], device)
    dense = everywhere(bench, precision, Sparsity.DENSE)
    sparse = everywhere(bench, precision, Sparsity.TWO_FOUR)
    (_, all_of_it), (node, array) = *weights_of(dense), *weights_of(sparse)
    assert array.dtype == all_of_it.dtype
    assert holds(array, axis_of(node))
    assert not holds(all_of_it, axis_of(node))
    kept = array != 0
    assert np.array_equal(array[kept], all_of_it[kept])  # what stays is rounded as it was
    assert 0.4 < kept.mean() <= 0.5


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", GRAPHS)
def test_sensitivities_see_what_is_written(name: str, precision: Precision, subject: Made) -> None:
    bench = subject(HEAD + GRAPHS[name], "a100")
    (node,) = bench.model.graph
    choice = NodeChoice(precision, Sparsity.TWO_FOUR)
    held = rounded_constants(node, choice, dialect=bench.writer.dialect)["w"]
    ((_, array),) = weights_of(everywhere(bench, precision, Sparsity.TWO_FOUR))
    assert held.shape == array.shape
    assert np.array_equal(held != 0, array != 0)
    plain = rounded_constants(node, NodeChoice(precision), dialect=bench.writer.dialect)["w"]
    assert np.array_equal(held, np.where(held != 0, plain, 0))


def test_plans_of_one_writer_do_not_see_each_other(subject: Made) -> None:
    bench = subject(HEAD + GRAPHS["conv"], "a100")
    kinds = [Sparsity.DENSE, Sparsity.TWO_FOUR, Sparsity.DENSE, Sparsity.TWO_FOUR]
    written = [everywhere(bench, Precision.INT8, kind) for kind in kinds]
    texts = [ir.to_proto(model).SerializeToString(deterministic=True) for model in written]
    assert texts[0] == texts[2] != texts[1] == texts[3]


def test_a_dense_graph_has_no_trace_of_it(subject: Made) -> None:
    bench = subject(HEAD + GRAPHS["conv"], "a100")
    before = bench.write(every="int8")
    everywhere(bench, Precision.INT8, Sparsity.TWO_FOUR)
    assert bench.write(every="int8").SerializeToString() == before.SerializeToString()
    assert not [t.name for t in before.graph.initializer if "sparse" in t.name]


def test_what_has_no_sparse_kernel_stays_dense(subject: Made) -> None:
    bench = subject(HEAD + GROUPED, "a100")
    ((_, array),) = weights_of(everywhere(bench, Precision.INT8, Sparsity.TWO_FOUR))
    assert np.count_nonzero(array) > 0.9 * array.size


def test_a_tied_weight_gets_the_pattern_of_each_reader(subject: Made) -> None:
    bench = subject(HEAD + TIED, "a100")
    for node, array in weights_of(everywhere(bench, Precision.FP16, Sparsity.TWO_FOUR)):
        assert holds(array, axis_of(node)), node.name


@pytest.mark.parametrize("name", GRAPHS)
def test_the_axis(name: str, subject: Made) -> None:
    (node,) = subject(HEAD + GRAPHS[name], "a100").model.graph
    assert reduction(node) == axis_of(node)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", GRAPHS)
def test_tensorrt_builds_it(name: str, precision: Precision, subject: Made, tmp_path: Path) -> None:
    toolkit = Toolkit.find(AHEAD_OF_TIME)
    if toolkit is None:
        pytest.skip("tensorrt_rtx is not installed (pip install hwc-compiler[rtx])")
    model = everywhere(subject(HEAD + GRAPHS[name], "a100"), precision, Sparsity.TWO_FOUR)
    ir.save(model, tmp_path / "model.onnx")
    assert toolkit.build(tmp_path / "model.onnx", Target(80, 1 << 28, sparse=True)).nbytes
    (check,) = TensorRT().check(tmp_path / "model.onnx", load_profile("a100"))
    assert check.status is Status.PASSED, check.detail
