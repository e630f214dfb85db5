"""Weights that are not there: a graph alone says what a model costs, so a shape stands in for each.

A file lacks weights where its external data is missing, where its initialisers hold no values, or
where an exporter made them inputs.
"""

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

from ..errors import InputError
from ..kernels import FLOATS
from .external import SMALL, is_missing
from .protos import is_external
from .tensors import holds_nothing, payload_bytes

_WEIGHTS: Mapping[str, frozenset[int]] = {  # of which inputs an exporter makes weights
    **dict.fromkeys(("Conv", "ConvTranspose", "Gemm"), frozenset({1, 2})),
    "BatchNormalization": frozenset({1, 2, 3, 4}),
    **dict.fromkeys(("LayerNormalization", "InstanceNormalization"), frozenset({1, 2})),
    "GroupNormalization": frozenset({1, 2}),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), frozenset({1, 2, 3})),
    **dict.fromkeys(("MatMul", "PRelu"), frozenset({1})),
}
_ROWS = frozenset({"Add", "Mul", "Sub", "Div"})  # a bias or a scale: of lower rank than the result
_STEPS = 512  # distinct values that even float16 tells apart between 0.5 and 1


def detach(proto: onnx.ModelProto, source: str, folder: Path) -> frozenset[str]:
    """Make inputs of the initialisers of the main graph whose values are not there, in place.

    Args:
        proto: The model as it was read.
        source: What messages call it.
        folder: Where its external data should lie.

    Returns:
        Their names.

    Raises:
        InputError: One is too small to be a weight: shapes may follow from its values. Or a path
            leaves the folder.
    """
    graph = proto.graph
    present = {value.name for value in graph.input}
    absent: set[str] = set()
    for index in reversed(range(len(graph.initializer))):
        tensor = graph.initializer[index]
        if not (is_missing(tensor, folder) if is_external(tensor) else holds_nothing(tensor)):
            continue
        if payload_bytes(tensor) <= SMALL and ir.DataType(tensor.data_type) not in FLOATS:
            raise _needed(tensor.name, source)
        absent.add(tensor.name)
        if tensor.name not in present:
            graph.input.append(
                onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            )
        del graph.initializer[index]
    for node in graph.node:  # the only ones that read shapes off floats
        if node.op_type in {"Resize", "Upsample"} and (lost := absent.intersection(node.input[1:])):
            raise _needed(min(lost), source)
    return frozenset(absent)


def stand_in(model: ir.Model, absent: Collection[str]) -> int:
    """Make initialisers of the inputs that are weights, in place, with made-up values.

    Weights are what `detach` found, and inputs of fixed shape that every reader takes where weights
    go; the first input never is one. Values are equal within a tensor, which then takes no memory,
    and differ between neighbours, so that passes do not merge them.

    Returns:
        How many there are.
    """
    graph = model.graph
    first = next((value for value in graph.inputs if value.name not in absent), None)
    weights = [
        value
        for value in graph.inputs
        if value.name in absent or (value is not first and _is_weight(value))
    ]
    for index, value in enumerate(weights):
        graph.inputs.remove(value)
        value.const_value = _made_up(value, index)
        graph.register_initializer(value)
    return len(weights)


def _needed(name: str, source: str) -> InputError:
    hint = "take out large weights only, and keep the small constants"
    return InputError(f"{source} lacks the values of {name!r}, which shapes follow from", hint)


def _is_weight(value: ir.Value) -> bool:
    if value.dtype not in FLOATS or value.shape is None or not value.shape.is_static():
        return False
    uses = list(value.uses())
    return bool(uses) and all(_takes_weight(use.node, use.idx, value) for use in uses)


def _takes_weight(node: ir.Node, index: int, value: ir.Value) -> bool:
    if node.op_type in _ROWS and value.shape is not None:
        result = node.outputs[0].shape
        return result is not None and len(value.shape) < len(result)
    return not node.domain and index in _WEIGHTS.get(node.op_type, ())


def _made_up(value: ir.Value, index: int) -> ir.TensorProtocol:
    if value.dtype is None or value.shape is None:
        raise ValueError(f"{value.name} has no type or shape")
    number = 0.5 + index % _STEPS / (2 * _STEPS) if value.dtype in FLOATS else 1
    scalar = np.array(number).astype(value.dtype.numpy())
    array = np.broadcast_to(scalar, value.shape.numpy())
    return ir.Tensor(array, dtype=value.dtype, name=value.name)
