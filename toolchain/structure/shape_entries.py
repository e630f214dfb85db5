"""Where the numbers of a computed shape come from: `Concat(Shape(x)[0], [12], [-1])`."""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from .. import kernels

COPIED = 0  # in a Reshape: as long as the input's axis
REST = -1  # in a Reshape: what remains


@dataclass(frozen=True, slots=True)
class Entry:
    """One number of a shape.

    Attributes:
        node: The node that reads the constant, at input `index`.
        index: Which input.
        place: Where in the constant.
        number: What is there.
    """

    node: ir.Node
    index: int
    place: int
    number: int


def find_entry(node: ir.Node, index: int, place: int) -> Entry | None:
    """The constant that says how long axis `place` is; None where it is computed.

    Args:
        node: The node that reads the shape.
        index: Which input the shape is.
        place: Which number of it.
    """
    found = numbers(node, index)
    if found is not None:
        return Entry(node, index, place, found[place]) if 0 <= place < len(found) else None
    shape = node.inputs[index] if index < len(node.inputs) else None
    producer = None if shape is None else shape.producer()
    if producer is None or producer.op_type != "Concat":
        return None
    for part, value in enumerate(producer.inputs):
        length = 0 if value is None or value.shape is None else kernels.elements(value)
        if place < length:
            known = numbers(producer, part)
            return None if known is None else Entry(producer, part, place, known[place])
        if not length:
            break
        place -= length
    return None


def numbers(node: ir.Node, index: int, name: str = "") -> list[int] | None:
    """The integers of a constant input, or of the attribute that older opsets have instead."""
    attribute = node.attributes.get(name) if name else None
    if attribute is not None:
        value = attribute.value
        return [int(value)] if isinstance(value, int) else [int(n) for n in value]
    value = node.inputs[index] if index < len(node.inputs) else None
    tensor = kernels.constant(value)
    return None if tensor is None else [int(n) for n in np.atleast_1d(tensor.numpy())]
