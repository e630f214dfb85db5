"""Sensitivities without an evaluation: rounding noise over signal, from weights and histograms.

The noise of a slot's output is worked out as for independent rounding errors (Widrow and Kollar,
Quantization Noise, 2008): through a matrix product, errors of variance e of what it reads come out
as e * ||W||^2, and an error D of its weights as the variance of D x.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from .. import kernels
from ..engine import Array
from ..slots import Slot
from .moments import Moments
from .perturbation import Activations, Perturbation, Rounding, Table

_WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_SUMS = frozenset({"Add", "Sub", "Sum"})
_AVERAGES = frozenset({"GlobalAveragePool", "AveragePool", "ReduceMean"})


def noise(rounding: Rounding) -> Table:
    """Noise over signal of each slot's output: 1 / SQNR, as a ratio of powers.

    Returns:
        Shape (slots, most choices), as `sensitivity` gives it.
    """
    table = rounding.table()
    nodes = rounding.nodes()
    for change in rounding.perturbations():
        table[change.row, change.column] = _ratio(change, nodes, rounding.activations)
    return table


def propagated(rounding: Rounding) -> Table:
    """Noise over signal of each slot's output, times what of it reaches the model's outputs.

    A sum dilutes the noise of one branch by the signal of the other, and an average of many
    positions takes most of it out; anything else hands it on as it is.
    """
    gains = _gains(rounding)
    table: Table = noise(rounding) * gains[:, None]
    return table


def sqnr_db(ratio: Table) -> Table:
    """Noise over signal as a signal-to-quantisation-noise ratio in decibels; infinite for fp32."""
    with np.errstate(divide="ignore"):
        decibels: Table = -10.0 * np.log10(ratio)
    return decibels


def _ratio(change: Perturbation, nodes: Mapping[str, ir.Node], known: Activations) -> float:
    """Noise over signal, summed over the parts of a slot."""
    return sum(
        _part_ratio([nodes[name] for name in part], change, known) for part in change.slot.parts
    )


def _part_ratio(part: Sequence[ir.Node], change: Perturbation, known: Activations) -> float:
    """Noise over signal of what an anchor and its activation write."""
    anchor, written = part[0], str(part[-1].outputs[0].name)
    out = known.moments.get(written)
    if anchor.op_type in _WEIGHTED and kernels.constant(anchor.inputs[1]) is not None:
        entering, signal = _product(anchor, change, known)
    else:
        entering, signal = _mixed(anchor, change, known), out.variance if out else 0.0
    alive = 1.0 - out.zeros if out and len(part) > 1 else 1.0  # a closed ReLU passes no noise
    power = out.variance if out and out.variance > 0.0 else signal
    total = entering * alive + (change.activations.get(written, 0.0) if out else 0.0)
    return total / power if power > 0.0 else 0.0


def _product(node: ir.Node, change: Perturbation, known: Activations) -> tuple[float, float]:
    """Noise and signal of a product with a constant matrix, mean of its output channels."""
    weight = _rows(node, _constant(node, 1))
    delta = _rows(node, change.constants.get(_name(node, 1), np.zeros(1)))
    x = known.moments.get(_name(node, 0), Moments(0.0, 1.0))
    error = change.activations.get(_name(node, 0), 0.0)
    entering = error * _energy(weight) + _through(delta, x)
    return entering / len(weight), _through(weight, x) / len(weight)


def _through(rows: Array, x: Moments) -> float:
    """Power of rows times a vector of numbers that share a mean and are else independent."""
    return x.variance * _energy(rows) + x.mean**2 * float((rows.sum(axis=1) ** 2).sum())


def _mixed(node: ir.Node, change: Perturbation, known: Activations) -> float:
    """Noise that comes out of a sum, an average, or anything else, which keeps it in proportion."""
    written = known.moments.get(str(node.outputs[0].name))
    total = 0.0
    for index, value in enumerate(node.inputs):
        if value is None or not kernels.is_float(value):
            continue
        error, power = _operand(node, index, change, known)
        if node.op_type in _SUMS:
            total += error
        elif node.op_type in _AVERAGES:
            total += error / _averaged(change.slot)
        elif power > 0.0 and written:
            total += error / power * written.square
    return total


def _operand(
    node: ir.Node, index: int, change: Perturbation, known: Activations
) -> tuple[float, float]:
    """Mean squared error and mean square of one operand, a constant or computed."""
    name = _name(node, index)
    if kernels.constant(node.inputs[index]) is None:
        moments = known.moments.get(name)
        return change.activations.get(name, 0.0), moments.square if moments else 0.0
    delta = change.constants.get(name, np.zeros(1))
    return float((delta**2).mean()), float((_constant(node, index) ** 2).mean())


def _gains(rounding: Rounding) -> Table:
    """What part of each slot's noise over signal reaches the model's outputs; shape (slots,)."""
    slots, known = rounding.graph.slots, rounding.activations.moments
    gains = np.zeros(len(slots))
    outgoing: list[list[tuple[str, tuple[int, ...], bool]]] = [[] for _ in slots]
    for edge in rounding.graph.edges:
        if edge.producer >= 0:
            outgoing[edge.producer].append((edge.tensor, edge.consumers, edge.is_output))
    for row in reversed(range(len(slots))):
        gains[row] = sum(
            is_output + sum(_share(tensor, slots[r], known) * gains[r] for r in set(readers))
            for tensor, readers, is_output in outgoing[row]
        )
    return gains


def _share(tensor: str, reader: Slot, known: Mapping[str, Moments]) -> float:
    """The part of a tensor's noise over signal that is left in what a slot writes."""
    written = next((known[name] for name in reader.outputs if name in known), None)
    read = known.get(tensor)
    if read is None or written is None or written.variance == 0.0:
        return 1.0
    if reader.op in _SUMS:
        return read.variance / written.variance * (1.0 - written.zeros)
    if reader.op in _AVERAGES:
        return read.variance / written.variance / _averaged(reader)
    return 1.0


def _averaged(slot: Slot) -> float:
    """How many numbers make one number of the output."""
    return max(slot.work.reads / max(slot.work.writes, 1), 1.0)


def _rows(node: ir.Node, array: Array) -> Array:
    """A weight as rows, one for each output channel: shape (channels, depth)."""
    if array.ndim < 2:  # noqa: PLR2004 - a stand-in for no error, or a vector
        return array.reshape(1, -1)
    if node.op_type == "Conv":
        return array.reshape(len(array), -1)
    if node.op_type == "ConvTranspose":  # an output reads one weight in each stride and group
        groups = node.attributes.get_int("group", 1)
        parts = math.prod(node.attributes.get_ints("strides", [1])) * groups
        return np.moveaxis(array, 1, 0).reshape(array.shape[1], -1) / np.float32(parts**0.5)
    if node.op_type == "Gemm" and node.attributes.get_int("transB", 0) == 1:
        return array
    return np.moveaxis(array, -1, 0).reshape(array.shape[-1], -1)


def _energy(rows: Array) -> float:
    return float((rows.astype(np.float64) ** 2).sum())


def _name(node: ir.Node, index: int) -> str:
    value = node.inputs[index]
    return "" if value is None else str(value.name)


def _constant(node: ir.Node, index: int) -> Array:
    tensor = kernels.constant(node.inputs[index])
    return np.zeros(1) if tensor is None else tensor.numpy().astype(np.float32)
