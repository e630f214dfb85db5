"""Walks over the protobuf form of a graph, subgraphs included."""

from collections.abc import Iterable, Iterator

import onnx

from .messages import one_line


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The bodies of a control-flow node."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Every node of the graph and of the bodies inside it."""
    for node in graph.node:
        yield node
        for body in subgraphs(node):
            yield from nodes(body)


def node_tensors(graph_nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    """The tensors that travel inside nodes: attributes, and whatever their bodies hold."""
    for node in graph_nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
        for body in subgraphs(node):
            yield from body.initializer
            yield from node_tensors(body.node)


def all_tensors(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor of the model: initialisers, attributes, bodies and model-local functions."""
    yield from proto.graph.initializer
    yield from node_tensors(proto.graph.node)
    for function in proto.functions:
        yield from node_tensors(function.node)


def texts(proto: onnx.ModelProto) -> Iterator[str]:
    """Every name in the model that something else refers to."""
    yield from _graph_texts(proto.graph)
    yield from (entry.domain for entry in proto.opset_import)
    for function in proto.functions:
        yield from (function.domain, function.name, *function.input, *function.output)
        yield from (entry.domain for entry in function.opset_import)
        yield from _node_texts(function.node)


def _graph_texts(graph: onnx.GraphProto) -> Iterator[str]:
    yield graph.name
    yield from (tensor.name for tensor in graph.initializer)
    for value in (*graph.input, *graph.output, *graph.value_info):
        yield value.name
        yield from (dim.dim_param for dim in value.type.tensor_type.shape.dim)
    yield from _node_texts(graph.node)


def _node_texts(graph_nodes: Iterable[onnx.NodeProto]) -> Iterator[str]:
    for node in graph_nodes:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)
        for body in subgraphs(node):
            yield from _graph_texts(body)


def is_external(tensor: onnx.TensorProto) -> bool:
    """Whether the tensor's bytes lie in another file."""
    return tensor.data_location == onnx.TensorProto.EXTERNAL


def label(node: onnx.NodeProto) -> str:
    """What a message calls the node: its name, or what it writes."""
    outputs = ", ".join(name for name in node.output if name)
    return (
        f"node {node.name!r}"
        if node.name
        else f"the {one_line(node.op_type)} that writes {outputs!r}"
    )
