"""In which order the channels of a model lose least to 2:4, group by group."""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import onnx_ir as ir

from .. import kernels
from ..structure.groups import ChannelGroup, Member, Role
from .nodes import reduction
from .pattern import OF, Floats, scores
from .permute import ESCAPES, Order, best_order


def best_orders(
    model: ir.Model, groups: Iterable[ChannelGroup], *, escapes: int = ESCAPES, seed: int = 0
) -> Mapping[str, Order]:
    """The order of each group's units that keeps the most magnitude in all its readers together.

    Args:
        model: The graph that the groups are of.
        groups: Channels that go together.
        escapes: See `best_order`.
        seed: See `best_order`.

    Returns:
        By the name of the group, which unit comes where; only of groups that gain.
    """
    orders: dict[str, Order] = {}
    for group in groups:
        rows = list(_rows(model, group))
        if not rows:
            continue
        order = best_order(np.concatenate(rows), escapes=escapes, seed=seed)
        if (order != np.arange(len(order))).any():
            orders[group.name] = order
    return orders


def _rows(model: ir.Model, group: ChannelGroup) -> Iterator[Floats]:
    """What each weight that reads the units counts; shape (rows, units) each."""
    nodes = {node.name: node for node in model.graph}
    for member in group.members:
        node = nodes.get(member.node)
        if member.role is not Role.READS or node is None or not _in_fours(member):
            continue
        value = node.inputs[1] if len(node.inputs) > 1 else None
        tensor = kernels.constant(value)
        if value is None or tensor is None or value.name != member.constant:
            continue
        if reduction(node) == member.axis:
            read = np.take(tensor.numpy(), member.indices[:, 0], axis=member.axis)
            yield np.moveaxis(scores(read), member.axis, -1).reshape(-1, group.units)


def _in_fours(member: Member) -> bool:
    """Whether the units lie one beside the other, so that four of them are four of the pattern."""
    units, width = member.indices.shape
    first = int(member.indices[0, 0]) if units else 0
    beside = np.array_equal(member.indices[:, 0], first + np.arange(units))
    return width == 1 and beside and first % OF == 0 and units % OF == 0
