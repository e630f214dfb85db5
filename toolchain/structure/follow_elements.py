"""How channels pass operators that work on each of them by itself, or on all of them together."""

import onnx_ir as ir

from .. import kernels
from .channels import Axes, Ids
from .groups import Role
from .trace import Rule, Trace, axes_of, constant_of

_UNARY = (
    *("Relu", "LeakyRelu", "Elu", "Selu", "Celu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh"),
    *("Softplus", "Softsign", "Mish", "Gelu", "Erf", "Exp", "Log", "Sqrt", "Neg", "Abs", "Cast"),
    *("Reciprocal", "Identity", "Dropout", "Clip", "ThresholdedRelu", "Floor", "Ceil", "Round"),
    *("Sign", "Sin", "Cos", "Swish"),
)
_BINARY = ("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "PRelu")
_POOLS = ("MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool")
_SUMS = ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2")
_SOFTMAX = ("Softmax", "LogSoftmax")


def _unary(trace: Trace, node: ir.Node) -> list[Axes]:
    return [list(trace.of(node.inputs[0])) for _ in node.outputs]


def _binary(trace: Trace, node: ir.Node) -> list[Axes]:
    shape = kernels.dims(node.outputs[0])
    made: Axes = [None] * len(shape)
    seen = [False] * len(shape)
    for value in node.inputs:
        if value is None or kernels.constant(value) is not None:
            continue
        dims, first = kernels.dims(value), len(shape) - len(kernels.dims(value))
        for own, ids in enumerate(trace.of(value)):
            axis = first + own
            if dims[own] != shape[axis]:
                trace.pin([ids], node, "it is broadcast")
            else:
                made[axis] = trace.met(made[axis], ids, node) if seen[axis] else ids
                seen[axis] = True
    _constants(trace, node, made)
    return [made]


def _constants(trace: Trace, node: ir.Node, made: Axes) -> None:
    """Note the constants that an element-wise operator takes entry by entry."""
    for index, value in enumerate(node.inputs):
        if value is None or kernels.constant(value) is None:
            continue
        dims = kernels.dims(value)
        for own, ids in enumerate(made[len(made) - len(dims) :]):
            if dims[own] > 1:
                trace.constant(node, index, own, Role.WRITES, ids)


def _per_channel(trace: Trace, node: ir.Node) -> list[Axes] | None:
    """Batch and instance norms: a constant for each channel."""
    axes = trace.of(node.inputs[0])
    for index in range(1, len(node.inputs)):
        if constant_of(node, index) is None:
            return None
        trace.constant(node, index, 0, Role.WRITES, axes[1])
    return [list(axes) for _ in node.outputs]


def _layer_norm(trace: Trace, node: ir.Node) -> list[Axes]:
    axes = trace.of(node.inputs[0])
    start = node.attributes.get_int("axis", -1) % len(axes)
    trace.pin(axes[start:], node, "a norm over channels needs all of them")
    return [[*axes[:start], *_none(axes[start:])] for _ in node.outputs]


def _softmax(trace: Trace, node: ir.Node) -> list[Axes]:
    axes = list(trace.of(node.inputs[0]))
    over = node.attributes.get_int("axis", -1) % len(axes)
    trace.pin([axes[over]], node, "a softmax over channels needs all of them")
    axes[over] = None
    return [axes]


def _pool(trace: Trace, node: ir.Node) -> list[Axes]:
    batch, channels, *spatial = trace.of(node.inputs[0])
    trace.pin([batch, *spatial], node, "a pool runs over it")
    return [[None, channels, *_none(spatial)] for _ in node.outputs]


def _sum(trace: Trace, node: ir.Node) -> list[Axes]:
    axes, over = trace.of(node.inputs[0]), axes_of(node, 1)
    gone = {axis % len(axes) for axis in over} if over else set(range(len(axes)))
    trace.pin([axes[axis] for axis in sorted(gone)], node, "it is summed over")
    if node.attributes.get_int("keepdims", 1):
        return [[None if axis in gone else ids for axis, ids in enumerate(axes)]]
    return [[ids for axis, ids in enumerate(axes) if axis not in gone]]


def _none(axes: list[Ids | None]) -> Axes:
    return [None] * len(axes)


ELEMENTS: dict[str, Rule] = {
    **dict.fromkeys(_UNARY, _unary),
    **dict.fromkeys(_BINARY, _binary),
    **dict.fromkeys(_POOLS, _pool),
    **dict.fromkeys(_SUMS, _sum),
    **dict.fromkeys(_SOFTMAX, _softmax),
    "BatchNormalization": _per_channel,
    "InstanceNormalization": _per_channel,
    "LayerNormalization": _layer_norm,
}
