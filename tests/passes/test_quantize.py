"""int8 arithmetic on constants: mappings, per-channel weights, int32 biases."""

import numpy as np
import onnx_ir as ir
import pytest
from hwc.passes import quantize
from hwc.toolchain.calibration import Range
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

FINITE = {"allow_nan": False, "allow_infinity": False, "width": 32}


def node_with(
    op: str, weight: np.ndarray, bias: np.ndarray | None = None, **attributes: int
) -> ir.Node:
    """A node of one op with these constants."""
    arrays = [weight] if bias is None else [weight, bias]
    constants = [ir.Value(name=f"c{i}", const_value=ir.tensor(a)) for i, a in enumerate(arrays)]
    return ir.node(op, [ir.Value(name="x"), *constants], attributes, name="n")


@pytest.mark.parametrize(
    ("limits", "unsigned", "scale", "zero", "bounds"),
    [
        (Range(0.0, 2.55), True, 0.01, 0, (0.0, 2.55)),
        (Range(-2.55, 0.0), True, 0.01, 255, (-2.55, 0.0)),
        (Range(-1.28, 1.27), True, 0.01, 128, (-1.28, 1.27)),
        (Range(-1.27, 0.5), False, 0.01, 0, (-1.28, 1.27)),
        (Range(0.0, 0.0), True, 1.0, 0, (0.0, 255.0)),
        (Range(0.0, 0.0), False, 1.0, 0, (-128.0, 127.0)),
    ],
    ids=["positive", "negative", "both", "signed", "zero", "signed zero"],
)
def test_the_mapping_of_an_activation(
    limits: Range, scale: float, zero: int, bounds: tuple[float, float], *, unsigned: bool
) -> None:
    affine = quantize.activation(limits, unsigned=unsigned)
    assert float(affine.scale) == pytest.approx(scale)
    assert int(affine.zero_point) == zero
    assert affine.zero_point.dtype == (np.uint8 if unsigned else np.int8)
    assert affine.bounds == pytest.approx(bounds)


@given(
    low=st.floats(-1e3, 0.0, **FINITE),  # type: ignore[arg-type]  # one dictionary for all
    high=st.floats(0.0, 1e3, **FINITE),  # type: ignore[arg-type]
    unsigned=st.booleans(),
    dtype=st.sampled_from([np.float32, np.float16]),
)
def test_a_mapping_covers_its_range(
    low: float, high: float, dtype: type[np.floating], *, unsigned: bool
) -> None:
    affine = quantize.activation(Range(low, high), unsigned=unsigned, dtype=dtype)
    assert float(affine.scale) > 0
    assert affine.scale.astype(dtype) == affine.scale
    values = np.array([low, high, 0.0], np.float32)
    steps = quantize.quantize(values, affine).astype(np.float64) - float(affine.zero_point)
    error = np.abs(steps * float(affine.scale) - values)
    assert (error <= float(affine.scale) * 0.5001).all()


@pytest.mark.parametrize("unsigned", [False, True], ids=["int8", "uint8"])
@given(array=hnp.arrays(np.float32, st.integers(1, 20), elements=st.floats(-1e4, 1e4, width=32)))
def test_a_constant_comes_back_within_half_a_step(array: np.ndarray, *, unsigned: bool) -> None:
    integers, affine = quantize.constant(array, unsigned=unsigned)
    steps = integers.astype(np.float64) - float(affine.zero_point)
    assert np.abs(steps * float(affine.scale) - array).max() <= float(affine.scale) * 0.5001


AXES = {
    "Conv": ("Conv", (4, 3, 3, 3), {}, 0),
    "depthwise Conv": ("Conv", (4, 1, 3, 3), {"group": 4}, 0),
    "ConvTranspose": ("ConvTranspose", (3, 4, 2, 2), {}, 1),
    "grouped ConvTranspose": ("ConvTranspose", (4, 2, 2, 2), {"group": 2}, None),
    "Gemm": ("Gemm", (8, 4), {}, 1),
    "transposed Gemm": ("Gemm", (4, 8), {"transB": 1}, 0),
    "MatMul": ("MatMul", (8, 4), {}, 1),
    "MatMul of three axes": ("MatMul", (2, 8, 4), {}, None),
    "MatMul of a vector": ("MatMul", (8,), {}, None),
}


