"""4-bit blocks: the integers, their packing, and what ONNX Runtime makes of the packed bytes."""

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hwc.backends.ort import Options, Session
from hwc.passes.weight_only import BLOCK, as_int4, int4_blocks, pack_matmul_nbits
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import TensorProto, helper, numpy_helper

MATRICES = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 70), st.integers(1, 5)),
    elements=st.floats(-100, 100, width=32),
)


def restored(steps: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Back to real numbers."""
    real: np.ndarray = steps * np.repeat(scale, BLOCK, axis=0)[: len(steps)]
    return real


@given(weight=MATRICES)
def test_a_weight_comes_back_within_a_step(weight: np.ndarray) -> None:
    """Half a step; and a whole one where the sign opposite to the extreme saturates at 7."""
    steps, scale = int4_blocks(weight)
    assert steps.shape == weight.shape
    assert scale.shape == (-(-len(weight) // BLOCK), weight.shape[1])
    assert steps.min() >= -8
    assert steps.max() <= 7
    error = np.abs(restored(steps.astype(np.float64), scale.astype(np.float64)) - weight)
    step = np.repeat(np.abs(scale), BLOCK, axis=0)[: len(weight)]
    finest = 8 * float(np.finfo(np.float32).smallest_subnormal)  # of eight times a rounded scale
    assert (error <= step * np.where(steps == 7, 1.0001, 0.5001) + finest).all()


def test_the_largest_weight_of_a_block_is_exact() -> None:
    weight = np.zeros((64, 2), np.float32)
    weight[3], weight[40] = (4.0, -4.0), (-0.5, 0.25)
    steps, scale = int4_blocks(weight)
    assert np.array_equal(restored(steps, scale), weight)
    assert steps[3].tolist() == steps[40].tolist() == [-8, -8]
    assert scale.tolist() == [[-0.5, 0.5], [0.0625, -0.03125]]


def test_a_block_of_zeros() -> None:
    steps, scale = int4_blocks(np.zeros((32, 1), np.float32))
    assert not steps.any()
    assert scale.tolist() == [[1.0]]


def test_int4_is_the_same_integers() -> None:
    steps = np.arange(-8, 8, dtype=np.int8)
    assert as_int4(steps).dtype == ml_dtypes.int4
    assert as_int4(steps).astype(np.int8).tolist() == steps.tolist()


def test_the_packing_by_hand() -> None:
    steps = np.zeros((34, 1), np.int8)
    steps[0], steps[1], steps[32], steps[33] = -8, 7, 1, -1
    packed, scales = pack_matmul_nbits(steps, np.array([[0.5], [0.25]], np.float32))
    assert packed.shape == (1, 2, 16)
    assert packed[0, 0, 0] == 0xF0  # low nibble first: -8 is 0, 7 is 15
    assert packed[0, 1, 0] == 0x79
    assert set(packed[0, 0, 1:]) == set(packed[0, 1, 1:]) == {0x88}  # zeros, and beyond the end
    assert scales.tolist() == [[0.5, 0.25]]


@pytest.mark.parametrize("depth", [32, 40, 64, 100], ids=lambda depth: f"depth {depth}")
@pytest.mark.parametrize("columns", [1, 3, 16])
def test_onnx_runtime_reads_the_packing(depth: int, columns: int) -> None:
    """One row of the identity at a time gives the matrix back."""
    rng = np.random.default_rng(depth + columns)
    steps, scale = int4_blocks(rng.standard_normal((depth, columns)).astype(np.float32))
    packed, scales = pack_matmul_nbits(steps, scale)
    sizes = {"K": depth, "N": columns, "bits": 4, "block_size": BLOCK}
    node = helper.make_node("MatMulNBits", ["x", "w", "s"], ["y"], domain="com.microsoft")
    node.attribute.extend(helper.make_attribute(key, value) for key, value in sizes.items())
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [node],
        "g",
        [info("x", TensorProto.FLOAT, (depth, depth))],
        [info("y", TensorProto.FLOAT, (depth, columns))],
        [numpy_helper.from_array(packed, "w"), numpy_helper.from_array(scales.reshape(-1), "s")],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    onnx.checker.check_model(model)
    session = Session(ir.from_proto(model), Options(threads=1))
    got = session({"x": np.eye(depth, dtype=np.float32)})["y"]
    np.testing.assert_allclose(got, restored(steps, scale), rtol=1e-6, atol=1e-6)
