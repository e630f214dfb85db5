"""Writes a plan into a graph: quantised, cast and 4-bit kernels in the backend's own dialect."""

import math
from collections.abc import Callable, Mapping

import onnx_ir as ir
from onnx_ir.passes import common

from ..toolchain import hints, kernels
from ..toolchain.calibration import Range
from ..toolchain.dialect import Dialect
from ..toolchain.engine import Array
from ..toolchain.naming import derived
from ..toolchain.plan import Plan, Precision, Sparsity
from ..toolchain.slots import Slot, SlotGraph
from ..toolchain.storage.formats import Format
from . import quantize, sparsify, store
from .base import Base
from .forms import Forms
from .legalize_trt import legalize_trt
from .operands import Operands

DTYPES = {
    Precision.FP32: ir.DataType.FLOAT,
    Precision.FP16: ir.DataType.FLOAT16,
    Precision.BF16: ir.DataType.BFLOAT16,
}
# Inputs that stay fp32 in a float16 kernel (ONNX operator schemas).
_FP32_INPUTS = {"Resize": frozenset({1, 2})}


class PlanWriter:
    """Writes plans of one model.

    Args:
        model: The graph after the graph passes; it is not changed.
        slots: Its slots.
        dialect: How the backend wants precisions written.
        ranges: The calibrated range of each float tensor; may be empty where no plan quantises.
        base: An earlier graph of the one plan that is written, whose scales, zero points and
            codebooks it has; None: those that fit best.
    """

    def __init__(
        self,
        model: ir.Model,
        slots: SlotGraph,
        *,
        dialect: Dialect,
        ranges: Mapping[str, Range],
        base: Base | None = None,
    ) -> None:
        self.model = model
        self.slots = slots
        self.dialect = dialect
        self.ranges = ranges
        self.base = base
        self._twin = _same_values(model.graph, ranges)
        self._weights: dict[tuple[str, str], quantize.Weights] = {}
        self._sparse: dict[str, Array] = {}
        self._stored: dict[tuple[str, str, Format], Array] = {}
        self._recovered: Mapping[str, Array] = {}
        self._int8_float = DTYPES[dialect.int8_float].numpy()

    def write(self, plan: Plan) -> ir.Model:
        """A new graph that runs every slot as the plan says.

        Where the dialect has no Casts, the graph only notes the precisions for the builder.
        """
        model = _Writing(self, plan).write()
        for name, array in self._recovered.items():
            if (held := model.graph.initializers.get(name)) is not None:
                held.const_value = ir.tensor(array, name=name)
        if not self.dialect.casts:
            hints.write(model, plan, self.slots)
        if self.dialect.name == "trt":
            legalize_trt(self.dialect)(model)
        return model

    def within(self, model: ir.Model, slots: SlotGraph) -> "PlanWriter":
        """A writer of a part of the model; constants are quantised once for it and the whole."""
        part = PlanWriter(model, slots, dialect=self.dialect, ranges=self.ranges, base=self.base)
        part._twin, part._weights, part._sparse = self._twin, self._weights, self._sparse
        part._stored, part._recovered = self._stored, self._recovered
        return part

    def recovered(self, constants: Mapping[str, Array]) -> "PlanWriter":
        """A writer that holds these constants instead of those that it would round to.

        Args:
            constants: Arrays by the name of their initialiser in a written graph, of the shape and
                type that it has there; a plan whose graph has no such initialiser ignores it.
        """
        writer: PlanWriter = self.within(self.model, self.slots)
        writer._recovered = {**self._recovered, **constants}
        return writer

    def weights(self, node: ir.Node, source: str, extra: int) -> quantize.Weights:
        """The quantised constants of a node that reads `source`; worked out once for all plans."""
        read = (str(node.name), str(node.inputs[1] and node.inputs[1].name))  # dense or sparse
        if read not in self._weights:
            scale = float(self.mapping(source).scale)
            self._weights[read] = quantize.weights(
                node, scale, channels=extra, dtype=self._int8_float, scale=self._base_scale(node)
            )
        return self._weights[read]

    def _base_scale(self, node: ir.Node) -> quantize.Floats | None:
        """The scales that a node's weight has in the base; None without one."""
        tensor = kernels.constant(node.inputs[1])
        return self.base.weight(node, tensor.numpy()) if self.base and tensor is not None else None

    def sparse(self, node: ir.Node) -> Array | None:
        """A node's weight with two of each four at zero; worked out once for all plans.

        None where no kernel skips them.
        """
        name = str(node.name)
        if name not in self._sparse and (array := sparsify.two_four_weight(node)) is not None:
            self._sparse[name] = array
        return self._sparse.get(name)

    def stored(self, node: ir.Node, form: Format) -> Array | None:
        """What storage leaves of a node's weight; worked out once for all plans."""
        if not store.has_weight(node):
            return None
        read = (str(node.name), str(node.inputs[1] and node.inputs[1].name), form)
        if read not in self._stored:
            like = self.base.stored(node, form) if self.base else None
            self._stored[read] = store.stored_weight(node, form, like=like)
        return self._stored[read]

    def mapping(self, tensor: str) -> quantize.Affine:
        """The mapping of a tensor; what only moves numbers shares the mapping of its source."""
        if self.base:
            return self.base.activation(tensor)
        source = self._twin.get(tensor, tensor)
        unsigned = self.dialect.unsigned_activations
        return quantize.activation(self.ranges[source], unsigned=unsigned, dtype=self._int8_float)


