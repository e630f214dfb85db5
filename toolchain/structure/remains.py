"""What is left of a graph whose structure was changed: its work, its weights, its channels."""

from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir as ir

from ..kernels import channels, constant, elements, is_float, macs
from .site import owner


@dataclass(frozen=True, slots=True)
class Extent:
    """How large a graph is.

    Attributes:
        macs: Multiply-accumulates of one inference.
        weights: Numbers of all float constants, each counted once.
    """

    macs: int
    weights: int

    @classmethod
    def of(cls, model: ir.Model) -> "Extent":
        """The extent of a graph whose tensors have shapes."""
        nodes = tuple(model.graph)
        read = {id(v): v for node in nodes for v in node.inputs if v is not None}
        constants = [v for v in read.values() if constant(v) is not None and is_float(v)]
        return cls(sum(map(macs, nodes)), sum(map(elements, constants)))


def kept_channels(before: ir.Model, after: ir.Model) -> dict[str, float]:
    """The fraction of the channels that each node with a weight still writes; 0: it is gone.

    Args:
        before: The graph as it was.
        after: The same with fewer channels, or with factors for weights: the last one writes what
            the node wrote.
    """
    left = dict(_written(after))
    return {node: left.get(node, 0) / count for node, count in _written(before)}


def _written(model: ir.Model) -> Iterator[tuple[str, int]]:
    """Nodes with a weight, by the name of the node that they were made from, and their channels."""
    for node in model.graph:
        if count := channels(node):
            yield owner(str(node.name)), count
