"""Which channel each element of a tensor belongs to, and which channels are one."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from .. import kernels
from .groups import Role, Skipped

Ids = npt.NDArray[np.intp]
"""Channels, by number. As the grid of a tensor: as many axes as the tensor, each of the tensor's
length, or of length 1 where all along it belongs to the same channel."""

Dims = tuple[int | str | None, ...]

WHOLE = 0
"""The channel that is never removed, as the batch, or what the graph's inputs hold."""

_MATRIX = 2


@dataclass(frozen=True, slots=True, eq=False)
class Demand:
    """What must hold of the axis along which a tensor's channels lie; otherwise they stay.

    Attributes:
        value: The tensor.
        allows: Whether channels along an axis can be removed.
        node: Who demands it.
        why: What is in the way.
    """

    value: ir.Value
    allows: Callable[[int], bool]
    node: ir.Node
    why: str


class Channels:
    """Disjoint sets of numbered channels, and the smallest number of each stands for it."""

    def __init__(self) -> None:
        self._parent: Ids = np.zeros(1, np.intp)

    def fresh(self, count: int) -> Ids:
        """New channels; one alone is never removed, since what it is broadcast to would change."""
        if count == 1:
            return np.zeros(1, np.intp)
        ids = np.arange(len(self._parent), len(self._parent) + count)
        self._parent = np.concatenate([self._parent, ids])
        return ids

    def find(self, ids: Ids) -> Ids:
        """The channel that stands for each."""
        while True:
            above = self._parent[ids]
            if np.array_equal(above, ids):
                return above
            ids = above

    def unite(self, a: Ids, b: Ids) -> bool:
        """Make channels one, element by element after broadcasting; returns whether any was not."""
        a, b = np.broadcast_arrays(self.find(a), self.find(b))
        changed = False
        while (apart := a != b).any():
            low, high = np.minimum(a[apart], b[apart]), np.maximum(a[apart], b[apart])
            np.minimum.at(self._parent, high, low)
            a, b = self.find(a), self.find(b)
            changed = True
        return changed


@dataclass(slots=True)
class Usage:
    """One axis of a constant that holds channels, and the nodes that read it so."""

    ids: Ids
    roles: dict[ir.Node, Role] = field(default_factory=dict)


class ChannelIds(Channels):
    """The channels of a graph's tensors, as far as the analysis has come.

    Attributes:
        grids: The channels of each activation that has any.
        usages: Axes of constants that hold channels.
        demands: What is to be looked at once it is known along which axis channels lie.
        skipped: What kept channels that could have gone otherwise.
    """

    def __init__(self) -> None:
        super().__init__()
        self.grids: dict[ir.Value, Ids] = {}
        self.usages: dict[tuple[ir.Value, int], Usage] = {}
        self.demands: list[Demand] = []
        self.skipped: list[Skipped] = []

    def grid(self, value: ir.Value) -> Ids:
        """The channels of an activation."""
        return self.grids.get(value, np.zeros((1,) * rank(value), np.intp))

    def hold(self, value: ir.Value, grid: Ids) -> None:
        """Note the channels of an activation."""
        if self.find(grid).any():
            self.grids[value] = grid

    def is_held(self, value: ir.Value | None) -> bool:
        """Whether an activation has channels that may be removed."""
        return value is not None and value in self.grids

    def pin(self, ids: Ids, node: ir.Node, why: str) -> None:
        """Let channels stay, and say why where they could have gone."""
        if self.unite(ids, np.array(WHOLE)):
            self.skipped.append(Skipped(str(node.name), why))

    def along(self, value: ir.Value, axis: int) -> Ids:
        """The channels along one axis, which alone may tell them apart: shape (length,) or (1,)."""
        return self.rows(self.grid(value), axis)

    def rows(self, grid: Ids, axis: int) -> Ids:
        """As `along`, of a grid."""
        if grid.shape[axis] == 1:
            self.unite(grid, np.array(WHOLE))
            return np.zeros(1, np.intp)
        rows = np.moveaxis(grid, axis, 0).reshape(grid.shape[axis], -1)
        self.unite(rows, rows[:, :1])
        return rows[:, 0]

    def constant(self, value: ir.Value, axis: int, node: ir.Node, role: Role = Role.WRITES) -> Ids:
        """The channels along an axis of a constant that a node reads; shape (length,)."""
        key = value, axis % rank(value)
        if key not in self.usages:
            self.usages[key] = Usage(self.fresh(kernels.dims(value)[axis]))
        self.usages[key].roles[node] = role
        return self.usages[key].ids

    def demand(
        self, value: ir.Value, node: ir.Node, why: str, allows: Callable[[int], bool]
    ) -> None:
        """Note what must hold of the axis along which a tensor's channels lie."""
        self.demands.append(Demand(value, allows, node, why))


def lying(ids: Ids, rank: int, axis: int) -> Ids:
    """The grid of a tensor whose channels lie along one axis."""
    shape = [1] * rank
    shape[axis] = len(ids)
    return ids.reshape(shape)


def rank(value: ir.Value) -> int:
    """How many axes a value has; 0 where it is not known."""
    return 0 if value.shape is None else len(value.shape)


def dims(value: ir.Value) -> Dims:
    """The shape of a value: numbers, names of free dimensions, None where nothing is known.

    A last axis that shape inference lost is as long as the weight that it is multiplied with.
    """
    if value.shape is None:
        return ()
    known: list[int | str | None] = [d if isinstance(d, int) else d.value for d in value.shape]
    if known and not isinstance(known[-1], int):
        known[-1] = _depth(value) or known[-1]
    return tuple(known)


def _depth(value: ir.Value) -> int | None:
    """The rows of a constant matrix that a value is multiplied with from the left."""
    for node, index in value.uses():
        weight = node.inputs[1] if node.op_type == "MatMul" and index == 0 else None
        tensor = kernels.constant(weight)
        if tensor is not None and tensor.numpy().ndim == _MATRIX:
            return int(tensor.numpy().shape[0])
    return None
