"""What is left takes over what goes: weights refitted so that their readers see little change.

After He, Zhang and Sun 2017 ("Channel pruning for accelerating very deep neural networks", the
second step of their equation 1) and Luo et al. 2017 (ThiNet), with one map for all positions of a
kernel: the channels that go are predicted from those that stay, by least squares, and the weights
that read them are moved over along that map. So all readers of a tensor share its moments, which
need no more memory than its channels squared.
"""

import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from .. import kernels
from ..accuracy.samples import Samples, each
from ..engine import Array
from ..observe import OpenRunner, observer
from .groups import ChannelGroup, Indices, Member, Role

_RIDGE = 1e-3  # of the mean variance, on the diagonal
_POSITIONS = 256  # of one sample that count at most
_CHANNELS = 4096  # of a tensor at most: its moments take 8 bytes for each pair
_BIAS = 2  # the input: X, W, B


@dataclass(frozen=True, slots=True)
class ChannelMoments:
    """First and second moments of the channels of a tensor.

    Attributes:
        mean: Shape (channels,).
        second: Mean products, shape (channels, channels).
    """

    mean: Array
    second: Array

    def prediction(self, gone: Indices, left: Indices, *, offset: bool) -> tuple[Array, Array]:
        """How channels follow from others: gone = matrix @ left + offset.

        Args:
            gone: The channels that go.
            left: Those that stay; there may be none.
            offset: Whether there may be an offset; otherwise it is 0.

        Returns:
            Shapes (gone, left) and (gone,).
        """
        mean = self.mean if offset else np.zeros_like(self.mean)
        centred = self.second - np.outer(mean, mean)
        own = centred[np.ix_(left, left)]
        ridge = _RIDGE * float(np.trace(own)) / max(1, len(left))
        matrix = np.zeros((len(gone), len(left)))
        if ridge > 0.0:
            own = own + ridge * np.eye(len(left))
            matrix = np.linalg.solve(own, centred[np.ix_(left, gone)]).T
        return matrix, mean[gone] - matrix @ mean[left]


Moments = Mapping[str, ChannelMoments]


def moments_of(
    model: ir.Model,
    groups: Sequence[ChannelGroup],
    samples: Samples,
    open_runner: OpenRunner,
    *,
    also: Mapping[str, int] = types.MappingProxyType({}),
) -> Moments:
    """The moments of every tensor whose channels some weight reads, by its name.

    Memory does not grow with the samples.

    Args:
        model: The graph.
        groups: Its channel groups.
        samples: Inputs; labels are not needed.
        open_runner: Opens a graph.
        also: Other tensors that are asked for, with the axis of their channels.
    """
    axes = {**also, **{name: axis for _, name, axis in _readers(model, groups)}}
    run = observer(model, sorted(axes), open_runner)
    sums: dict[str, tuple[Array, Array, int]] = {}
    for sample in each(samples):
        seen = run(sample.feeds)
        for name, axis in axes.items():
            rows = _rows(seen[name], axis)
            mean, second, count = sums.get(name, (0.0, 0.0, 0))
            sums[name] = mean + rows.sum(axis=0), second + rows.T @ rows, count + len(rows)
    return {name: ChannelMoments(m / n, s / n) for name, (m, s, n) in sums.items()}


def refit(
    model: ir.Model,
    groups: Sequence[ChannelGroup],
    kept: Mapping[str, Indices],
    moments: Moments,
) -> ir.Model:
    """A copy of a graph whose weights no longer need the channels that go; they still are there.

    Args:
        model: The graph; it is not changed.
        groups: Its channel groups.
        kept: The units that stay, by the name of their group; a group that is not named stays.
        moments: Of its tensors.
    """
    copy = model.clone()
    nodes = {str(node.name): node for node in copy.graph}
    changed = [group for group in groups if group.name in kept]
    gone: dict[tuple[str, int], list[Indices]] = {}
    for group in changed:
        units = np.setdiff1d(np.arange(group.units), kept[group.name])
        for name, axis, indices in group.tensors:
            gone.setdefault((name, axis), []).append(indices[units].ravel())
    for member, name, axis in _readers(copy, changed):
        lost = np.unique(np.concatenate(gone.get((name, axis), [np.zeros(0, np.intp)])))
        if len(lost) and name in moments:
            _take_over(copy, nodes[member.node], member, lost, moments[name])
    return copy


def _readers(model: ir.Model, groups: Iterable[ChannelGroup]) -> Iterable[tuple[Member, str, int]]:
    """Weights that read channels, each with the tensor and the axis that it reads them from."""
    nodes = {str(node.name): node for node in model.graph}
    seen: set[tuple[str, str]] = set()
    for group in groups:
        held = {(name, axis) for name, axis, _ in group.tensors}
        for member in group.members:
            node = nodes[member.node]
            value = node.inputs[0]
            if member.role is not Role.READS or value is None or not _alone(model, member):
                continue
            axis = 1 if node.op_type == "Conv" else len(kernels.dims(value)) - 1
            fits = (str(value.name), axis) in held and kernels.dims(value)[axis] <= _CHANNELS
            if (
                fits
                and node.op_type != "ConvTranspose"
                and (member.node, member.constant) not in seen
            ):
                seen.add((member.node, member.constant))
                yield member, str(value.name), axis


def _alone(model: ir.Model, member: Member) -> bool:
    """Whether nobody else reads a weight."""
    return len(list(model.graph.initializers[member.constant].uses())) == 1


def _rows(array: Array, axis: int) -> Array:
    """Positions of one sample, evenly spaced; shape (positions, channels)."""
    rows = np.moveaxis(array, axis, -1).reshape(-1, array.shape[axis]).astype(np.float64)
    step = -(-len(rows) // _POSITIONS)
    return rows[::step]


def _take_over(
    model: ir.Model, node: ir.Node, member: Member, gone: Indices, moments: ChannelMoments
) -> None:
    """Move what a weight reads of channels that go over to those that stay."""
    weight = model.graph.initializers[member.constant]
    bias = node.inputs[_BIAS] if len(node.inputs) > _BIAS else None
    own = kernels.constant(bias)
    if weight.const_value is None:
        return
    array = np.moveaxis(weight.const_value.numpy().astype(np.float64), member.axis, -1)
    left = np.setdiff1d(np.arange(array.shape[-1]), gone)
    free = own is not None and bias is not None and len(list(bias.uses())) == 1
    matrix, offset = moments.prediction(gone, left, offset=free)
    lost = array[..., gone]
    array[..., left] += lost @ matrix
    moved = np.moveaxis(array, -1, member.axis).astype(np.float32)
    weight.const_value = ir.tensor(moved, name=weight.name)
    if free and own is not None and bias is not None:
        shift = (lost @ offset).reshape(len(lost), -1).sum(axis=1)
        bias.const_value = ir.tensor(
            (own.numpy() + shift.reshape(own.shape.numpy())).astype(np.float32), name=bias.name
        )
