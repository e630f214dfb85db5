"""Shapes of a model: inferring them, fixing the free ones, and what its inputs are."""

from collections.abc import Mapping

import onnx
import onnx.shape_inference
import onnx_ir as ir

from ..errors import InputError
from ..inputs import InputSpec
from .messages import nearest, one_line
from .skeleton import skeleton

_FREE = "--input gives sizes to free dimensions, and repeats the fixed ones"
_FAILURES = (onnx.shape_inference.InferenceError, ValueError)  # the latter for damaged types
_LIMITS = (  # messages of onnx that tell of its own limits, not of a fault of the graph
    "type but instead is null",  # a value without a type, behind a custom operator
    "already exists",  # two bodies use one name; data propagation takes them for one value
)


def model_inputs(model: ir.Model) -> tuple[InputSpec, ...]:
    """The inputs that must be fed, in order.

    Raises:
        InputError: An input is no tensor, or does not say its type or rank.
    """
    return tuple(_spec(value) for value in model.graph.inputs)


def infer_shapes(model: ir.Model, source: str = "the model") -> None:
    """Fill in the types and shapes of all values, in place, as far as they follow from the graph.

    What the file says about values between nodes is believed only where it does not contradict the
    graph; shapes behind custom operators stay unknown.

    Raises:
        InputError: Two shapes or types contradict each other; the message names the node.
    """
    proto = skeleton(model)
    try:
        inferred = _infer(proto)
    except _FAILURES:
        del proto.graph.value_info[:]  # perhaps it only contradicts a stale annotation
        _merge(model, _infer_from_graph(proto, source), forget=True)
    else:
        _merge(model, inferred)


def fix_shapes(
    model: ir.Model, shapes: Mapping[str, tuple[int, ...]], *, static: bool = False
) -> ir.Model:
    """A copy of the model in which the inputs have the given shapes.

    A free dimension that has a name gets the same size wherever the name occurs.

    Args:
        model: The model; its weights are shared with the copy.
        shapes: Input name to shape; the name may be empty where there is one input only.
        static: No input may have a free dimension afterwards.

    Raises:
        InputError: No such input, a shape that does not fit, or a dimension that is still free.
    """
    fixed = model.clone()
    inputs = {str(value.name): value for value in fixed.graph.inputs}
    sizes: dict[str, int] = {}
    for name, shape in shapes.items():
        value = _input_of(inputs, name)
        sizes |= _matched(value, shape, sizes)
        value.shape = ir.Shape(shape)
    if sizes:
        _substitute(fixed, sizes)
    if shapes:
        infer_shapes(fixed)
    if static:
        _check_static(fixed)
    return fixed


def _spec(value: ir.Value) -> InputSpec:
    if not isinstance(value.type, ir.TensorType):
        raise InputError(f"input {value.name!r} is not a tensor", "only tensors can be fed")
    if value.shape is None:
        hint = f"give it with --input {value.name}=1x3x224x224"
        raise InputError(f"input {value.name!r} has no shape", hint)
    dims = tuple(size if isinstance(size, int) else size.value for size in value.shape)
    return InputSpec(str(value.name), value.type.dtype.numpy().name, dims)


def _infer(proto: onnx.ModelProto, *, strict: bool = True) -> ir.Model:
    inferred = onnx.shape_inference.infer_shapes(
        proto, check_type=strict, strict_mode=strict, data_prop=True
    )
    return ir.from_proto(inferred)


def _infer_from_graph(proto: onnx.ModelProto, source: str) -> ir.Model:
    """Infer without annotations: what fails now is a fault of the graph."""
    try:
        return _infer(proto)
    except _FAILURES as cause:
        if not any(limit in str(cause) for limit in _LIMITS):
            raise _contradiction(str(cause), source) from cause
        return _infer(proto, strict=False)


def _merge(model: ir.Model, inferred: ir.Model, *, forget: bool = False) -> None:
    """Take over what was inferred; `forget` drops old shapes that were not inferred again."""
    for graph, found in zip(model.graphs(), inferred.graphs(), strict=True):
        known = ir.convenience.create_value_mapping(found, include_subgraphs=False)
        outputs = {id(value) for value in graph.outputs}
        for node in graph:
            for value in node.outputs:
                other = known.get(value.name or "")
                if other is None:
                    continue
                value.type = other.type or value.type
                if other.shape is not None or (forget and id(value) not in outputs):
                    value.shape = other.shape


def _contradiction(text: str, source: str) -> InputError:
    """Cut onnx's message down to the first node that it blames."""
    first = text.replace("[ShapeInferenceError]", "").replace("[TypeInferenceError]", "")
    first = first.removeprefix(" Inference error(s):").strip().splitlines()[0]
    hint = "the graph contradicts itself there: export the model again"
    return InputError(f"shapes or types in {source} do not fit: {one_line(first)}", hint)


def _input_of(inputs: Mapping[str, ir.Value], name: str) -> ir.Value:
    if not name and len(inputs) == 1:
        return next(iter(inputs.values()))
    if not name:
        hint = f"write --input NAME=SHAPE for each of {', '.join(inputs)}"
        raise InputError(f"the model has {len(inputs)} inputs: a shape needs a name", hint)
    if name not in inputs:
        raise InputError(f"the model has no input {name!r}", nearest(name, inputs))
    return inputs[name]


def _matched(value: ir.Value, shape: tuple[int, ...], sizes: Mapping[str, int]) -> dict[str, int]:
    """Sizes of the named dimensions of one input, checked against its shape and each other."""
    found = dict(sizes)
    given = "x".join(map(str, shape))
    old = value.shape if value.shape is not None else ir.Shape([None] * len(shape))
    if len(old) != len(shape) or any(size < 1 for size in shape):
        raise InputError(f"input {value.name!r} has the shape {old}, not {given}", _FREE)
    for size, new in zip(old, shape, strict=True):
        fixed = size if isinstance(size, int) else found.setdefault(size.value or "", new)
        found.pop("", None)
        if fixed != new:
            name = f" ({size} is {fixed})" if not isinstance(size, int) else ""
            raise InputError(f"input {value.name!r} has the shape {old}, not {given}{name}", _FREE)
    return found


def _substitute(model: ir.Model, sizes: Mapping[str, int]) -> None:
    """Write sizes in the place of named dimensions, everywhere."""
    for graph in model.graphs():
        for value in (*graph.inputs, *(out for node in graph for out in node.outputs)):
            if value.shape is None or value.shape.is_static():
                continue
            dims = [size if isinstance(size, int) else size.value for size in value.shape]
            value.shape = ir.Shape([sizes.get(str(size), size) for size in dims])


def _check_static(model: ir.Model) -> None:
    for value in model.graph.inputs:
        if value.shape is None or not value.shape.is_static():
            shape = "unknown" if value.shape is None else str(value.shape)
            hint = f"fix it with --input {value.name}=…, such as 1x3x224x224"
            raise InputError(f"input {value.name!r} has a free dimension: {shape}", hint)
