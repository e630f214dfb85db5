"""The forms in which each tensor of a graph can be read: float types and quantised."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..toolchain.naming import derived
from .quantize import Affine

HALF_QUANTIZE = 19  # the first opset in which QuantizeLinear takes float16
SUFFIX = {
    ir.DataType.FLOAT: "fp32",
    ir.DataType.FLOAT16: "fp16",
    ir.DataType.BFLOAT16: "bf16",
    ir.DataType.DOUBLE: "fp64",
}


class Forms:
    """Hands out a tensor in the form that its reader wants, inserting the conversion once.

    Args:
        graph: The graph that is being written.
        mapping: The quantisation of a tensor, by name.
    """

    def __init__(self, graph: ir.Graph, mapping: Callable[[str], Affine]) -> None:
        self.graph = graph
        self.added: set[ir.Node] = set()
        self._mapping = mapping
        self._original: dict[ir.Value, ir.DataType] = {}
        self._quantised: set[ir.Value] = set()
        self._source: dict[ir.Value, ir.Value] = {}
        self._made: dict[tuple[ir.Value, str], ir.Value] = {}

    def produced(
        self,
        value: ir.Value,
        dtype: ir.DataType,
        *,
        quantised: bool = False,
        source: ir.Value | None = None,
    ) -> None:
        """Note that `value` is now written in a float type, or is to be read quantised only.

        `source` is the value that really carries it, where the node that wrote it was absorbed.
        """
        self._original.setdefault(value, value.dtype or ir.DataType.FLOAT)
        self._source[value] = source or value
        # A new type: a cloned value shares the type object of the value that it was cloned from.
        self._source[value].type = ir.TensorType(dtype)
        if quantised:
            self._quantised.add(value)

    def changed(self) -> list[ir.Value]:
        """The tensors that readers which know nothing of the plan must not read as they are."""
        return [
            value
            for value, source in self._source.items()
            if value in self._quantised
            or source is not value
            or source.dtype is not self._original[value]
        ]

    def original(self, value: ir.Value) -> ir.DataType:
        """The float type that the tensor had before the plan."""
        return self._original.get(value, value.dtype or ir.DataType.FLOAT)

    def as_float(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        """The tensor in a float type."""
        if value in self._quantised:
            return self.as_int8(value, dtype)
        source = self._source.get(value, value)
        if source.dtype is dtype:
            return source
        return self._cast(value, source, dtype)

    def _cast(self, value: ir.Value, source: ir.Value, dtype: ir.DataType) -> ir.Value:
        return self._insert(value, SUFFIX[dtype], "Cast", [source], {"to": int(dtype)}, dtype)

    def rounded(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        """The tensor in fp32, every number rounded to another float type."""
        full = ir.DataType.FLOAT
        narrow = self._cast(value, self.as_float(value, full), dtype)
        form = derived(SUFFIX[dtype], SUFFIX[full])
        return self._insert(value, form, "Cast", [narrow], {"to": int(full)}, full)

    def as_int8(self, value: ir.Value, dtype: ir.DataType, *, channels: int = 0) -> ir.Value:
        """The tensor through QuantizeLinear and DequantizeLinear, in a float type.

        With `channels`, zero channels are added to the integers (axis 1) up to that number.
        """
        name = str(value.name)
        affine = self._mapping(name)
        source = self._source.get(value, value)
        old = self.graph.opset_imports.get("", HALF_QUANTIZE) < HALF_QUANTIZE
        if old and source.dtype is not ir.DataType.FLOAT:
            source = self._cast(value, source, ir.DataType.FLOAT)
        zero = self._constant(derived(name, "zero"), affine.zero_point)
        scale = self._scale(name, affine, source.dtype or ir.DataType.FLOAT)
        inside = ir.DataType.from_numpy(affine.zero_point.dtype)
        integers = self._insert(value, "q", "QuantizeLinear", [source, scale, zero], {}, inside)
        if channels:
            integers = self._pad(value, integers, channels, zero)
        form = derived("dq", SUFFIX[dtype]) if dtype is not ir.DataType.FLOAT else "dq"
        form = derived("pad", form) if channels else form
        scale = self._scale(name, affine, dtype)
        read = self._insert(value, form, "DequantizeLinear", [integers, scale, zero], {}, dtype)
        read.shape = integers.shape  # which may be padded
        return read

    def _pad(self, value: ir.Value, integers: ir.Value, channels: int, zero: ir.Value) -> ir.Value:
        shape = value.shape
        rank = len(shape) if shape is not None else 4
        pads = np.zeros(2 * rank, np.int64)
        pads[rank + 1] = channels
        amount = self._constant(derived(derived(str(value.name), "pad"), "q"), pads)
        dtype = integers.dtype or ir.DataType.UINT8
        padded = self._insert(value, "pad", "Pad", [integers, amount, zero], {}, dtype)
        if shape is not None and isinstance(shape[1], int):
            padded.shape = ir.Shape([shape[0], shape[1] + channels, *shape[2:]])
        return padded

    def _scale(self, name: str, affine: Affine, dtype: ir.DataType) -> ir.Value:
        scale = affine.scale.astype(dtype.numpy())
        label = derived(name, "scale")
        return self._constant(
            label if dtype is ir.DataType.FLOAT else derived(label, SUFFIX[dtype]), scale
        )

    def _constant(self, name: str, array: npt.NDArray[Any]) -> ir.Value:
        return constant(self.graph, name, array)

    def _insert(  # noqa: PLR0913, PLR0917 - the parts of one node
        self,
        value: ir.Value,
        form: str,
        op: str,
        inputs: list[ir.Value],
        attributes: dict[str, int],
        dtype: ir.DataType,
    ) -> ir.Value:
        made = self._made.get((value, form))
        if made is not None:
            return made
        name = derived(str(value.name), form)
        out = ir.Value(name=name, type=ir.TensorType(dtype), shape=value.shape)
        node = ir.node(op, inputs, attributes, outputs=[out], name=name)
        before = inputs[0].producer()
        if before is not None:
            self.graph.insert_after(before, node)
        else:
            self.graph.insert_before(self.graph[0], node)
        self.added.add(node)
        self._made[value, form] = out
        return out


def constant(graph: ir.Graph, name: str, array: npt.NDArray[Any]) -> ir.Value:
    """The initialiser of that name, made from `array` where the graph has none yet."""
    present = graph.initializers.get(name)
    if present is not None:
        return present
    tensor = ir.tensor(array, name=name)
    value = ir.Value(
        name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(array.shape), const_value=tensor
    )
    graph.register_initializer(value)
    return value
