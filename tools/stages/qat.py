"""What a plan rounds, as quantisation-aware training has it, and the plan with what was learnt."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import onnx_ir as ir

from ...passes.apply import PlanWriter
from ...passes.quantize import channel_axis
from ...passes.store import has_weight
from ...toolchain import kernels
from ...toolchain.calibration import per_channel_scales
from ...toolchain.engine import Array
from ...toolchain.naming import base
from ...toolchain.plan import NodeChoice, Plan, Precision, Sparsity
from ...toolchain.storage.encode import encode, kept
from ...toolchain.storage.formats import Format, Group, Kind
from ...toolchain.storage.levels import fixed_levels
from ...toolchain.training.lsq import Grid
from ...toolchain.training.qat import QuantActivation, QuantWeight
from ...toolchain.training.schedule import Gradual, Masks
from .decide import Decisions

_BITS = 8


def rounded_weights(writer: PlanWriter, plan: Plan) -> tuple[QuantWeight, ...]:
    """The weights that a plan rounds, where training can round as the plan does.

    Left out, and so trained as if they were not rounded: codebooks, scales of blocks, 2:4 sparse
    weights, and constants that nodes with different choices share.
    """
    rounded = (_rounded(node, choice) for node, choice in _alone(writer, plan).values())
    return tuple(weight for weight in rounded if weight is not None)


def _alone(writer: PlanWriter, plan: Plan) -> Mapping[str, tuple[ir.Node, NodeChoice]]:
    """The weights that one node alone reads, by name, with that node and its choice."""
    choices = plan.as_dict()
    nodes = {str(node.name): node for node in writer.model.graph}
    found: dict[str, list[tuple[ir.Node, NodeChoice]]] = {}
    for slot in writer.slots.slots:
        choice = choices.get(slot.name, NodeChoice())
        for node in (nodes[name] for name in slot.nodes):
            if has_weight(node) and (value := node.inputs[1]) is not None:
                found.setdefault(str(value.name), []).append((node, choice))
    return {name: readers[0] for name, readers in found.items() if len(readers) == 1}


@dataclass(frozen=True, slots=True)
class Zeros:
    """Masks for the weights that a plan stores with zeros (`MakeMasks`).

    Attributes:
        weights: The name of each, its format, and the axis of its channels.
    """

    weights: tuple[tuple[str, Format, int | None], ...]

    def __call__(self, weights: Mapping[str, Array], share: float) -> Masks:
        """What is kept of the weights of the moment, with a share of each format's zeros."""
        return {
            name: kept(weights[name], form, axis, along=share)
            for name, form, axis in self.weights
            if name in weights
        }


def growing_zeros(writer: PlanWriter, plan: Plan) -> Gradual | None:
    """The zeros that a plan stores, coming little by little; None where it stores none.

    The masks go by magnitude and are made again as they grow, so that a weight which training made
    small goes before one which it made large.
    """
    found = []
    for name, (node, choice) in _alone(writer, plan).items():
        tensor = kernels.constant(node.inputs[1])
        form = Format.parse(choice.storage) if choice.storage else None
        if form is not None and form.zeros and tensor is not None:
            found.append((name, form, channel_axis(node, len(tensor.shape))))
    return Gradual(Zeros(tuple(found)), final=1.0) if found else None


def _rounded(node: ir.Node, choice: NodeChoice) -> QuantWeight | None:
    """A node's weight under a choice; None where training leaves it as it is."""
    value, tensor = node.inputs[1], kernels.constant(node.inputs[1])
    if value is None or tensor is None or choice.sparsity is not Sparsity.DENSE:
        return None
    array, name = tensor.numpy(), str(value.name)
    axis = channel_axis(node, array.ndim)
    if choice.storage:
        form = Format.parse(choice.storage)
        if form.kind is Kind.CODEBOOK or form.group is Group.BLOCK:
            return None
        axis = None if form.group is Group.TENSOR else axis
        scale = encode(array, form, axis).scales.reshape(-1 if axis is not None else ())
        return QuantWeight(name, axis, Grid.at(fixed_levels(form).tolist()), scale, coarse=True)
    if choice.precision is Precision.INT8:
        rows = array.reshape(1, -1) if axis is None else array
        scale = per_channel_scales(rows, axis or 0).reshape(-1 if axis is not None else ())
        return QuantWeight(name, axis, Grid.of(_BITS), scale)
    return None


def rounded_tensors(simulator: PlanWriter, plan: Plan) -> tuple[QuantActivation, ...]:
    """The tensors that nodes of a plan read as integers, with the ranges of the calibration."""
    names = {str(node.name) for node in simulator.model.graph}
    written = simulator.write(plan)
    found = []
    for node in written.graph:
        if node.op_type != "QuantizeLinear" or kernels.constant(node.inputs[0]) is not None:
            continue
        readers = tuple(dict.fromkeys(name for name in _readers(node) if name in names))
        scale, zero = (kernels.constant(node.inputs[index]) for index in (1, 2))
        if not readers or scale is None or zero is None:
            continue
        found.append(
            QuantActivation(
                tensor=base(str(node.outputs[0].name)),
                scale=float(scale.numpy()),
                zero_point=int(zero.numpy()),
                unsigned=zero.dtype is ir.DataType.UINT8,
                readers=readers,
                learnt=False,
            )
        )
    return tuple(found)


def _readers(node: ir.Node) -> Iterator[str]:
    """Names of the nodes that read what a node writes, behind every change of form."""
    for out in node.outputs:
        for use in out.uses():
            if use.node.op_type in {"DequantizeLinear", "Pad", "Cast"}:
                yield from _readers(use.node)
            yield str(use.node.name)


def with_weights(decisions: Decisions, trained: ir.Model) -> Decisions:
    """The same decisions about a graph with other weights."""

    def of(writer: PlanWriter) -> PlanWriter:
        return PlanWriter(trained, writer.slots, dialect=writer.dialect, ranges=writer.ranges)

    return replace(decisions, writer=of(decisions.writer), simulator=of(decisions.simulator))
