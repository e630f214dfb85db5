"""Weights that read the channels of a group: where they lie, and what they are multiplied with."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from .. import kernels
from ..engine import Array
from ..recovery.unfold import Window
from .groups import ChannelGroup, Member, Role

_OPS = frozenset({"Conv", "Gemm", "MatMul"})
_BIAS = 2  # the input: X, W, B
_SPATIAL = 2  # axes of a convolution's weight before the spatial ones
_WIDEST = 2304  # entries of a patch at most: the moments of its pairs take 8 bytes each, 42 MB

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Reader:
    """A weight, and what it reads.

    Attributes:
        node: The node that multiplies it.
        weight: The weight.
        along: Its axis of input channels.
        tensor: Name of the activation that it reads.
        axis: The axis of that activation that holds the channels.
        window: How a convolution walks over it; None: each position is read for itself, or the
            patches are too wide, so that all taps are taken for alike.
    """

    node: ir.Node
    weight: ir.Value
    along: int
    tensor: str
    axis: int
    window: Window | None

    @property
    def taps(self) -> int:
        """How many entries each channel has among those that are read at once."""
        return math.prod(self.window.kernel) if self.window else 1

    def matrix(self, weight: Array) -> Floats:
        """A weight as rows of entries; a row for each tap where all are taken for alike."""
        moved = np.moveaxis(weight.astype(np.float64), self.along, 1)
        if self.window is None:
            moved = np.moveaxis(moved, 1, -1)
            return moved.reshape(-1, moved.shape[-1])
        return moved.reshape(len(moved), -1)

    def weight_of(self, matrix: Floats, like: Array) -> Array:
        """The way back from `matrix`."""
        moved = np.moveaxis(like, self.along, 1)
        if self.window is None:
            shape = np.moveaxis(moved, 1, -1).shape
            moved = np.moveaxis(matrix.reshape(shape), -1, 1)
        else:
            moved = matrix.reshape(moved.shape)
        return np.ascontiguousarray(np.moveaxis(moved, 1, self.along).astype(like.dtype))

    def bias(self) -> ir.Value | None:
        """The constant that is added to each of its output channels, where nobody else reads it."""
        node = self.node
        value = node.inputs[_BIAS] if len(node.inputs) > _BIAS else None
        if node.op_type == "MatMul":
            value = _added(node.outputs[0])
        tensor = kernels.constant(value)
        scaled = node.attributes.get_float("alpha", 1.0) != node.attributes.get_float("beta", 1.0)
        if value is None or tensor is None or scaled or not _alone(value):
            return None
        width = kernels.dims(self.weight)[1 - self.along]
        return value if tensor.size == width and tensor.shape[-1:] == (width,) else None


def readers_of(model: ir.Model, groups: Iterable[ChannelGroup]) -> Iterator[Reader]:
    """The weights that read channels of some groups, each once.

    Left out are transposed convolutions, and weights that several nodes share.
    """
    nodes = {str(node.name): node for node in model.graph}
    seen: set[str] = set()
    for group in groups:
        axes = {name: axis for name, axis, _ in group.tensors}
        for member in group.members:
            reader = _reader(nodes[member.node], member, axes)
            if reader is not None and member.node not in seen:
                seen.add(member.node)
                yield reader


def _reader(node: ir.Node, member: Member, axes: dict[str, int]) -> Reader | None:
    if member.role is not Role.READS or node.op_type not in _OPS:
        return None
    read, weight = node.inputs[:2]
    if read is None or weight is None or str(read.name) not in axes or not _alone(weight):
        return None
    name = str(read.name)
    return Reader(node, weight, member.axis, name, axes[name], _window(node, weight))


def _window(node: ir.Node, weight: ir.Value) -> Window | None:
    """The window of a convolution that reads more than one position, if it is not too wide."""
    shape = kernels.dims(weight)
    plain = node.attributes.get_string("auto_pad", "NOTSET") == "NOTSET"
    if node.op_type != "Conv" or not plain or max(shape[_SPATIAL:], default=1) == 1:
        return None
    return Window.of(node, shape) if math.prod(shape[1:]) <= _WIDEST else None


def _added(value: ir.Value) -> ir.Value | None:
    """The other side of the only node that reads a value, if that is an Add."""
    uses = list(value.uses())
    if len(uses) != 1 or uses[0].node.op_type != "Add" or value.is_graph_output():
        return None
    return uses[0].node.inputs[1 - uses[0].idx]


def _alone(value: ir.Value) -> bool:
    """Whether a value is an initialiser that one node reads."""
    return value.is_initializer() and len(list(value.uses())) == 1
