"""Writing to a graph: every change that a rewrite makes goes through one `Editor`."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir
from onnx_ir.convenience import convert_attributes

from .match import Array, static

Attributes = Mapping[str, int | float | str | Sequence[int]]


class Editor:
    """Rewrites the main graph of a model, keeping names unique and the graph's outputs named.

    Args:
        model: The model; its subgraphs are read for names, never written.
        opset_max: The highest opset that the target reads: no newer op is introduced.
    """

    def __init__(self, model: ir.Model, opset_max: int) -> None:
        self.graph = model.graph
        self.opset = model.graph.opset_imports.get("", 1)
        self._opset_max = opset_max
        self._names: set[str] = set()

    def allows(self, version: int) -> bool:
        """Whether an op that came with opset `version` may be written."""
        return version <= min(self.opset, self._opset_max)

    def unique(self, wanted: str) -> str:
        """A value name that no value of the model has, subgraphs included, and keep it taken."""
        if not self._names:
            self._names = _value_names(self.graph)
        name, count = wanted, 0
        while name in self._names:
            count += 1
            name = f"{wanted}_{count}"
        self._names.add(name)
        return name

    def initializer(self, array: Array, wanted: str) -> ir.Value:
        """A new constant of the graph."""
        return self.lift(ir.tensor(np.ascontiguousarray(array)), self.unique(wanted))

    def lift(self, tensor: ir.TensorProtocol, name: str) -> ir.Value:
        """Register a tensor as an initialiser under a name that is free."""
        value = ir.Value(
            name=name,
            type=ir.TensorType(tensor.dtype),
            shape=ir.Shape(static(tensor)),
            const_value=tensor,
        )
        self.graph.register_initializer(value)
        return value

    def set_constant(self, node: ir.Node, index: int, array: Array, wanted: str) -> None:
        """Make input `index` this array: in place where nothing else reads the old one."""
        old = node.inputs[index] if index < len(node.inputs) else None
        if old is not None and len(old.uses()) == 1 and not old.is_graph_output():
            old.const_value = ir.tensor(np.ascontiguousarray(array))
            old.shape = ir.Shape(array.shape)
            return
        if index >= len(node.inputs):
            node.resize_inputs(index + 1)
        node.replace_input_with(index, self.initializer(array, wanted))

    def can_forward(self, old: ir.Value, new: ir.Value) -> bool:
        """Whether readers of `old` can read `new` and every graph output keeps its name."""
        if not old.is_graph_output():
            return True
        node = new.producer()
        return node is not None and node.graph is self.graph and not new.is_graph_output()

    def forward(self, old: ir.Value, new: ir.Value) -> None:
        """Let all readers of `old` read `new`, and remove what only `old` needed."""
        node = old.producer()
        if old.is_graph_output():
            self.rename(new, old)
        elif new.shape is None:
            new.shape = old.shape
        old.replace_all_uses_with(new, replace_graph_outputs=True)
        if node is not None:
            self.drop(node)

    def rename(self, new: ir.Value, old: ir.Value) -> None:
        """Let `new` take the name, type and shape of `old`, which is about to go."""
        name, old.name = old.name, None
        new.name = name
        new.type = old.type or new.type
        new.shape = old.shape if old.shape is not None else new.shape

    def absorb(self, last: ir.Node, into: ir.Node) -> None:
        """Let `into` write what `last`, its only reader, wrote, under that tensor's name."""
        old, new = last.outputs[0], into.outputs[0]
        self.rename(new, old)
        old.replace_all_uses_with(new, replace_graph_outputs=True)
        self.drop(last)

    def become(
        self,
        node: ir.Node,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Attributes | None = None,
    ) -> None:
        """Turn a node into another op; its name, its first output and their readers stay."""
        old = [value for value in node.inputs if value is not None]
        node.op_type = op_type
        node.resize_inputs(len(inputs))
        for index, value in enumerate(inputs):
            node.replace_input_with(index, value)
        node.attributes.clear()
        for attribute in convert_attributes(attributes or {}):
            node.attributes.add(attribute)
        self.prune(old)

    def reroute(self, node: ir.Node, index: int, value: ir.Value) -> None:
        """Let input `index` of a node be `value`, and remove what only the old input needed."""
        old = node.inputs[index]
        node.replace_input_with(index, value)
        self.prune([old] if old is not None else [])

    def insert_before(self, node: ir.Node, new: ir.Node) -> None:
        """Put a new node before `node`; its values get free names."""
        for value in new.outputs:
            value.name = self.unique(value.name or f"{node.outputs[0].name}.in")
        self.graph.insert_before(node, new)

    def drop(self, node: ir.Node) -> None:
        """Remove a node that nothing reads, and what only it needed."""
        inputs = [value for value in node.inputs if value is not None]
        self.graph.remove(node, safe=True)
        self.prune(inputs)

    def prune(self, values: Sequence[ir.Value]) -> None:
        """Remove the nodes and initialisers behind `values` that nothing reads any more."""
        stack = list(values)
        while stack:
            value = stack.pop()
            if value.uses() or value.is_graph_output() or value.is_graph_input():
                continue
            if value.is_initializer():
                self.graph.initializers.pop(value.name or "", None)
                continue
            node = value.producer()
            if node is None or node.graph is not self.graph or _is_read(node):
                continue
            stack += [operand for operand in node.inputs if operand is not None]
            self.graph.remove(node, safe=True)


def _is_read(node: ir.Node) -> bool:
    return any(output.uses() or output.is_graph_output() for output in node.outputs)


def _value_names(graph: ir.Graph) -> set[str]:
    names = {value.name for value in graph.inputs} | set(graph.initializers)
    for node in ir.traversal.RecursiveGraphIterator(graph):
        names.update(value.name for value in node.outputs)
    for inner in graph.subgraphs():
        names |= {value.name for value in inner.inputs} | set(inner.initializers)
    return {name for name in names if name}
