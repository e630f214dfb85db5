"""The quantised layers of a written graph: their integers as rows, and the way back into it."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from .. import kernels
from ..engine import Array
from ..plan import NodeChoice, Plan, Sparsity
from ..slots import SlotGraph
from .nibbles import pack, unpack
from .rounding import Floats, Grid, Steps
from .unfold import Rows, Window, matrix_rows

_MATRIX = 2
_INT32 = np.iinfo(np.int32)
_BIAS = {"Conv": 2, "Gemm": 2, "MatMulNBits": 5}  # index of the input, as ONNX and ORT have it


@dataclass(frozen=True, slots=True)
class Bias:
    """A bias that no other node reads.

    Attributes:
        name: Of its initialiser.
        values: Real numbers, shape (groups, channels).
        unit: What one integer is worth, shape (channels,); None for a float bias.
        like: The constant as it is in the graph.
    """

    name: str
    values: Floats
    unit: Floats | None
    like: Array

    def constant(self, values: Floats) -> Array:
        """Real numbers as the graph holds them."""
        flat = values.reshape(-1)
        if self.unit is not None:
            flat = np.clip(np.rint(flat / self.unit), _INT32.min, _INT32.max)
        return flat.astype(self.like.dtype).reshape(self.like.shape)

    def held(self, values: Floats) -> Floats:
        """Real numbers as they are after that."""
        made = self.constant(values).reshape(-1).astype(np.float64)
        return (made if self.unit is None else made * self.unit).reshape(values.shape)


@dataclass(frozen=True, slots=True)
class Layer:
    """A Conv, Gemm or MatMul whose weight is integers.

    Attributes:
        name: Of the node, in the original and in the written graph.
        read: The tensor of the written graph that it multiplies.
        written: The tensor of the original that it should write.
        original: The weight of the original, shape (groups, channels, depth).
        grid: The integers, and what they may be.
        weight: Name of the initialiser that holds them.
        like: That initialiser as it is.
        bias: Its bias; None where it has none of its own, which then stays as it is.
        window: How a Conv walks; None for a matrix product.
        flipped: Whether the constant has the channels last.
    """

    name: str
    read: str
    written: str
    original: Floats
    grid: Grid
    weight: str
    like: Array
    bias: Bias | None
    window: Window | None
    flipped: bool

    @property
    def offset(self) -> Floats:
        """The bias that stays where none can be chosen."""
        return np.zeros(self.original.shape[:2]) if self.bias is None else self.bias.values

    def positions(self, y: Array) -> int:
        """How many products of one sample there are, each with a row of its own."""
        shape = y.shape if self.window is None else np.moveaxis(y, 1, -1).shape
        return math.prod(shape[:-1])

    def rows(self, x: Array, y: Array, chosen: npt.NDArray[np.intp]) -> Rows:
        """What the layer multiplies and should write at some positions of a sample."""
        x, y = x.astype(np.float32, copy=False), y.astype(np.float32, copy=False)
        return matrix_rows(x, y, chosen) if self.window is None else self.window.rows(x, y, chosen)

    def constant(self, steps: Steps) -> Array:
        """Integers as the graph holds them."""
        if self.like.dtype == np.uint8:
            return pack(steps[0], self.like.shape)
        rows = steps.reshape(-1, steps.shape[-1])
        plain = rows.T if self.flipped else rows
        return plain.reshape(self.like.shape).astype(self.like.dtype)


def find_layers(original: ir.Model, slots: SlotGraph, plan: Plan, written: ir.Model) -> list[Layer]:
    """The layers of a written plan that can be recovered, in topological order.

    Left out are transposed convolutions, products that scale their operands, and slots whose
    weight is stored in a format of its own.

    Args:
        original: The graph after the passes.
        slots: Its slots.
        plan: The plan.
        written: What the plan became.
    """
    choices = plan.as_dict()
    of_node = {n: choices.get(s.name, NodeChoice()) for s in slots.slots for n in s.nodes}
    nodes = {str(node.name): node for node in original.graph}
    found = []
    for node in written.graph:
        source = nodes.get(str(node.name))
        if source is None or not _plain(source) or of_node.get(str(node.name)) is None:
            continue
        layer = _layer(source, node, of_node[str(node.name)])
        found += [layer] if layer else []
    return found


def _plain(node: ir.Node) -> bool:
    """Whether the node multiplies its input with a constant, and nothing else."""
    attributes = node.attributes
    if len(node.inputs) < _MATRIX or kernels.constant(node.inputs[1]) is None:
        return False
    match node.op_type:
        case "Conv":
            return attributes.get_string("auto_pad", "NOTSET") == "NOTSET"
        case "Gemm":
            scaled = attributes.get_float("alpha", 1.0) != 1.0
            return (
                not scaled
                and attributes.get_float("beta", 1.0) == 1.0
                and not (attributes.get_int("transA", 0))
            )
        case "MatMul":
            return len(kernels.dims(_value(node, 1))) == _MATRIX
    return False


def _value(node: ir.Node, index: int) -> ir.Value:
    value = node.inputs[index]
    if value is None:
        raise ValueError(f"{node.name}: no input {index}")
    return value


def _layer(source: ir.Node, node: ir.Node, choice: NodeChoice) -> Layer | None:
    """The layer as the written graph has it; None where its weight is no integers."""
    held = _integers(source, node)
    tensor = kernels.constant(source.inputs[1])
    if held is None or tensor is None or node.inputs[0] is None:
        return None
    name, like, steps, scale, flipped = held
    groups = source.attributes.get_int("group", 1) if source.op_type == "Conv" else 1
    exact = _exact(source, tensor.numpy().astype(np.float64), like)
    shape = (groups, len(exact) // groups, exact.shape[1])
    rounds = not choice.storage
    grid = Grid(
        steps=steps.reshape(shape),
        scale=np.broadcast_to(scale, exact.shape).reshape(shape),
        low=int(steps.min(initial=0)),
        high=int(steps.max(initial=0)),
        free=_free(steps, choice).reshape(shape) if rounds else np.zeros(shape, bool),
    )
    window = Window.of(source, like.shape) if source.op_type == "Conv" else None
    return Layer(
        name=str(source.name),
        read=str(node.inputs[0].name),
        written=str(source.outputs[0].name),
        original=exact.reshape(shape),
        grid=grid,
        weight=name,
        like=like,
        bias=_bias(node, (groups, len(exact) // groups)),
        window=window,
        flipped=flipped,
    )


def _free(steps: Steps, choice: NodeChoice) -> npt.NDArray[np.bool_]:
    """Which integers may change: a pattern of zeros stays."""
    if choice.sparsity is Sparsity.DENSE:
        return np.ones(steps.shape, np.bool_)
    free: npt.NDArray[np.bool_] = steps != 0
    return free


def _exact(source: ir.Node, weight: Floats, like: Array) -> Floats:
    """The original weight as rows, with the zero channels that an int8 Conv may be given."""
    if source.op_type == "Conv":
        extra = like.shape[1] - weight.shape[1]
        spatial = [(0, 0)] * (weight.ndim - _MATRIX)
        return np.pad(weight, [(0, 0), (0, extra), *spatial]).reshape(len(weight), -1)
    transposed = source.op_type == "Gemm" and source.attributes.get_int("transB", 0) == 1
    return weight if transposed else np.ascontiguousarray(weight.T)


_Held = tuple[str, Array, Steps, Floats, bool]


def _integers(source: ir.Node, node: ir.Node) -> _Held | None:
    """Initialiser, its array, integers and scales as rows (channels, depth), channels last or not.

    Scales broadcast to the integers' shape.
    """
    if node.op_type == "MatMulNBits":
        return _nibbles(node)
    made = _value(node, 1).producer()
    if made is None or made.op_type != "DequantizeLinear":
        return None
    held, scales = (kernels.constant(made.inputs[i]) for i in (0, 1))
    if held is None or scales is None:
        return None
    array, scale = held.numpy(), scales.numpy().astype(np.float64)
    flipped = source.op_type != "Conv" and not node.attributes.get_int("transB", 0)
    rows = array.T if flipped else array.reshape(len(array), -1)
    block = made.attributes.get_int("block_size", 0)
    if block:
        scale = np.repeat(scale, block, axis=0)[: len(array)].T
    elif scale.ndim:
        scale = scale[:, None]
    return str(_value(made, 0).name), array, rows.astype(np.int32), scale, flipped


def _nibbles(node: ir.Node) -> _Held | None:
    packed, scales = (kernels.constant(node.inputs[i]) for i in (1, 2))
    if packed is None or scales is None:
        return None
    array, depth = packed.numpy(), node.attributes.get_int("K", 0)
    scale = scales.numpy().astype(np.float64).reshape(len(array), -1)
    block = node.attributes.get_int("block_size", 0)
    wide = np.repeat(scale, block, axis=1)[:, :depth]
    return str(_value(node, 1).name), array, unpack(array, depth), wide, False


def _bias(node: ir.Node, shape: tuple[int, int]) -> Bias | None:
    """The bias of a node, where it can be set without touching another node's."""
    index = _BIAS.get(node.op_type, len(node.inputs))
    value = node.inputs[index] if index < len(node.inputs) else None
    made = None if value is None else value.producer()
    unit: Floats | None = None
    if made is not None and made.op_type == "DequantizeLinear":
        scale = kernels.constant(made.inputs[1])
        value, unit = made.inputs[0], None if scale is None else scale.numpy().astype(np.float64)
    tensor = kernels.constant(value)
    if value is None or tensor is None or not value.is_initializer() or len(value.uses()) != 1:
        return None
    like = tensor.numpy()
    if like.size != shape[0] * shape[1]:
        return None
    values = like.reshape(-1).astype(np.float64)
    return Bias(
        str(value.name), (values if unit is None else values * unit).reshape(shape), unit, like
    )
