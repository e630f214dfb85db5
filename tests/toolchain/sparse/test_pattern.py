"""Which weights stay: the pattern holds exactly, and what stays counts most."""

import numpy as np
import numpy.typing as npt
import pytest
from hwc.toolchain.sparse.pattern import blocks, holds, scores, two_four, unstructured
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

Floats = npt.NDArray[np.float32]
WEIGHTS = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 5), st.integers(1, 4).map(lambda n: 4 * n), st.integers(1, 3)),
    elements=st.floats(-8.0, 8.0, width=16),
)


def drawn(*shape: int) -> Floats:
    """Normal numbers."""
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        pytest.param((8, 16), 0, id="K of a MatMul"),
        pytest.param((8, 16), 1, id="K of a transposed Gemm"),
        pytest.param((6, 8, 3, 3), 1, id="input channels of a Conv"),
        pytest.param((6, 8, 3, 3), -3, id="counted from the end"),
    ],
)
def test_half_of_the_weights_stay_and_the_pattern_holds(shape: tuple[int, ...], axis: int) -> None:
    array = drawn(*shape)
    mask = two_four(array, axis)
    assert mask.shape == array.shape
    assert mask.mean() == 0.5
    assert not holds(array, axis)
    assert holds(array * mask, axis)


@settings(max_examples=60)
@given(WEIGHTS)
def test_no_other_choice_of_two_keeps_more(array: Floats) -> None:
    kept = (np.abs(array) * two_four(array, 1)).sum(axis=1)
    fours = np.sort(np.abs(array).reshape(len(array), -1, 4, array.shape[2]), axis=2)
    np.testing.assert_allclose(kept, fours[:, :, 2:].sum(axis=(1, 2)), rtol=1e-5)


@settings(max_examples=60)
@given(WEIGHTS)
def test_the_pattern_holds_after_rounding_to_int8_and_float16(array: Floats) -> None:
    held = array * two_four(array, 1)
    scale = np.maximum(np.abs(held).max(axis=(1, 2), keepdims=True), 1e-3) / 127
    assert holds(np.rint(held / scale).astype(np.int8), 1)
    assert holds(held.astype(np.float16), 1)
    assert np.array_equal(held * two_four(held, 1), held)  # masked again nothing changes


def test_the_pattern_is_of_every_row_and_position_by_itself() -> None:
    array = np.ones((1, 4, 1, 2), np.float32)
    array[0, :2, 0, 0] = array[0, 2:, 0, 1] = 0.0
    assert holds(array, 1)
    array[0, 0, 0, 0] = 1e-30
    assert not holds(array, 1)


def test_what_does_not_divide_by_four_has_no_pattern() -> None:
    assert not holds(np.zeros((2, 6)), 1)
    with pytest.raises(ValueError, match="axis of 6"):
        two_four(drawn(2, 6), 1)


def test_weights_of_loud_inputs_count_more() -> None:
    array = np.array([[3.0, 2.0, 1.0, 1.0]], np.float32)
    assert two_four(array, 1).tolist() == [[True, True, False, False]]
    loud = np.array([1.0, 1.0, 100.0, 1.0])
    assert two_four(array, 1, loud).tolist() == [[True, False, True, False]]
    np.testing.assert_allclose(scores(array, 1, loud), [[3.0, 2.0, 10.0, 1.0]])


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_a_share_of_the_smallest_goes(share: float) -> None:
    array = drawn(7, 9)
    mask = unstructured(array, share)
    assert np.count_nonzero(~mask) == int(share * array.size)
    assert not mask.any() or mask.all() or np.abs(array)[mask].min() >= np.abs(array)[~mask].max()


@pytest.mark.parametrize("shape", [(4, 1), (16, 1), (1, 4), (3, 2)], ids=str)
def test_blocks_go_whole_and_those_of_the_least_mean(shape: tuple[int, int]) -> None:
    matrix = drawn(30, 10)
    mask = blocks(matrix, 0.5, shape)
    rows, columns = shape
    means = {True: [0.0], False: [0.0]}
    for r in range(0, 30, rows):
        for c in range(0, 10, columns):
            block = mask[r : r + rows, c : c + columns]
            assert block.all() or not block.any()
            part = np.abs(matrix[r : r + rows, c : c + columns]).mean()
            means[bool(block.all())].append(float(part))
    assert min(means[True][1:]) >= max(means[False])
    assert len(means[False]) - 1 == (len(means[True]) + len(means[False]) - 2) // 2


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_that_is_none(share: float) -> None:
    with pytest.raises(ValueError, match="share"):
        unstructured(drawn(4), share)
