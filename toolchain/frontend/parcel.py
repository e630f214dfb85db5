"""A model that travels between processes: bytes for the graph, arrays for the weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import onnx
import onnx_ir as ir

from ..engine import Array
from .skeleton import skeleton


@dataclass(frozen=True, slots=True)
class Parcel:
    """A model in parts that can be pickled, however large it is; arrays may be shared, read-only.

    Attributes:
        graph: A serialised ModelProto in which the large weights are inputs.
        weights: Type and numbers of each large weight.
    """

    graph: bytes
    weights: Mapping[str, tuple[int, Array]]

    @classmethod
    def of(cls, model: ir.Model) -> Self:
        """Pack a model; it is as before when this returns."""
        proto = skeleton(model)
        inside = {tensor.name for tensor in proto.graph.initializer}
        weights = {
            name: (int(value.const_value.dtype), value.const_value.numpy())
            for name, value in model.graph.initializers.items()
            if name not in inside and value.const_value is not None
        }
        return cls(proto.SerializeToString(), weights)

    def open(self) -> ir.Model:
        """The model again."""
        model: ir.Model = ir.from_proto(onnx.ModelProto.FromString(self.graph))
        graph = model.graph
        weights = [value for value in graph.inputs if str(value.name) in self.weights]
        while len(graph.inputs) and str(graph.inputs[-1].name) in self.weights:
            graph.inputs.pop()  # `skeleton` has put them last
        for value in weights:
            dtype, array = self.weights[str(value.name)]
            value.const_value = ir.Tensor(array, dtype=ir.DataType(dtype), name=value.name)
            graph.initializers.add(value)
        return model
