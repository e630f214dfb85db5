"""How channels pass through each operator."""

from collections.abc import Callable, Mapping

import onnx_ir as ir

from . import linear_rules, part_rules, pointwise_rules, shape_rules
from .channel_ids import ChannelIds, rank
from .shape_entries import numbers

Rule = Callable[[ir.Node, ChannelIds], str]
"""Notes a node's channels; returns why it cannot, and an empty text where it can."""

UNARY = frozenset(
    {"Abs", "Cast", "Ceil", "Celu", "Clip", "Dropout", "Elu", "Erf", "Exp", "Floor", "Gelu"}
    | {"HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Log", "Mish", "Neg", "Not", "Relu"}
    | {"Reciprocal", "Round", "Selu", "Sigmoid", "Sign", "Softplus", "Softsign", "Sqrt", "Swish"}
    | {"Tanh", "ThresholdedRelu"}
)
BROADCAST = frozenset(
    {"Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max"}
    | {"Mean", "Min", "Mod", "Mul", "Or", "PRelu", "Pow", "Sub", "Sum", "Where", "Xor"}
)
_POOLS = frozenset(
    {"AveragePool", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "LpPool", "MaxPool"}
)
_REDUCTIONS = frozenset(
    {"ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean"}
    | {"ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare"}
)
SOURCES = frozenset({"Conv", "ConvTranspose", "Gather", "Gemm", "MatMul"})
"""Operators whose weights make channels of what holds none."""


def reduction(node: ir.Node, ids: ChannelIds) -> str:
    """ReduceMean and its like."""
    x = node.inputs[0]
    given = "axes" in node.attributes or (len(node.inputs) > 1 and node.inputs[1] is not None)
    axes = numbers(node, 1, "axes") if given else []
    if x is None or axes is None:
        return "its axes are computed"
    noop = node.attributes.get_int("noop_with_empty_axes", 0)
    if noop and not axes:
        return "it has no axes"
    places = [axis % rank(x) for axis in axes] or list(range(rank(x)))
    return linear_rules.over_axes(node, places, ids)


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(UNARY | BROADCAST, pointwise_rules.pointwise),
    **dict.fromkeys(_POOLS, pointwise_rules.by_channel),
    **dict.fromkeys(_REDUCTIONS, reduction),
    **dict.fromkeys(("Conv", "ConvTranspose"), linear_rules.conv),
    **dict.fromkeys(("BatchNormalization", "InstanceNormalization"), linear_rules.norm),
    **dict.fromkeys(("LayerNormalization", "LogSoftmax", "Softmax"), linear_rules.layer_norm),
    **dict.fromkeys(("Squeeze", "Unsqueeze"), shape_rules.squeeze),
    **dict.fromkeys(("Flatten", "Reshape"), shape_rules.reshape),
    "Concat": part_rules.concat,
    "Expand": shape_rules.expand,
    "Gather": part_rules.gather,
    "Gemm": linear_rules.gemm,
    "MatMul": linear_rules.matmul,
    "Pad": part_rules.pad,
    "Resize": shape_rules.resize,
    "Shape": shape_rules.shape,
    "Slice": part_rules.slices,
    "Split": part_rules.split,
    "Transpose": shape_rules.transpose,
}
