"""Looking inside a model: what its tensors really hold, read off inferences."""

from collections.abc import Callable, Iterable, Sequence

import onnx_ir as ir

from .engine import Feeds, Runner

OpenRunner = Callable[[ir.Model], Runner]


def observer(model: ir.Model, tensors: Sequence[str], open_runner: OpenRunner) -> Runner:
    """A runner that returns the named tensors of the main graph, inputs among them."""
    copy = model.clone()
    values = {value.name: value for value in _written(copy.graph)}
    present = {value.name for value in copy.graph.outputs}
    wanted = [name for name in tensors if name in values and name not in present]
    copy.graph.outputs.extend(values[name] for name in wanted)
    run = open_runner(copy)
    return lambda feeds: {**feeds, **run(feeds)}


def annotate(model: ir.Model, open_runner: OpenRunner, feeds: Feeds) -> ir.Model:
    """A copy of the model in which every tensor has the shape and type seen with `feeds`.

    Seen, because static inference gives up on graphs that compute their own shapes. The shapes
    hold for these feeds only, so the copy is for analysis; types hold always, and the model itself
    gets them too.
    """
    names = [str(value.name) for value in _written(model.graph)]
    seen = observer(model, names, open_runner)(feeds)
    for value in _written(model.graph):
        if value.name in seen:
            value.dtype = ir.DataType.from_numpy(seen[value.name].dtype)
    copy = model.clone()
    for value in (*copy.graph.inputs, *_written(copy.graph)):
        if value.name in seen:
            value.shape = ir.Shape(seen[value.name].shape)
    return copy


def _written(graph: ir.Graph) -> Iterable[ir.Value]:
    """Every tensor that a node of the main graph writes."""
    return (out for node in graph for out in node.outputs if out.name)
