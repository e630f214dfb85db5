"""Blocks of a graph: stretches between tensors that all later nodes depend on, such as residuals.

What rounding does inside a block its own layers can make up for, and nothing else has to know: one
tensor leaves it (Li et al. 2021, "BRECQ: pushing the limit of post-training quantization by block
reconstruction", section 3.2).
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from .. import kernels
from .layers import Layer
from .walk import reads

_RUN = 3  # layers in a row, where there are no residuals


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch of a graph.

    Attributes:
        inputs: Names of the tensors that it reads, of the original.
        sources: The tensor of the written graph that stands for each input.
        output: Name of the tensor that leaves it.
        layers: Its layers with integers, in topological order.
    """

    inputs: tuple[str, ...]
    sources: Mapping[str, str]
    output: str
    layers: tuple[Layer, ...]

    @property
    def name(self) -> str:
        """What it is called: its first and last layers."""
        ends = dict.fromkeys((self.layers[0].name, self.layers[-1].name))
        return " to ".join(ends)


def find_blocks(
    original: ir.Model, written: ir.Model, layers: Sequence[Layer]
) -> tuple[Block, ...]:
    """The blocks that layers lie in, in topological order.

    Left out are blocks with an input that the written graph does not have.

    Args:
        original: The graph after the passes.
        written: What a plan made of it.
        layers: The layers of the plan with integers.
    """
    own = {layer.name: layer for layer in layers}
    counterparts = {str(node.name): node for node in written.graph}
    given = {value.name for value in written.graph.inputs}
    found = []
    for nodes in _merged(_segments(original.graph, own), own):
        held = tuple(own[str(node.name)] for node in nodes if str(node.name) in own)
        if not held:
            continue
        inputs = _inputs(nodes)
        sources = {
            name: name if name in given else _source(name, nodes, counterparts) for name in inputs
        }
        known = {name: source for name, source in sources.items() if source is not None}
        if len(known) == len(inputs):
            output = str(nodes[-1].outputs[0].name)
            found.append(Block(tuple(inputs), known, output, held))
    return tuple(found)


def _segments(graph: ir.Graph, layers: Collection[str]) -> Iterator[list[ir.Node]]:
    """Nodes up to each place where one tensor is all that later nodes know of the layers so far."""
    last = {value: place for place, node in enumerate(graph) for value in reads(node)}
    last |= dict.fromkeys(graph.outputs, len(graph))
    behind: set[ir.Value] = set()  # tensors that depend on a layer, and are still to be read
    nodes: list[ir.Node] = []
    for place, node in enumerate(graph):
        nodes.append(node)
        if node.name in layers or behind & set(reads(node)):
            behind.update(node.outputs)
        behind = {value for value in behind if last.get(value, -1) > place}
        if len(behind) == 1 and node.outputs[0] in behind:
            yield nodes
            nodes = []


def _merged(segments: Iterable[list[ir.Node]], layers: Collection[str]) -> Iterator[list[ir.Node]]:
    """Segments, those without layers with the one before them, and runs of single layers as one."""
    block: list[ir.Node] = []
    count, alone = 0, True
    for nodes in segments:
        more = sum(str(node.name) in layers for node in nodes)
        if more and count and not (alone and more == 1 and count < _RUN):
            yield block
            block, count, alone = [], 0, True
        block = [*block, *nodes]
        count, alone = count + more, alone and more <= 1
    if block:
        yield block


def _inputs(nodes: Sequence[ir.Node]) -> list[str]:
    """The tensors from outside that differ from sample to sample."""
    made = {value for node in nodes for value in node.outputs}
    read = dict.fromkeys(value for node in nodes for value in reads(node))
    return [
        str(value.name)
        for value in read
        if value is not None and value not in made and kernels.constant(value) is None
    ]


def _source(name: str, nodes: Sequence[ir.Node], counterparts: Mapping[str, ir.Node]) -> str | None:
    """What the first node of a block that reads a tensor has in its place in the written graph."""
    for node in nodes:
        for index, value in enumerate(node.inputs):
            other = counterparts.get(str(node.name))
            if value is None or value.name != name or other is None:
                continue
            held = other.inputs[index] if index < len(other.inputs) else None
            if held is not None and held.name is not None:
                return held.name
    return None