@pytest.mark.parametrize(("op", "shape", "attributes", "axis"), AXES.values(), ids=list(AXES))
def test_scales_are_per_output_channel(
    op: str, shape: tuple[int, ...], attributes: dict[str, int], axis: int | None
) -> None:
    weight = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    made = quantize.weights(node_with(op, weight, None, **attributes), 0.1)
    assert made.axis == axis
    assert made.integers.shape == shape
    assert made.integers.dtype == np.int8
    assert made.affine.scale.shape == (() if axis is None else (shape[axis],))
    others = tuple(i for i in range(len(shape)) if i != axis)
    most = np.abs(weight).max(axis=None if axis is None else others)
    np.testing.assert_allclose(made.affine.scale, most / 127, rtol=1e-6)
    assert np.abs(made.integers.astype(int)).max() == 127


def test_a_bias_counts_in_input_scale_times_weight_scale() -> None:
    weight = np.array([[1.27, 0.0], [0.0, -2.54]], np.float32)
    made = quantize.weights(node_with("Gemm", weight, np.array([1.0, -0.5], np.float32)), 0.5)
    assert made.bias_scale is not None
    assert made.bias_integers is not None
    np.testing.assert_allclose(made.bias_scale, [0.005, 0.01], rtol=1e-5)
    assert made.bias_integers.tolist() == [200, -50]
    assert made.bias_integers.dtype == np.int32


@pytest.mark.parametrize("shape", [(), (1,), (2,), (1, 2)])
def test_a_bias_is_broadcast(shape: tuple[int, ...]) -> None:
    weight = np.ones((3, 2), np.float32)
    made = quantize.weights(node_with("Gemm", weight, np.full(shape, 2.0, np.float32)), 0.1)
    assert made.bias is not None
    assert made.bias.tolist() == [2.0, 2.0]


def test_no_bias() -> None:
    made = quantize.weights(node_with("Gemm", np.ones((3, 2), np.float32)), 0.1)
    assert (made.bias, made.bias_integers, made.bias_scale) == (None, None, None)


@pytest.mark.parametrize("bias", [1e2, -1e2, 1e6])
@pytest.mark.parametrize("top", [0.0, 1e-7, 1e-3])
def test_a_bias_never_overflows_int32(bias: float, top: float) -> None:
    """The sum of products needs room as well: half of int32 is left to it."""
    weight = np.array([[top], [-top / 2]], np.float32)
    made = quantize.weights(node_with("Gemm", weight, np.array([bias], np.float32)), 1e-3)
    assert made.bias_integers is not None
    assert made.bias_scale is not None
    assert abs(int(made.bias_integers[0])) <= 2**30 * (1 + 2**-22)  # a float32 scale
    assert made.bias_integers[0] * float(made.bias_scale[0]) == pytest.approx(bias, rel=1e-5)
    restored = made.integers * made.affine.scale
    assert np.abs(restored - weight).max() <= made.affine.scale[0] / 2


def test_a_channel_of_zeros_has_scale_1() -> None:
    weight = np.array([[0.0, 1.27], [0.0, -0.5]], np.float32)
    made = quantize.weights(node_with("Gemm", weight), 0.1)
    assert made.affine.scale[0] == 1.0
    assert not made.integers[:, 0].any()


def test_added_channels_are_zero() -> None:
    weight = np.random.default_rng(0).standard_normal((2, 3, 1, 1)).astype(np.float32)
    made = quantize.weights(node_with("Conv", weight), 0.1, channels=2)
    assert made.integers.shape == (2, 5, 1, 1)
    assert not made.integers[:, 3:].any()


@pytest.mark.parametrize("op", ["Gemm", "MatMul"])
def test_a_computed_weight_is_a_fault_of_the_caller(op: str) -> None:
    node = ir.node(op, [ir.Value(name="x"), ir.Value(name="y")], name="n")
    with pytest.raises(ValueError, match="n: no constant weight"):
        quantize.weights(node, 0.1)


def test_rounds_to_even_and_saturates_as_onnx_does() -> None:
    affine = quantize.Affine(np.float32(1.0), np.asarray(10, np.uint8))  # type: ignore[arg-type]
    values = np.array([0.5, 1.5, 2.5, -0.5, -20.0, 300.0], np.float32)
    assert quantize.quantize(values, affine).tolist() == [10, 12, 12, 10, 0, 255]
