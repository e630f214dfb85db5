"""From a graph to its channel groups: what can be removed, and what must go with it."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from .. import kernels
from .channels import Ids
from .follow_elements import ELEMENTS
from .follow_moves import MOVES
from .follow_products import PRODUCTS
from .groups import ChannelGroup, ChannelGroups, Indices, Member, Role, Skipped
from .trace import Trace


def find_groups(model: ir.Model) -> ChannelGroups:
    """Group the channels that can only be removed together.

    Every channel gets an identity where it is written; identities are united where an operator
    takes two channels as one. Channels with the same places form a group.

    Args:
        model: The graph, with the shape of every tensor (`observe.annotate`); it is not changed.
    """
    trace = Trace({**ELEMENTS, **MOVES, **PRODUCTS})
    for node in model.graph:
        trace.follow(node)
    _pin_shared(model, trace)
    for value in model.graph.outputs:
        for ids in trace.of(value):
            trace.channels.pin([ids], str(value.name), "it is an output of the graph")
    return ChannelGroups(tuple(_groups(model, trace)), tuple(_skipped(trace)))


def _groups(model: ir.Model, trace: Trace) -> Iterator[ChannelGroup]:
    nodes = {str(node.name): node for node in model.graph}
    order = {name: index for index, name in enumerate(nodes)}
    places = sorted(trace.channels.constants, key=lambda place: order[place.node])
    spots = [trace.channels.roots(trace.channels.constants[place]) for place in places]
    held = [
        (name, axis, trace.channels.roots(ids))
        for name, axes in trace.axes.items()
        for axis, ids in enumerate(axes)
        if ids is not None
    ]
    pinned = {trace.channels.root(identity) for identity in trace.channels.pinned}
    for units in _alike([*spots, *(ids for _, _, ids in held)], pinned):
        members = [
            Member(p.constant, p.axis, _where(ids, units), p.role, p.node)
            for p, ids in zip(places, spots, strict=True)
            if np.isin(units[0], ids)
        ]
        written = [
            m.node for m in members if m.role is Role.WRITES and nodes[m.node].op_type in PRODUCTS
        ]
        if not written:
            continue
        tensors = tuple((n, axis, _where(i, units)) for n, axis, i in held if np.isin(units[0], i))
        group = ChannelGroup(written[0], len(units), tuple(members), tensors)
        yield replace(group, vanishes=_vanishes(group, nodes))


def _alike(places: list[Ids], pinned: set[int]) -> list[Ids]:
    """Identities with the same places, and as often in each; in the order of their first one."""
    seen: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for index, ids in enumerate(places):
        for identity, count in zip(*np.unique(ids, return_counts=True), strict=True):
            seen[int(identity)].append((index, int(count)))
    groups: dict[tuple[tuple[int, int], ...], list[int]] = defaultdict(list)
    for index, ids in enumerate(places):
        for identity in dict.fromkeys(ids.tolist()):
            if identity not in pinned and seen[identity][0][0] == index:
                groups[tuple(seen[identity])].append(identity)
    return [np.array(ids, np.intp) for ids in groups.values()]


def _where(ids: Ids, units: Ids) -> Indices:
    """What each unit occupies along an axis; shape (units, width)."""
    return np.stack([np.flatnonzero(ids == unit) for unit in units])


def _pin_shared(model: ir.Model, trace: Trace) -> None:
    """Keep the channels of constants that some node reads in a way that was not followed."""
    readers = {(p.constant, p.axis, p.node) for p in trace.channels.constants}
    for place, ids in trace.channels.constants.items():
        for node, _ in model.graph.initializers[place.constant].uses():
            if (place.constant, place.axis, str(node.name)) not in readers:
                trace.pin([ids], node, f"it reads {place.constant}, too")


def _vanishes(group: ChannelGroup, nodes: Mapping[str, ir.Node]) -> bool:
    """Whether a graph without the group is the same graph with constants added in some places.

    Where all that reads the channels reads nothing else, and what it writes is added to a tensor
    that does not hang on them, as at the end of a residual branch.
    """
    held = {name for name, _, _ in group.tensors}
    readers = [m for m in group.members if m.role is Role.READS]
    return bool(readers) and all(_adds(nodes[m.node], m, held) for m in readers)


def _adds(node: ir.Node, member: Member, held: set[str]) -> bool:
    """Whether all that a node reads is in the group, and what it writes is only added."""
    weight, out = node.inputs[1], node.outputs[0]
    if weight is None or member.indices.size != kernels.dims(weight)[member.axis]:
        return False
    uses = list(out.uses())
    if len(uses) != 1 or out.is_graph_output() or uses[0].node.op_type != "Add":
        return False
    other = uses[0].node.inputs[1 - uses[0].idx]
    return (
        other is not None
        and kernels.is_activation(other)
        and other.name not in held
        and kernels.dims(other) == kernels.dims(out)
    )


def _skipped(trace: Trace) -> Iterator[Skipped]:
    """Where channels ended that could have gone, once for each node."""
    told = dict.fromkeys(
        (node, why) for node, why in trace.channels.pinned.values() if "not followed" in why
    )
    yield from (Skipped(node, why) for node, why in told)
