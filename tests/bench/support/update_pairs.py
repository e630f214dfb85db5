"""Pairs of versions of a model: found beside the checkout, or made of a model by known changes."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import onnx
from hwc.toolchain.engine import Array

from .devkit import FOLDER, SkipError

EFFICIENTNET = FOLDER / "models" / "efficientnet_lite0.onnx"
_FOUND = {
    "resnet20, fine-tuned": ("models/resnet20_cifar10.onnx", "models/resnet20_cifar10_v2.onnx"),
    "wake word, graph alone": (
        "pairs/oww_embedding_0.4.0.onnx",
        "pairs/oww_embedding_0.5.1.onnx",
    ),
    "voice, trained on": ("pairs/silero16k_6.0.0.onnx", "pairs/silero16k_6.2.0.onnx"),
    "resnet20 to resnet56": ("models/resnet20_cifar10.onnx", "models/resnet56_cifar10.onnx"),
}
_STEPS = 7  # largest step of the uniform noise, in units in the last place


@dataclass(frozen=True, slots=True)
class Pair:
    """Two versions of a model.

    Attributes:
        name: What happened between them.
        old: The ONNX file of the one.
        new: Of the other.
        limit: Bytes that no delta can do without, by the entropy of the change; None where it is
            not known.
    """

    name: str
    old: bytes
    new: bytes
    limit: float | None = None


def pairs() -> Iterator[Pair]:
    """All pairs whose files are there.

    Raises:
        SkipError: None is.
    """
    if not EFFICIENTNET.is_file():
        raise SkipError(f"no development models: {EFFICIENTNET} is not there")
    for name, (old, new) in _FOUND.items():
        yield Pair(name, (FOLDER / old).read_bytes(), (FOLDER / new).read_bytes())
    model = onnx.load(EFFICIENTNET)
    old = model.SerializeToString()
    rng = np.random.default_rng(0)
    yield Pair("renamed", old, renamed(model))
    noise = partial(_normal, rng, 1e-5)
    yield Pair("normal noise of 1e-5", old, changed(old, noise))
    yield Pair("the same, last layer", old, changed(old, noise, last=True))
    new = changed(old, partial(_uniform, rng))
    bits = math.log2(2 * _STEPS + 1) * sum(_weights(tensor).size for tensor in _floats(old))
    yield Pair(f"uniform noise of {_STEPS} ULP", old, new, bits / 8)
    yield Pair("trained again", old, changed(old, partial(_again, rng)))


def renamed(model: onnx.ModelProto) -> bytes:
    """The same model with other names for all its weights."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    names = {one.name: f"renamed_{k}_{one.name}" for k, one in enumerate(copy.graph.initializer)}
    for tensor in copy.graph.initializer:
        tensor.name = names[tensor.name]
    for node in copy.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
    return copy.SerializeToString()


def changed(data: bytes, change: Callable[[Array], Array], *, last: bool = False) -> bytes:
    """The same model with its floating-point weights changed; `last`: those of the last layer."""
    model = onnx.load_from_string(data)
    layer = set(model.graph.node[-1].input)
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and (not last or tensor.name in layer):
            tensor.raw_data = change(_weights(tensor)).astype("<f4").tobytes()
    return model.SerializeToString()


def _floats(data: bytes) -> Iterator[onnx.TensorProto]:
    for tensor in onnx.load_from_string(data).graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            yield tensor


def _weights(tensor: onnx.TensorProto) -> Array:
    return onnx.numpy_helper.to_array(tensor).reshape(-1)


def _normal(rng: np.random.Generator, size: float, weights: Array) -> Array:
    return weights + rng.normal(size=weights.shape) * size


def _uniform(rng: np.random.Generator, weights: Array) -> Array:
    steps = rng.integers(-_STEPS, _STEPS + 1, weights.shape, dtype=np.int32)
    bits = weights.astype("<f4").view("<i4")
    # Away from 0, a step of the bits is one unit in the last place.
    away = (bits & 0x7FFFFFFF) > _STEPS
    return np.where(away, bits + steps, bits).astype("<i4").view("<f4")


def _again(rng: np.random.Generator, weights: Array) -> Array:
    return rng.permutation(weights)