def _same_values(graph: ir.Graph, ranges: Mapping[str, Range]) -> dict[str, str]:
    """For the output of each node that only moves numbers: the tensor they come from.

    The farthest up that has a range: one that no int8 kernel touches was not calibrated.
    """
    twin: dict[str, str] = {}
    for node in graph:
        moved = [str(v.name) for v in node.inputs if v is not None and kernels.is_activation(v)]
        if node.op_type not in kernels.MOVES or len(moved) != 1:
            continue
        source = twin.get(moved[0], moved[0])
        if source in ranges:
            twin.update((str(out.name), source) for out in node.outputs if kernels.is_float(out))
    return twin


class _Writing:
    """One plan on its way into one copy of the graph."""

    def __init__(self, writer: PlanWriter, plan: Plan) -> None:
        self.writer = writer
        self.dialect = writer.dialect
        self.choices = plan.as_dict()
        self.model = writer.model.clone()
        self.graph = self.model.graph
        self.nodes = {node.name: node for node in self.graph}
        self.forms = Forms(self.graph, writer.mapping)
        self.operands = Operands(self.graph, writer.dialect, writer.base)
        self.readers = _int8_readers(writer.slots, self._precision)
        self.known: set[ir.Node] = set()

    def write(self) -> ir.Model:
        for slot in self.writer.slots.slots:
            self._sparsify(slot)
            self._store(slot)
            self._slot(slot, self._precision(slot))
        for value in self.forms.changed():
            self._restore(value)
        self._drop_unused()
        return self.model

    def _precision(self, slot: Slot) -> Precision:
        choice = self.choices.get(slot.name)
        return choice.precision if choice else Precision.FP32

    def _sparsify(self, slot: Slot) -> None:
        """Let the slot's nodes read 2:4 sparse weights, if so it is planned."""
        choice = self.choices.get(slot.name)
        if choice is None or choice.sparsity is not Sparsity.TWO_FOUR:
            return
        for node in (self.nodes[name] for name in slot.nodes):
            if (array := self.writer.sparse(node)) is not None:
                sparsify.read(node, array, self.graph)

    def _store(self, slot: Slot) -> None:
        """Let the slot's nodes read what storage leaves of their weights, if so it is planned."""
        choice = self.choices.get(slot.name)
        if choice is None or not choice.storage:
            return
        form = Format.parse(choice.storage)
        for node in (self.nodes[name] for name in slot.nodes):
            if (array := self.writer.stored(node, form)) is not None:
                store.read(node, form, array, self.graph)

    def _slot(self, slot: Slot, precision: Precision) -> None:
        for part in slot.parts:
            self._part([self.nodes[name] for name in part], precision)

    def _part(self, nodes: list[ir.Node], precision: Precision) -> None:
        self.known.update(nodes)
        match precision:
            case Precision.INT8 if self.dialect.qdq:
                self._int8(nodes)
            case Precision.INT4:
                self._float(nodes, ir.DataType.FLOAT)
                self.known.add(self.operands.to_int4(nodes[0]))
            case Precision.FP16 | Precision.BF16 if precision in self.dialect.emulated:
                self._emulated(nodes, DTYPES[precision])
            case Precision.FP16 | Precision.BF16 if self.dialect.casts:
                self._float(nodes, DTYPES[precision])
            case _:
                self._float(nodes, None)

    def _float(self, nodes: list[ir.Node], dtype: ir.DataType | None) -> None:
        """Run nodes in a float type; None: in the types that they have."""
        inside = {out for node in nodes for out in node.outputs}
        for node in nodes:
            fixed = _FP32_INPUTS.get(node.op_type, frozenset())
            for index, value in enumerate(node.inputs):
                if value is None or value in inside or index in fixed:
                    continue
                if kernels.is_activation(value):
                    wanted = dtype or self.forms.original(value)
                    node.replace_input_with(index, self.forms.as_float(value, wanted))
                elif dtype and kernels.is_float(value):
                    node.replace_input_with(index, self.operands.cast(value, dtype))
            for out in node.outputs:
                if kernels.is_float(out):
                    self.forms.produced(out, dtype or self.forms.original(out))

    def _emulated(self, nodes: list[ir.Node], dtype: ir.DataType) -> None:
        """Run nodes in fp32 on numbers of another float type, and round what they write to it."""
        inside = {out for node in nodes for out in node.outputs}
        for node in nodes:
            fixed = _FP32_INPUTS.get(node.op_type, frozenset())
            for index, value in enumerate(node.inputs):
                if (
                    value is None
                    or value in inside
                    or index in fixed
                    or not kernels.is_float(value)
                ):
                    continue
                computed = kernels.is_activation(value)
                read = (self.forms if computed else self.operands).rounded(value, dtype)
                node.replace_input_with(index, read)
        for out in filter(kernels.is_float, nodes[-1].outputs):
            self.forms.produced(out, ir.DataType.FLOAT, source=self.forms.rounded(out, dtype))

    def _int8(self, nodes: list[ir.Node]) -> None:
        """Run a kernel on integers: QuantizeLinear/DequantizeLinear around it."""
        dtype = DTYPES[self.dialect.int8_float]
        anchor, last = nodes[0], nodes[-1]
        self._int8_inputs(anchor, dtype)
        for node in nodes[1:]:
            for index, value in enumerate(node.inputs):
                if value is not None and kernels.constant(value) and kernels.is_float(value):
                    node.replace_input_with(index, self.operands.cast(value, dtype))
        whole = self.dialect.quantized_outputs and not (
            anchor.op_type in self.dialect.float_outputs
            and last.outputs[0].name not in self.readers
        )
        source = last.outputs[0]
        if whole and len(nodes) > 1 and self._absorbs(last):
            source = anchor.outputs[0]
        elif len(nodes) > 1:
            anchor.outputs[0].type = ir.TensorType(dtype)
        for out in filter(kernels.is_float, last.outputs):
            carrier = source if out is last.outputs[0] else out
            self.forms.produced(out, dtype, quantised=whole, source=carrier)

    def _int8_inputs(self, node: ir.Node, dtype: ir.DataType) -> None:
        """Read activations as integers, and constants as the op's int8 kernel wants them."""
        weighted = (
            node.op_type in quantize.WEIGHTED and kernels.constant(node.inputs[1]) is not None
        )
        extra = self._extra_channels(node) if weighted else 0
        source = node.inputs[0]
        for index, value in enumerate(node.inputs):
            fixed = index in _FP32_INPUTS.get(node.op_type, frozenset())
            if value is None or not kernels.is_float(value) or fixed or (weighted and index > 0):
                continue
            if kernels.is_activation(value):
                read = self.forms.as_int8(value, dtype, channels=extra)
            else:
                read = self.operands.constant(node, index, dtype)
            node.replace_input_with(index, read)
        if weighted and source is not None:
            weights = self.writer.weights(node, str(source.name), extra)
            self.operands.quantise(node, weights, dtype)

    def _extra_channels(self, node: ir.Node) -> int:
        """Zero channels that an int8 Conv with very few input channels gets."""
        value, weight = node.inputs[0], node.inputs[1]
        if node.op_type != "Conv" or value is None or weight is None or value.shape is None:
            return 0
        have = kernels.dims(weight)[1]
        alone = node.attributes.get_int("group", 1) == 1
        return max(0, self.dialect.int8_channels - have) if alone else 0

    def _absorbs(self, node: ir.Node) -> bool:
        """Whether saturation to the output's integers does what an activation node does."""
        low, high = self.writer.mapping(str(node.outputs[0].name)).bounds
        lowest, highest = _clip_bounds(node)
        step = (high - low) / 255
        return low >= lowest - step / 2 and high <= highest + step / 2

    def _restore(self, value: ir.Value) -> None:
        """Give readers that know nothing of the plan the tensor in its original type."""
        strangers = [
            (use.node, use.idx)
            for use in value.uses()
            if use.node not in self.known and use.node not in self.forms.added
        ]
        is_output = value.is_graph_output()
        if not strangers and not is_output:
            return
        read = self.forms.as_float(value, self.forms.original(value))
        for node, index in strangers:
            node.replace_input_with(index, read)
        if is_output:
            name = str(value.name)
            value.name, read.name = derived(name, "raw"), name
            outputs = self.graph.outputs
            outputs[:] = [read if out is value else out for out in outputs]

    def _drop_unused(self) -> None:
        """Remove what nothing reads any more: absorbed activations and replaced weights."""
        common.RemoveUnusedNodesPass()(self.model)


def _int8_readers(slots: SlotGraph, precision: Callable[[Slot], Precision]) -> frozenset[str]:
    """The tensors that at least one int8 slot reads."""
    return frozenset(
        tensor
        for slot in slots.slots
        if precision(slot) is Precision.INT8
        for tensor in (*slot.inputs, *slot.inner)
    )


def _clip_bounds(node: ir.Node) -> tuple[float, float]:
    """The interval that an activation node clips to; empty where it is no clip."""
    if node.op_type == "Relu":
        return 0.0, math.inf
    if node.op_type != "Clip":
        return math.inf, -math.inf
    low, high = (kernels.constant(node.inputs[i]) if len(node.inputs) > i else None for i in (1, 2))
    return (
        -math.inf if low is None else float(low.numpy()),
        math.inf if high is None else float(high.numpy()),
    )
