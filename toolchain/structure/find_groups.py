"""Dependency analysis: which channels of a graph can only be removed together."""

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from .. import kernels
from ..operators import DEFAULT_DOMAINS
from .channel_ids import WHOLE, ChannelIds, Ids, rank
from .groups import ChannelGroup, ChannelGroups, Indices, Member, Skipped
from .rules import RULES, SOURCES
from .vanish import with_vanishing

_FEW = 2


def find_groups(model: ir.Model) -> ChannelGroups:
    """Find the channels of a graph, and put those together that can only go together.

    Each element of a tensor belongs to a channel; an operator makes channels one where it makes
    elements meet. What then occurs in the same tensors is one group. Inputs and outputs of the
    graph keep all of theirs, and so does whatever meets an operator that is not understood.

    Args:
        model: The graph after the passes, node names unique, with the shapes that shape inference
            finds. Where shapes are computed from free dimensions (attention with masks), a copy
            with the shapes that were seen (`observe.annotate`) tells more: names are the same, so
            that what is found there holds for the graph. Give free dimensions other lengths than 1.
    """
    ids = ChannelIds()
    for node in model.graph:
        _visit(node, ids)
    for value in model.graph.outputs:
        ids.unite(ids.grid(value), np.array(WHOLE))
    _keep_other_readers(model.graph, ids)
    places = _settled(ids)
    groups = with_vanishing(model.graph, tuple(_grouped(ids, places)))
    return ChannelGroups(groups, tuple(dict.fromkeys(ids.skipped)))


def _visit(node: ir.Node, ids: ChannelIds) -> None:
    """Pass channels through a node; where that cannot be done, they stay."""
    held = [value for value in node.inputs if value is not None and ids.is_held(value)]
    inner = _read_inside(node)
    rule = RULES.get(node.op_type) if node.domain in DEFAULT_DOMAINS else None
    if node.op_type != "Split" and any(map(_is_read, node.outputs[1:])):
        rule = None  # the indices of a MaxPool, the statistics of a norm
    if rule is None or inner or not all(map(_is_known, (*node.inputs, *node.outputs))):
        why = f"{node.op_type} is not understood" if rule is None else "its shapes are not known"
        _keep(node, [*held, *inner], ids, why)
        return
    if not held and node.op_type not in SOURCES:
        return
    why = rule(node, ids)
    if why:
        _keep(node, held, ids, why)


def _keep(node: ir.Node, held: list[ir.Value], ids: ChannelIds, why: str) -> None:
    """Let all channels stay that a node reads; name it where it has weights, or they could go."""
    for value in held:
        ids.pin(ids.grid(value), node, why)
    weights = [value for value in node.inputs if value is not None and kernels.constant(value)]
    if any(kernels.is_float(value) and rank(value) >= _FEW for value in weights):
        ids.skipped.append(Skipped(str(node.name), why))


def _is_known(value: ir.Value | None) -> bool:
    return value is None or not value.name or value.shape is not None


def _is_read(value: ir.Value) -> bool:
    return bool(value.uses()) or value.is_graph_output()


def _read_inside(node: ir.Node) -> list[ir.Value]:
    """Values of the outer graph that the subgraphs of a node read."""
    graphs = [a.as_graph() for a in node.attributes.values() if a.type is ir.AttributeType.GRAPH]
    return [
        value
        for graph in graphs
        for inner in ir.traversal.RecursiveGraphIterator(graph)
        for value in inner.inputs
        if value is not None and value.graph is node.graph
    ]


def _keep_other_readers(graph: ir.Graph, ids: ChannelIds) -> None:
    """Let channels of a constant stay that another node reads in another way."""
    for (value, _), usage in ids.usages.items():
        others = {node for node, _ in value.uses()} - usage.roles.keys()
        if others or value.is_graph_output() or value.name not in graph.initializers:
            node = next(iter(others), next(iter(usage.roles)))
            ids.pin(usage.ids, node, f"it needs all of {value.name}, which channels lie in")


Places = dict[tuple[ir.Value, int], Ids]
"""By tensor and axis: the channel of each place along it."""


