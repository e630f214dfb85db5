"""Outputs are recognised for what they are."""

import numpy as np
import pytest
from hwc.toolchain.accuracy.kinds import Kind, class_rows, kind_of, looks_like_classes
from hwc.toolchain.engine import Array

RNG = np.random.default_rng(0)


def softmax(x: Array, axis: int) -> Array:
    """Probabilities in float32."""
    e = np.exp(x - x.max(axis, keepdims=True))
    return (e / e.sum(axis, keepdims=True)).astype(np.float32)


def many(*shape: int, scale: float = 1.0) -> list[Array]:
    """Eight outputs of a shape."""
    return [(RNG.normal(size=shape) * scale).astype(np.float32) for _ in range(8)]


def unit(shape: tuple[int, ...]) -> list[Array]:
    """Eight embeddings of unit length."""
    return [x / np.linalg.norm(x) for x in many(*shape)]


CLASSES = [
    pytest.param(many(1, 10, scale=8), Kind.CLASSES, (-1, 10), id="logits"),
    pytest.param(many(1, 10, 1, 1, scale=8), Kind.CLASSES, (-1, 10), id="logits as a map"),
    pytest.param(many(10, scale=8), Kind.CLASSES, (-1, 10), id="logits without batch"),
    pytest.param(
        [softmax(x, 1) for x in many(1, 10, scale=0.1)], Kind.CLASSES, (-1, 10), id="softmax"
    ),
    pytest.param([softmax(x, -1) for x in many(1, 7, 9)], Kind.SEQUENCE, (-1, 9), id="sequence"),
    pytest.param([softmax(x, 1) for x in many(1, 4, 5, 5)], Kind.MAP, (1, 4), id="NCHW map"),
    pytest.param([softmax(x, -1) for x in many(1, 5, 5, 4)], Kind.MAP, (-1, 4), id="NHWC map"),
    pytest.param([np.array([3])] * 2, Kind.DISCRETE, (-1, 1), id="integers"),
    pytest.param([np.array(["a"])] * 2, Kind.DISCRETE, (-1, 1), id="text"),
]
VALUES = [
    pytest.param(unit((1, 64)), ((1, 64),), id="unit embedding"),
    pytest.param(many(1, 64, scale=0.3), ((1, 64),), id="embedding"),
    pytest.param(many(1, 1), ((1, 1),), id="one score"),
    pytest.param(many(2, 1, 16, scale=8), ((1, 1), (2, 16)), id="state"),
    pytest.param(many(1, 50, 85), ((1, 50), (2, 85)), id="detections"),
    pytest.param(many(1, 6, 5000), ((1, 6),), id="detections, channels first"),
    pytest.param(many(1, 6, 5, 5), ((1, 6), (3, 5)), id="feature map"),
    pytest.param([np.ones((), np.float32)] * 2, ((-1, 1),), id="rank 0"),
    pytest.param([np.ones((1, n), np.float32) for n in (3, 4)], ((-1, 1),), id="length varies"),
    pytest.param(
        [np.ones((1, n, 6), np.float32) for n in (3, 4)], ((2, 6),), id="number of boxes varies"
    ),
]


@pytest.mark.parametrize(("arrays", "kind", "axis"), CLASSES)
def test_classes(arrays: list[Array], kind: Kind, axis: tuple[int, int]) -> None:
    """Kind, class axis and number of classes."""
    found = kind_of(arrays)
    assert (found.kind, (found.axis, found.size)) == (kind, axis)
    assert found.why


@pytest.mark.parametrize(("arrays", "channels"), VALUES)
def test_values(arrays: list[Array], channels: tuple[tuple[int, int], ...]) -> None:
    """The axes that may count channels."""
    found = kind_of(arrays)
    assert (found.kind, found.channels) == (Kind.VALUES, channels)
    assert found.one_unit == found.why.endswith("unit length")


def test_the_most_common_class_is_found() -> None:
    """The blank of a sequence."""
    logits = np.zeros((1, 10, 4))
    logits[..., 2] = 5
    logits[0, 3, 1] = 9
    assert kind_of([softmax(logits, -1)]).common == 2


def test_class_rows() -> None:
    """All forms of class scores become [batch, K]."""
    assert class_rows(np.zeros(5)).shape == (1, 5)
    assert class_rows(np.zeros((2, 5, 1, 1))).shape == (2, 5)
    assert looks_like_classes(np.zeros((2, 5)))
    assert not looks_like_classes(np.zeros((2, 5, 3)))
    assert not looks_like_classes(np.zeros((2, 1)))
    assert not looks_like_classes(np.zeros((2, 5), int))
    assert not looks_like_classes(np.zeros(()))
