"""Scales of batch norms, read back from what is written: they hardly outlive a graph's export.

A batch norm gives each channel the standard deviation |scale| over the data that it was trained on
(Ioffe and Szegedy 2015), and still does once it is folded into the weights before it. So the scale
that network slimming ranks by (Liu et al. 2017) can be measured on any graph, without labels.
"""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from ..accuracy.samples import Samples, each
from ..engine import Array
from ..errors import InputError
from ..observe import OpenRunner, observer
from .groups import ChannelGroup, Role
from .importance import Scores, shared

_WRITERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_NORM = "BatchNormalization"


def by_deviations(
    model: ir.Model, groups: Sequence[ChannelGroup], samples: Samples, open_runner: OpenRunner
) -> Scores:
    """Standard deviations of what each unit's weights, or batch norms behind them, write.

    Args:
        model: The graph.
        groups: Its channel groups.
        samples: Inputs; labels are not needed.
        open_runner: Opens a graph.

    Raises:
        InputError: There are no samples.
    """
    if not len(samples):
        raise InputError("no samples to measure deviations on", "give some with --data")
    seen = {group.name: _written(model, group) for group in groups}
    axes = {name: axis for group in groups for name, axis, _ in group.tensors}
    wanted = sorted({name for names in seen.values() for name in names})
    run = observer(model, wanted, open_runner)
    sums: dict[str, Array] = {name: np.zeros(()) for name in wanted}
    for sample in each(samples):
        arrays = run(sample.feeds)
        for name in wanted:
            sums[name] = sums[name] + _sums(arrays[name], axes[name])
    found = {name: _deviation(total) for name, total in sums.items()}
    return {group.name: _score(group, seen[group.name], found) for group in groups}


def _written(model: ir.Model, group: ChannelGroup) -> frozenset[str]:
    """The group's tensors that its weights write, or that a batch norm makes of them."""
    nodes = {node.name: node for node in model.graph}
    tensors = {name for name, _, _ in group.tensors}
    found = set()
    for member in group.members:
        node = nodes[member.node]
        out = node.outputs[0]
        normed = any(use.node.op_type == _NORM for use in out.uses())
        writes = member.role is Role.WRITES and node.op_type in {*_WRITERS, _NORM}
        if writes and not normed and out.name in tensors:
            found.add(str(out.name))
    return frozenset(found or tensors)


def _sums(array: Array, axis: int) -> Array:
    """Count, sum and sum of squares of each channel; shape (3, channels)."""
    rows = np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1).astype(np.float64)
    count = np.full(len(rows), float(rows.shape[1]))
    return np.stack([count, rows.sum(axis=1), (rows**2).sum(axis=1)])


def _deviation(sums: Array) -> Array:
    count, first, second = sums
    deviation: Array = np.sqrt(np.maximum(second / count - (first / count) ** 2, 0.0))
    return deviation


def _score(group: ChannelGroup, names: frozenset[str], deviations: dict[str, Array]) -> Array:
    total = np.zeros(group.units)
    for name, _, indices in group.tensors:
        if name in names:
            total += shared(deviations[name][indices].mean(axis=1))
    return total
