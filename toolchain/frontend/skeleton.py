"""A model without its weights, for the parts of onnx that only take a protobuf below 2 GiB."""

import onnx
import onnx_ir as ir

from .external import SMALL

_PLAIN_TYPES = frozenset({"FLOAT", "INT32", "INT64", "BOOL", "DOUBLE"})  # what old code reads


def skeleton(model: ir.Model) -> onnx.ModelProto:
    """The model as a protobuf in which its weights are inputs; small constants stay.

    Shape inference and version conversion look into small constants (axes, shapes, scales) and need
    only type and shape of the rest. The model is as before when this returns.
    """
    graph = model.graph
    initialisers = list(graph.initializers.values())
    count = len(graph.inputs)
    try:
        for value in initialisers:
            if not _is_small(value):
                graph.initializers.pop(str(value.name))
                graph.inputs.append(value)
        return ir.to_proto(model)
    finally:
        while len(graph.inputs) > count:
            graph.inputs.pop()  # `del` would leave the values marked as inputs
        graph.initializers.clear()
        for value in initialisers:
            graph.initializers.add(value)


def _is_small(value: ir.Value) -> bool:
    tensor = value.const_value
    return tensor is not None and tensor.nbytes <= SMALL and tensor.dtype.name in _PLAIN_TYPES
