"""What hwc knows about operators: their class, their work, and why some never leave fp32."""

import math

import onnx_ir as ir

from .slots import Work

FLOATS = frozenset(
    {ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE}
)

RECURRENT = frozenset({"LSTM", "GRU", "RNN"})
WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})  # their second input
CONTROL_FLOW = frozenset({"If", "Loop", "Scan", "SequenceMap"})
# These only move numbers: output and input hold the same values, so they share one quantisation.
MOVES = frozenset(
    {
        *("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Gather", "Split"),
        *("MaxPool", "DepthToSpace", "SpaceToDepth", "Expand", "Identity"),
    }
)
_KINDS = {
    "gemm": frozenset({"Gemm", "MatMul"}),
    "norm": frozenset(
        {"LayerNormalization", "BatchNormalization", "InstanceNormalization", "Softmax"}
        | {"GroupNormalization", "LogSoftmax", "ReduceMean", "ReduceSum", "ReduceL2", "ReduceMax"}
    ),
    "pool": frozenset({"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Resize"}),
    "recurrent": RECURRENT,
    "move": MOVES | {"Concat", "Pad"},
    "other": CONTROL_FLOW,
}


def is_float(value: ir.Value | None) -> bool:
    """Whether a value is a floating-point tensor (not a sequence of them)."""
    return value is not None and isinstance(value.type, ir.TensorType) and value.dtype in FLOATS


def is_activation(value: ir.Value | None) -> bool:
    """Whether a value is a float tensor that the model computes (not a weight or a constant)."""
    return value is not None and is_float(value) and constant(value) is None


def constant(value: ir.Value | None) -> ir.TensorProtocol | None:
    """The tensor of an initialiser or of a Constant node; None for anything computed."""
    if value is None or value.is_graph_input():
        return None
    return ir.convenience.get_const_tensor(value)


def dims(value: ir.Value) -> tuple[int, ...]:
    """The static shape of a value; a free dimension counts as 1."""
    if value.shape is None:
        return ()
    return tuple(d if isinstance(d, int) else 1 for d in value.shape)


def elements(value: ir.Value) -> int:
    """How many elements a value has; a free dimension counts as 1."""
    return math.prod(dims(value))


def kind(node: ir.Node) -> str:
    """The operator class of a node, as `Slot.kind` lists them."""
    if node.op_type in {"Conv", "ConvTranspose"}:
        return "depthwise" if _one_channel_a_group(node) else "conv"
    for name, ops in _KINDS.items():
        if node.op_type in ops:
            return name
    return "elementwise"


def _one_channel_a_group(node: ir.Node) -> bool:
    """Whether a convolution's groups are too narrow for a matrix product; so if nobody says."""
    if node.attributes.get_int("group", 1) == 1:
        return False
    shape = dims(weight) if len(node.inputs) > 1 and (weight := node.inputs[1]) else ()
    return len(shape) < 2 or shape[1] == 1  # noqa: PLR2004 - channels a group, in both ops


def macs(node: ir.Node) -> int:
    """Multiply-accumulates of one node; 0 where it does not multiply matrices."""
    if node.op_type == "Conv":
        weight = node.inputs[1]
        return elements(node.outputs[0]) * math.prod(dims(weight)[1:]) if weight else 0
    if node.op_type == "ConvTranspose":
        weight, x = node.inputs[1], node.inputs[0]
        return elements(x) * math.prod(dims(weight)[1:]) if weight and x else 0
    if node.op_type in {"Gemm", "MatMul"} and node.inputs[0] is not None:
        shape = dims(node.inputs[0])
        depth = shape[0] if node.attributes.get_int("transA", 0) else (shape or (1,))[-1]
        return elements(node.outputs[0]) * depth
    if node.op_type in RECURRENT:
        return _recurrent_macs(node)
    return 0


def _recurrent_macs(node: ir.Node) -> int:
    """Every step multiplies an input with W and a state with R (ONNX operators LSTM, GRU, RNN)."""
    x, *matrices = node.inputs[:3]
    if x is None or len(dims(x)) < 2:  # noqa: PLR2004 - steps and batch
        return 0
    steps = math.prod(dims(x)[:2])
    return steps * sum(elements(matrix) for matrix in matrices if matrix is not None)


def work(nodes: list[ir.Node], reads: list[ir.Value], writes: list[ir.Value]) -> Work:
    """What a fused kernel has to do."""
    weights = sum(
        elements(value) for node in nodes for value in node.inputs if value and constant(value)
    )
    return Work(
        macs=sum(macs(node) for node in nodes),
        weights=weights,
        reads=sum(elements(value) for value in reads),
        writes=sum(elements(value) for value in writes),
        channels=sum(map(channels, nodes)),
    )


def channels(node: ir.Node) -> int:
    """Output channels of a node's weight; 0 where it has no constant matrix."""
    if node.op_type not in WEIGHTED or constant(node.inputs[1]) is None:
        return 0
    weight = node.inputs[1]
    if weight is None or not is_float(weight) or len(dims(weight)) < 2:  # noqa: PLR2004 - a matrix
        return 0
    first = node.op_type == "Conv" or bool(node.attributes.get_int("transB", 0))
    return dims(weight)[0 if first else 1]
