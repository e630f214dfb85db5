"""Tensors in another layout are found by their content, and only where all of it is there."""

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hwc.toolchain.update.delta.files import Folder
from hwc.toolchain.update.delta.header import Op
from hwc.toolchain.update.delta.match import places
from hwc.toolchain.update.delta.transpose import Axes
from hwc.toolchain.update.delta.turned import TurnedFinder, ways
from hwc.toolchain.update.release import Dtype, Tensor

if TYPE_CHECKING:
    from hwc.tests.toolchain.update.delta.conftest import Bench

SHAPE = (8, 6, 3, 3)


def array(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("<f4")


def found(bench: "Bench", weights: np.ndarray, data: bytes) -> list[tuple[int, Axes | None]]:
    """Where turned tensors begin in some bytes, and how they are turned."""
    part = ("w", Dtype.F32, weights.tobytes(), weights.shape)
    folder = bench.release("new", {"m.onnx": [b"head", part]})
    with Folder(folder) as new:
        finder = TurnedFinder(places(new.release), new)
        steps = list(finder.search(memoryview(data)))
        for begin, step in steps:
            assert step.op is Op.TRANSPOSED
            assert (step.path, step.offset, step.size) == ("m.onnx", 4, weights.nbytes)
            assert step.axes is not None
            assert step.axes.exchanged(weights.tobytes()) == data[begin : begin + step.size]
        return [(begin, step.axes) for begin, step in steps]


@pytest.mark.parametrize(
    ("order", "axes"),
    [
        pytest.param((0, 2, 3, 1), Axes(6, 9, 4), id="channels last"),
        pytest.param((1, 2, 3, 0), Axes(8, 54, 4), id="outputs last"),
        pytest.param((1, 0, 2, 3), Axes(8, 6, 36), id="both channels"),
    ],
)
def test_layouts_are_found_as_often_as_they_are_there(
    bench: "Bench", order: tuple[int, ...], axes: Axes
) -> None:
    weights = array()
    turned = weights.transpose(order).tobytes()
    data = bytes(12) + turned + array(1).tobytes() + turned
    assert found(bench, weights, data) == [(12, axes), (12 + 2 * len(turned), axes)]


@pytest.mark.parametrize("at", [0, 70, -1])
def test_one_other_bit_is_another_tensor(bench: "Bench", at: int) -> None:
    weights = array()
    turned = bytearray(weights.transpose(0, 2, 3, 1).tobytes())
    turned[at] ^= 1
    assert found(bench, weights, bytes(turned)) == []


@pytest.mark.parametrize("end", [64, 100, -1])
def test_a_part_of_a_tensor_is_not_told_so(bench: "Bench", end: int) -> None:
    weights = array()
    assert found(bench, weights, weights.transpose(0, 2, 3, 1).tobytes()[:end]) == []


def test_a_tensor_that_begins_with_zeros_is_found(bench: "Bench") -> None:
    weights = array(shape=(4, 32, 3, 3))
    weights[0, :, 0] = 0  # so its first windows, channels last, are all alike
    turned = weights.transpose(0, 2, 3, 1).tobytes()
    assert found(bench, weights, b"plan" + turned) == [(4, Axes(32, 9, 4))]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        pytest.param((64,), set(), id="a vector"),
        pytest.param((1, 64), set(), id="a row"),
        pytest.param((64, 1, 1), set(), id="a column"),
        pytest.param((4, 5), set(), id="too small"),
        pytest.param((8, 16), {Axes(8, 16, 4)}, id="a matrix"),
        pytest.param((8, 1, 3, 3), {Axes(8, 9, 4)}, id="of one channel each"),
        pytest.param((0, 3), set(), id="nothing"),
    ],
)
def test_ways_that_change_something_are_tried_once(
    shape: tuple[int, ...], expected: set[Axes]
) -> None:
    size = 4 * int(np.prod(shape))
    tensor = Tensor("w", Dtype.F32, shape, 0, size, "")
    assert set(ways(tensor)) == expected


def test_a_shape_that_does_not_fit_its_bytes_is_let_be() -> None:
    assert list(ways(Tensor("w", Dtype.PACKED, (64, 64), 0, 2048, ""))) == []
