"""Known changes of an ONNX file: other names, other weights, other precision."""

from collections.abc import Callable, Iterator, Mapping

import ml_dtypes
import numpy as np
import onnx
from hwc.toolchain.engine import Array

FLOAT = onnx.TensorProto.FLOAT
NARROW = {"fp16": (onnx.TensorProto.FLOAT16, "<f2"), "bf16": (onnx.TensorProto.BFLOAT16, None)}


def written(model: onnx.ModelProto) -> bytes:
    """The file of a model."""
    data: bytes = model.SerializeToString()
    return data


def renamed(data: bytes) -> bytes:
    """The same model with other names for all its weights."""
    model = onnx.load_from_string(data)
    names = {one.name: f"renamed_{k}_{one.name}" for k, one in enumerate(model.graph.initializer)}
    for tensor in model.graph.initializer:
        tensor.name = names[tensor.name]
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
    return written(model)


def changed(data: bytes, change: Callable[[Array], Array], *, last: bool = False) -> bytes:
    """The same model with its floating-point weights changed; `last`: those of the last layer."""
    names = last_layer(data) if last else floats(data)
    return with_weights(data, {name: change(array) for name, array in floats(data, names).items()})


def with_weights(data: bytes, weights: Mapping[str, Array]) -> bytes:
    """The same model with other numbers in these weights."""
    model = onnx.load_from_string(data)
    for tensor in model.graph.initializer:
        if tensor.name in weights:
            tensor.ClearField("float_data")
            tensor.raw_data = weights[tensor.name].astype("<f4").tobytes()
    return written(model)


def narrowed(data: bytes, kind: str) -> bytes:
    """The same model with its weights stored in 16 bits, and a cast behind each.

    Args:
        data: The model, of float32 weights.
        kind: `fp16` or `bf16`.
    """
    model = onnx.load_from_string(data)
    number, dtype = NARROW[kind]
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != FLOAT:
            continue
        array = onnx.numpy_helper.to_array(tensor).astype(dtype or ml_dtypes.bfloat16)
        casts.append(
            onnx.helper.make_node("Cast", [f"{tensor.name}.{kind}"], [tensor.name], to=FLOAT)
        )
        tensor.ClearField("float_data")
        tensor.name, tensor.data_type, tensor.raw_data = casts[-1].input[0], number, array.tobytes()
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return written(model)


def floats(
    data: bytes, names: Mapping[str, Array] | frozenset[str] | None = None
) -> dict[str, Array]:
    """The float32 weights of a model, or those of these names, in the order of the file."""
    return {
        tensor.name: onnx.numpy_helper.to_array(tensor)
        for tensor in onnx.load_from_string(data).graph.initializer
        if tensor.data_type == FLOAT and (names is None or tensor.name in names)
    }


def trainable(data: bytes) -> frozenset[str]:
    """Names of the weights that training changes: not those of scalars, such as ReLU6's bounds."""
    return frozenset(name for name, array in floats(data).items() if array.ndim)


def last_layer(data: bytes) -> frozenset[str]:
    """Names of the weights of the last node."""
    return frozenset(floats(data, set(onnx.load_from_string(data).graph.node[-1].input)))


def projections(data: bytes) -> Iterator[str]:
    """Names of the square weights of matrix products: in a BERT, those around the attention."""
    model = onnx.load_from_string(data)
    read = {node.input[1] for node in model.graph.node if node.op_type == "MatMul"}
    for name, array in floats(data).items():
        if name in read and len(set(array.shape)) == 1:
            yield name


def noise(size: float, seed: int = 0) -> Callable[[Array], Array]:
    """Adds normal noise of this standard deviation."""
    rng = np.random.default_rng(seed)
    return lambda weights: weights + rng.normal(size=weights.shape) * size


def steps(most: int, seed: int = 0) -> Callable[[Array], Array]:
    """Moves each weight by up to so many units in the last place, each number of them as often."""
    rng = np.random.default_rng(seed)

    def moved(weights: Array) -> Array:
        by = rng.integers(-most, most + 1, weights.shape, dtype=np.int32)
        bits = weights.astype("<f4").view("<i4")
        # Away from 0, a step of the bits is one unit in the last place.
        away = (bits & 0x7FFFFFFF) > most
        return np.where(away, bits + by, bits).astype("<i4").view("<f4")

    return moved


def shuffled(seed: int = 0) -> Callable[[Array], Array]:
    """Puts the weights of each tensor in another order: no delta gains from those before."""
    rng = np.random.default_rng(seed)
    return lambda weights: rng.permutation(weights.reshape(-1)).reshape(weights.shape)
