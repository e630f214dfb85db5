"""Looking inside a model: what its tensors really hold, read off inferences."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import onnx_ir as ir

from .engine import Feeds, Runner

OpenRunner = Callable[[ir.Model], Runner]
# What a runtime can hand out as an array: it has no bfloat16, and 4 bits come as something else.
_NUMPY = frozenset(
    ir.DataType.from_numpy(np.dtype(name))
    for name in (
        *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
        *("float16", "float32", "float64", "complex64", "complex128", "object"),
    )
)


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
    gets those that it lacks.
    """
    names = [str(value.name) for value in _written(model.graph) if _readable(value)]
    seen = observer(model, names, open_runner)(feeds)
    arrays = {name: array for name, array in seen.items() if isinstance(array, np.ndarray)}
    for value in _written(model.graph):
        if value.name in arrays and value.type is None:
            value.type = ir.TensorType(ir.DataType.from_numpy(arrays[value.name].dtype))
    copy = model.clone()
    for value in (*copy.graph.inputs, *_written(copy.graph)):
        if value.name in arrays:
            value.shape = ir.Shape(arrays[value.name].shape)
    return copy


def _readable(value: ir.Value) -> bool:
    """Whether a runtime can hand a value out as an array, as far as its type is known."""
    if value.type is None:
        return True
    return isinstance(value.type, ir.TensorType) and value.type.dtype in _NUMPY


def _written(graph: ir.Graph) -> Iterable[ir.Value]:
    """Every tensor that a node of the main graph writes."""
    return (out for node in graph for out in node.outputs if out.name)
