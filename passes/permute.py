"""Puts channels into another order, in all that writes and reads them: the function stays."""

from collections.abc import Iterable, Mapping

import numpy as np
import onnx_ir as ir

from ..toolchain import kernels
from ..toolchain.engine import Array
from ..toolchain.errors import InputError
from ..toolchain.sparse.channels import best_orders
from ..toolchain.sparse.permute import Order
from ..toolchain.structure.find_groups import find_groups
from ..toolchain.structure.groups import ChannelGroup, Member
from .forms import constant

Place = tuple[str, str]  # a node, and a constant that it reads


def permute(
    model: ir.Model, groups: Iterable[ChannelGroup], orders: Mapping[str, Order]
) -> ir.Model:
    """A new graph with the units of some groups in another order.

    What writes the units, what reads them and what lies between follow one order, so every output
    of the graph is what it was, but for the order of floating-point sums.

    Args:
        model: The graph; it is not changed.
        groups: Channels that go together, as `find_groups` found them in it.
        orders: By the name of a group, which unit comes where; shape (units,).

    Raises:
        InputError: An order is none of the units of its group, or there is no such group.
    """
    known = {group.name: group for group in groups}
    model = model.clone()
    nodes = {str(node.name): node for node in model.graph}
    arrays: dict[Place, Array] = {}
    for name, order in orders.items():
        group = known.get(name)
        if group is None or not np.array_equal(np.sort(order), np.arange(group.units)):
            raise InputError(
                f"the order of channels of '{name}' is none of a group of this graph",
                "find the groups, and search their orders, in the graph that is rewritten",
            )
        for member in _once(group.members):
            place = (member.node, member.constant)
            array = arrays[place] if place in arrays else _array(nodes, place)
            arrays[place] = _moved(array, member, order)
    for (node, name), array in arrays.items():
        _write(model.graph, nodes[node], name, array)
    return model


def for_two_four(model: ir.Model) -> ir.Model:
    """The same function with its channels in the order in which 2:4 sparsity keeps most of them.

    Takes seconds for each thousand channels that another order may be given to.

    Args:
        model: The graph, with the shape of every tensor; it is not changed.
    """
    groups = find_groups(model).groups
    return permute(model, groups, best_orders(model, groups))


def _once(members: Iterable[Member]) -> Iterable[Member]:
    """Each place where units lie, once: a node may read one constant as two of its inputs."""
    return {
        (member.node, member.constant, member.axis, member.indices.tobytes()): member
        for member in members
    }.values()


def _array(nodes: Mapping[str, ir.Node], place: Place) -> Array:
    node, name = nodes.get(place[0]), place[1]
    read = (value for value in (node.inputs if node else ()) if value and value.name == name)
    tensor = kernels.constant(next(read, None))
    if tensor is None:
        raise InputError(
            f"node '{place[0]}' reads no constant '{name}'",
            "find the groups in the graph that is rewritten",
        )
    return tensor.numpy()


def _moved(array: Array, member: Member, order: Order) -> Array:
    """The array with each unit where the order wants it."""
    source = np.arange(array.shape[member.axis])
    source[member.indices] = member.indices[order]
    return np.ascontiguousarray(np.take(array, source, axis=member.axis))


def _write(graph: ir.Graph, node: ir.Node, name: str, array: Array) -> None:
    """Let a node read the moved constant, under its old name where nobody else reads it."""
    value = next(value for value in node.inputs if value is not None and value.name == name)
    alone = all(use.node is node for use in value.uses()) and not value.is_graph_output()
    if alone and value.const_value is not None:
        value.const_value = ir.tensor(array, name=name)
        return
    moved = constant(graph, f"{name}/{node.name}", array)
    for index, read in enumerate(node.inputs):
        if read is value:
            node.replace_input_with(index, moved)
