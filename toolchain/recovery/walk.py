"""A graph run stretch by stretch on some samples: what lies behind may change no more."""

from collections.abc import Iterable, Sequence

import onnx_ir as ir
from onnx_ir.passes import common

from ..engine import Array, Feeds
from ..observe import OpenRunner


class Walk:
    """Runs each node of a graph once, however many tensors on the way are asked for.

    Constants of nodes that have not run may change between two stops. Memory: of each sample the
    tensors that are still needed.

    Args:
        model: The graph; it is not changed.
        feeds: The samples.
        stops: Names of all tensors that will be asked for, in topological order.
        open_runner: Opens a stretch.
    """

    def __init__(
        self,
        model: ir.Model,
        feeds: Iterable[Feeds],
        stops: Sequence[str],
        open_runner: OpenRunner,
    ) -> None:
        self._model = model
        self._open = open_runner
        self._held: list[dict[str, Array]] = [dict(sample) for sample in feeds]
        self._stops = list(dict.fromkeys(stops))
        self._moving = _depend_on_inputs(model.graph)
        self._known = {str(value.name) for value in model.graph.inputs}

    def to(self, stop: str) -> list[Array]:
        """The tensor at a stop, of each sample."""
        if stop in self._stops:
            ahead = self._stops[self._stops.index(stop) + 1 :]
            self._advance(stop, ahead)
            self._stops = ahead
        return [held[stop] for held in self._held]

    def _advance(self, stop: str, ahead: Sequence[str]) -> None:
        values = {str(out.name): out for node in self._model.graph for out in node.outputs}
        begin, passed = _search([values[stop]] if stop in values else [], self._known)
        self._known |= passed & self._moving
        later, _ = _search([values[name] for name in ahead if name in values], self._known)
        needed = {stop, *later}
        made = sorted(needed - set(self._held[0]))
        run = self._open(stretch(self._model, begin, made, self._held[0])) if made else None
        for held in self._held:
            if run is not None:
                held.update(run({name: held[name] for name in begin}))
            for name in set(held) - needed:
                del held[name]


def _depend_on_inputs(graph: ir.Graph) -> set[str]:
    """The tensors that differ from sample to sample."""
    moving = {str(value.name) for value in graph.inputs}
    for node in graph:
        if any(value is not None and value.name in moving for value in reads(node)):
            moving.update(str(out.name) for out in node.outputs)
    return moving


def reads(node: ir.Node) -> Iterable[ir.Value | None]:
    """What a node reads, in its subgraphs too."""
    yield from node.inputs
    for attribute in node.attributes.values():
        if attribute.type is ir.AttributeType.GRAPH:
            for inner in attribute.as_graph().all_nodes():
                yield from inner.inputs


def _search(values: Iterable[ir.Value], known: set[str]) -> tuple[set[str], set[str]]:
    """Backwards from some tensors: the known ones that are met, and those passed on the way."""
    waiting, met, passed = list(values), set[str](), set[str]()
    while waiting:
        value = waiting.pop()
        name, node = str(value.name), value.producer()
        if name in known:
            met.add(name)
        elif name not in passed and node is not None:
            passed.update(str(out.name) for out in node.outputs)
            waiting.extend(read for read in reads(node) if read is not None)
    return met, passed


def stretch(model: ir.Model, begin: Iterable[str], end: Sequence[str], sample: Feeds) -> ir.Model:
    """The part of a graph between some tensors; types as the sample has them."""
    copy = model.clone()
    values = {str(out.name): out for node in copy.graph for out in node.outputs}
    values |= {str(value.name): value for value in copy.graph.inputs}
    copy.graph.outputs[:] = [values[name] for name in end]
    inputs = []
    for name in sorted(begin):
        old = values[name]
        dtype = ir.DataType.from_numpy(sample[name].dtype)
        new = ir.Value(name=name, type=ir.TensorType(dtype))
        ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
        old.name = f"{name}__passed" if old.producer() else name
        inputs.append(new)
    copy.graph.inputs[:] = inputs
    common.RemoveUnusedNodesPass()(copy)
    return copy