def _settled(ids: ChannelIds) -> Places:
    """Choose the axis along which each activation holds its channels; unite until it is one."""
    while True:
        places = {value: _axis(ids, grid) for value, grid in ids.grids.items()}
        open_ends = [value for value, (_, done) in places.items() if not done]
        for value in open_ends:
            ids.along(value, places[value][0])
        broken = [
            demand
            for demand in ids.demands
            if demand.value in places
            and ids.find(ids.grid(demand.value)).any()
            and not demand.allows(places[demand.value][0])
        ]
        for demand in broken:
            ids.pin(ids.grid(demand.value), demand.node, demand.why)
        if not open_ends and not broken:
            break
    activations = {
        (value, axis): ids.find(np.moveaxis(ids.grids[value], axis, 0).reshape(-1, 1)[:, 0])
        if ids.grids[value].size == ids.grids[value].shape[axis]
        else ids.along(value, axis)
        for value, (axis, _) in places.items()
    }
    constants = {key: usage.ids for key, usage in ids.usages.items()}
    return {key: ids.find(row) for key, row in {**activations, **constants}.items()}


def _axis(ids: ChannelIds, grid: Ids) -> tuple[int, bool]:
    """The axis along which an activation's channels differ, and whether they differ nowhere else.

    Of several, the one that leaves most of them.
    """
    now = ids.find(grid)
    varies = [axis for axis in range(now.ndim) if (now != np.take(now, [0], axis)).any()]
    if len(varies) == 1:
        return varies[0], True
    axis = max(varies or range(now.ndim), key=lambda axis: now.shape[axis])
    return axis, not varies


def _grouped(ids: ChannelIds, places: Places) -> Iterator[ChannelGroup]:
    """Put channels together that occur in the same places equally often."""
    found: dict[int, list[tuple[int, int]]] = {}
    for index, row in enumerate(places.values()):
        for channel, count in zip(*np.unique(row, return_counts=True), strict=True):
            found.setdefault(int(channel), []).append((index, int(count)))
    found.pop(WHOLE, None)
    alike: dict[tuple[tuple[int, int], ...], list[int]] = {}
    for channel, where in found.items():
        alike.setdefault(tuple(where), []).append(channel)
    keys = list(places)
    names: set[str] = set()
    for signature, channels in alike.items():
        rows = {keys[index]: places[keys[index]] for index, _ in signature}
        group = _group(ids, rows, np.array(channels), names)
        if group is not None:
            names.add(group.name)
            yield group


def _group(ids: ChannelIds, rows: Places, channels: Ids, names: set[str]) -> ChannelGroup | None:
    """One group; None where no constant would be smaller."""
    ordered = _in_order(next(iter(rows.values())), channels)
    members, tensors = [], []
    for (value, axis), row in rows.items():
        indices = _indices(row, ordered)
        usage = ids.usages.get((value, axis))
        if usage is None:
            tensors.append((str(value.name), axis, indices))
            continue
        members += [
            Member(str(value.name), axis, indices, role, str(node.name))
            for node, role in usage.roles.items()
        ]
    writers = [value.producer() for value, _ in rows]
    node = next((node for node in writers if node and node.op_type in SOURCES), None)
    if not members or node is None:
        return None
    name, count = str(node.name), 1
    while name in names:
        count += 1
        name = f"{node.name}:{count}"
    return ChannelGroup(name, len(channels), tuple(members), tuple(tensors))


def _in_order(row: Ids, channels: Ids) -> Ids:
    """Channels in the order in which they first occur."""
    present, first = np.unique(row, return_index=True)
    return channels[np.argsort(first[np.searchsorted(present, channels)])]


def _indices(row: Ids, channels: Ids) -> Indices:
    """Where each channel occurs, shape (channels, width)."""
    by_channel = np.argsort(row, kind="stable")
    start = np.searchsorted(row[by_channel], channels)
    width = int(np.searchsorted(row[by_channel], channels[0], "right") - start[0])
    indices: Indices = by_channel[start[:, None] + np.arange(width)]
    return indices
