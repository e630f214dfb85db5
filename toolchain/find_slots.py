"""From a graph to its decisions: groups nodes into kernels and lists what each may run in."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from . import kernels
from .dialect import Dialect, Int4Form
from .operators import DEFAULT_DOMAINS
from .plan import NodeChoice, Precision, Sparsity
from .slots import Edge, Slot, SlotGraph, Work
from .sparse.nodes import has_sparse_kernel
from .storage.formats import Format, Group

ANCHORS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "Add"})
_FLOAT_KERNELS = frozenset({Precision.FP16, Precision.BF16})
INT4_MIN_DEPTH = 32  # one block of weights along K
STORAGE_MIN_WEIGHTS = 256  # fewer are not worth a choice


def find_slots(
    model: ir.Model,
    dialect: Dialect,
    precisions: Sequence[Precision],
    *,
    sparse: bool = False,
    storage: Sequence[Format] = (),
) -> SlotGraph:
    """Group the float nodes of the main graph into slots, in topological order.

    Args:
        model: The graph, with the shape and type of every float tensor (`observe.annotate`).
        dialect: What the backend can write.
        precisions: What the device can run.
        sparse: Whether 2:4 sparse weights are offered where the backend has kernels for them.
        storage: Formats in which weights may be kept, offered where they take less than the
            kernel's own.
    """
    taken: set[ir.Node] = set()
    slots: list[Slot] = []
    for node in model.graph:
        if node in taken or not any(kernels.is_activation(out) for out in node.outputs):
            continue
        group = _group(node, dialect)
        taken.update(group)
        slot = _slot(group, dialect, precisions)
        slot = _with_sparse(slot, group[0], dialect) if sparse else slot
        slots.append(_with_storage(slot, storage) if slot.work.channels else slot)
    return SlotGraph(tuple(slots), tuple(_edges(model.graph, slots)))


def merge_slots(graph: SlotGraph, alone: Collection[int]) -> SlotGraph:
    """Make one decision of what the runtime makes one kernel of.

    Measured reason: a Sigmoid that is fused into the Mul of a SiLU takes no time of its own, and a
    search that sees that would keep it in fp32 beside an int8 Mul, where it does take time. Where
    one decision would take a choice away (a Conv with an activation that has no int8 form), both
    stay, and the one without the matrix product rides on the other.

    Args:
        graph: The slots, as `find_slots` found them.
        alone: Indices of the slots that have a kernel of their own in the fp32 build; any other
            belongs to the one slot that reads what it writes.
    """
    readers: dict[int, set[int]] = {}
    leaves = {edge.producer for edge in graph.edges if edge.is_output}
    for edge in graph.edges:
        readers.setdefault(edge.producer, set()).update(edge.consumers)
    home = list(range(len(graph.slots)))
    for i in reversed(range(len(graph.slots))):
        homes = {home[reader] for reader in readers.get(i, ())}
        if i not in alone and i not in leaves and len(homes) == 1:
            home[i] = homes.pop()
    groups: dict[int, list[int]] = {}
    for i, target in enumerate(home):
        groups.setdefault(target, []).append(i)
    made: dict[int, Slot] = {}
    for target, members in groups.items():
        slots = [graph.slots[i] for i in members]
        merged = _merged(slots)
        if len(merged.choices) == max(len(slot.choices) for slot in slots):
            made[target] = merged
            continue
        for i, slot in zip(members, slots, strict=True):
            home[i] = i
            # The carrier's fp32 kernel is that of all of them, whatever its own nodes are.
            carrier = slot.name == merged.name
            made[i] = replace(
                slot,
                key=merged.key if carrier else slot.key,
                rides="" if carrier else merged.name,
            )
    order = sorted(made)
    edges = _merged_edges(graph, home, order)
    return SlotGraph(tuple(made[i] for i in order), tuple(edges))


def withdraw(graph: SlotGraph, precision: Precision, tensors: Collection[str]) -> SlotGraph:
    """Take a precision from every slot that touches one of the tensors, which it cannot hold."""

    def without(slot: Slot) -> Slot:
        left = tuple(choice for choice in slot.choices if choice.precision is not precision)
        if left == slot.choices or not any(tensor in tensors for tensor in slot.tensors):
            return slot
        kept = slot.kept if len(left) > 1 else "it handles infinite numbers"
        return replace(slot, choices=left, kept=kept)

    return SlotGraph(tuple(map(without, graph.slots)), graph.edges)


def _merged(slots: Sequence[Slot]) -> Slot:
    """One slot of several, in topological order; it may run in what all of them may."""
    if len(slots) == 1:
        return slots[0]
    anchor = max(slots, key=lambda slot: slot.work.macs)
    written = [tensor for slot in slots for tensor in slot.outputs]
    read = dict.fromkeys(tensor for slot in slots for tensor in slot.inputs)
    legal = tuple(c for c in anchor.choices if all(_follows(slot, c) for slot in slots))
    return Slot(
        name=anchor.name,
        op=anchor.op,
        parts=tuple(part for slot in slots for part in slot.parts),
        inner=tuple(tensor for slot in slots[:-1] for tensor in (*slot.inner, *slot.outputs)),
        inputs=tuple(tensor for tensor in read if tensor not in written),
        outputs=slots[-1].outputs,
        key="&".join(slot.key for slot in slots),
        kind=anchor.kind,
        work=Work(
            macs=sum(slot.work.macs for slot in slots),
            weights=sum(slot.work.weights for slot in slots),
            reads=slots[0].work.reads,
            writes=slots[-1].work.writes,
            channels=sum(slot.work.channels for slot in slots),
        ),
        choices=legal,
        kept=next((slot.kept for slot in slots if slot.kept), ""),
        hidden=tuple(tensor for slot in slots for tensor in slot.hidden),
    )


def _follows(slot: Slot, choice: NodeChoice) -> bool:
    """Whether a slot may run in a choice of one that it is merged with; weights are no matter."""
    return choice in slot.choices or NodeChoice(choice.precision) in slot.choices


def _merged_edges(graph: SlotGraph, home: Sequence[int], order: Sequence[int]) -> Iterator[Edge]:
    """The edges between merged slots."""
    index = {target: i for i, target in enumerate(order)}
    for edge in graph.edges:
        producer = index[home[edge.producer]] if edge.producer >= 0 else -1
        consumers = dict.fromkeys(index[home[reader]] for reader in edge.consumers)
        outside = tuple(reader for reader in consumers if reader != producer)
        if outside or edge.is_output:
            yield replace(edge, producer=producer, consumers=outside)


def _group(node: ir.Node, dialect: Dialect) -> list[ir.Node]:
    """The node and what the backend fuses into it: an activation, or the Mul of a SiLU."""
    follower = _only_reader(node)
    if follower is None:
        return [node]
    fused = node.op_type in ANCHORS and follower.op_type in dialect.fused_activations
    return [node, follower] if fused and _fixed(follower) else [node]


def _fixed(node: ir.Node) -> bool:
    """Whether a node is ONNX's own and all but its first input are constants."""
    return node.domain in DEFAULT_DOMAINS and not any(map(kernels.is_activation, node.inputs[1:]))


def _only_reader(node: ir.Node) -> ir.Node | None:
    """The node that alone reads the only output of `node`, in the same graph."""
    if len(node.outputs) != 1 or node.outputs[0].is_graph_output():
        return None
    uses = list(node.outputs[0].uses())
    if len(uses) != 1 or uses[0].idx != 0 or uses[0].node.graph is not node.graph:
        return None
    return uses[0].node


def _slot(nodes: list[ir.Node], dialect: Dialect, precisions: Sequence[Precision]) -> Slot:
    anchor, last = nodes[0], nodes[-1]
    inside = {out for node in nodes for out in node.outputs}
    read = dict.fromkeys(
        value
        for node in nodes
        for value in node.inputs
        if value is not None and kernels.is_activation(value) and value not in inside
    )
    writes = [out for out in last.outputs if kernels.is_activation(out) and out.name]
    choices, kept = _choices(nodes, dialect, precisions)
    return Slot(
        name=str(anchor.name),
        op=anchor.op_type,
        parts=(tuple(str(node.name) for node in nodes),),
        inner=(),
        inputs=tuple(str(value.name) for value in read),
        outputs=tuple(str(value.name) for value in writes),
        key=_key(nodes),
        kind=kernels.kind(anchor),
        work=kernels.work(nodes, list(read), writes),
        choices=choices,
        kept=kept,
        hidden=tuple(str(out.name) for node in nodes[:-1] for out in node.outputs),
    )


def _choices(
    nodes: Sequence[ir.Node], dialect: Dialect, precisions: Sequence[Precision]
) -> tuple[tuple[NodeChoice, ...], str]:
    """What a slot may run in, fp32 first, and why nothing else is offered (or an empty text)."""
    node = nodes[0]
    kept = _kept(node)
    if kept:
        return (NodeChoice(),), kept
    legal = [p for p in precisions if p is not Precision.FP32 and _legal(nodes, p, dialect)]
    reason = "" if legal else f"{dialect.name} has no lower precision for {node.op_type}"
    return (NodeChoice(), *(NodeChoice(p) for p in legal)), reason


def _with_sparse(slot: Slot, anchor: ir.Node, dialect: Dialect) -> Slot:
    """A slot that may also run on 2:4 sparse weights, in each precision that has kernels for it."""
    choices: list[NodeChoice] = []
    for choice in slot.choices:
        choices.append(choice)
        multiple = dialect.sparse_2_4.get(choice.precision)
        if multiple and has_sparse_kernel(anchor, multiple):
            choices.append(replace(choice, sparsity=Sparsity.TWO_FOUR))
    return replace(slot, choices=tuple(choices))


def _with_storage(slot: Slot, formats: Sequence[Format]) -> Slot:
    """A slot whose weights may also be kept in fewer bits than its kernels read.

    Each format goes with the narrowest precision that can hold it: a wider one would take as many
    bytes, and longer.
    """
    if slot.work.weights < STORAGE_MIN_WEIGHTS:
        return slot
    stored = (_kept_in(slot, form) for form in formats)
    return replace(slot, choices=(*slot.choices, *filter(None, stored)))


def _kept_in(slot: Slot, form: Format) -> NodeChoice | None:
    """The choice that goes with a format; None where the format saves nothing.

    Blocks are not offered to int8: its scales are per channel, so that a block's few numbers are
    many in a channel of its integers, and take their eight bits.
    """

    def holds(choice: NodeChoice) -> bool:
        narrow = choice.precision is Precision.INT8
        whole = slot.work.weights * choice.weight_bits // 8
        return (
            choice.precision is not Precision.INT4
            and form.bytes(slot.work.weights, slot.work.channels) < whole
            and not (narrow and (form.group is Group.BLOCK or _whole(form, choice)))
        )

    dense = (choice for choice in slot.choices if choice.sparsity is Sparsity.DENSE)
    fitting = sorted(filter(holds, dense), key=lambda choice: choice.weight_bits)
    return replace(fitting[0], storage=str(form)) if fitting else None


def _whole(form: Format, choice: NodeChoice) -> bool:
    """Whether a format keeps all that the kernel reads, so that nothing is saved."""
    return form.bits == choice.weight_bits and not form.zeros


def _kept(node: ir.Node) -> str:
    """Why a node must stay as it is, whatever the backend."""
    if node.op_type in kernels.RECURRENT:
        return "recurrent layer: no safe low precision"
    if node.op_type in kernels.CONTROL_FLOW:
        return "control flow: its body stays as it is"
    if node.domain not in DEFAULT_DOMAINS:
        return f"custom operator of {node.domain}"
    if node.op_type in {"QuantizeLinear", "DequantizeLinear"}:
        return "quantised already"
    floats = [v for v in (*node.inputs, *node.outputs) if v is not None and kernels.is_float(v)]
    if any(value.dtype != ir.DataType.FLOAT for value in floats):
        return "not fp32 in the original"
    return ""


def _legal(nodes: Sequence[ir.Node], precision: Precision, dialect: Dialect) -> bool:
    """Whether the backend has a kernel for an anchor and its activation in a precision."""
    node, ops = nodes[0], dialect.ops.get(precision, frozenset())
    if node.op_type not in ops:
        return False
    if precision in _FLOAT_KERNELS and any(other.op_type not in ops for other in nodes[1:]):
        return False
    weight = kernels.constant(node.inputs[1]) if len(node.inputs) > 1 else None
    if precision is Precision.INT4:
        return dialect.int4 is not Int4Form.NONE and _fits_int4(node, weight)
    if precision is Precision.INT8 and node.op_type in {"Conv", "ConvTranspose", "Gemm"}:
        return weight is not None and kernels.is_activation(node.inputs[0]) and _constant_bias(node)
    return precision is not Precision.INT8 or _finite_constants(node)


def _constant_bias(node: ir.Node) -> bool:
    """Whether a Conv or Gemm has no bias or a constant row of them, and a Gemm no scaling."""
    value = node.inputs[2] if len(node.inputs) > 2 else None  # noqa: PLR2004 - ONNX: X, W, B
    bias = kernels.constant(value)
    fits = value is None or (bias is not None and bias.size in {1, *bias.shape[-1:]})
    scaled = any(node.attributes.get_float(name, 1.0) != 1.0 for name in ("alpha", "beta"))
    flipped = bool(node.attributes.get_int("transA", 0)) if node.op_type == "Gemm" else False
    return fits and not (scaled or flipped)


def _finite_constants(node: ir.Node) -> bool:
    """Whether no constant operand is infinite, as masks are: 8 bits hold no infinity."""
    tensors = (kernels.constant(value) for value in node.inputs if kernels.is_float(value))
    return all(np.isfinite(tensor.numpy()).all() for tensor in tensors if tensor is not None)


def _fits_int4(node: ir.Node, weight: ir.TensorProtocol | None) -> bool:
    """4-bit blocks need a constant matrix of at least one block of depth."""
    if weight is None or len(weight.shape) != 2 or not _constant_bias(node):  # noqa: PLR2004
        return False
    depth = weight.shape[1] if node.attributes.get_int("transB", 0) else weight.shape[0]
    return isinstance(depth, int) and depth >= INT4_MIN_DEPTH


def _key(nodes: list[ir.Node]) -> str:
    """Canonical text of a kernel: equal work on this device, equal text."""
    anchor = nodes[0]
    attributes = ",".join(
        f"{name}={_attribute(attr)}"
        for name, attr in sorted(anchor.attributes.items())
        if attr.type is not ir.AttributeType.TENSOR
    )
    shapes = ",".join(
        ("w" if kernels.constant(v) is not None else "") + "x".join(map(str, kernels.dims(v)))
        for v in anchor.inputs
        if v is not None
    )
    fused = "+".join(node.op_type for node in nodes)
    return f"{fused}|{attributes}|{shapes}"


def _attribute(attribute: ir.Attr) -> str:
    """The value of an attribute; of a branch or a loop, the kernels in it."""
    if attribute.type is not ir.AttributeType.GRAPH:
        return str(attribute.value)
    return f"({';'.join(_key([node]) for node in attribute.as_graph())})"


def _edges(graph: ir.Graph, slots: Sequence[Slot]) -> Iterator[Edge]:
    """One edge for each float tensor that a slot or a graph output reads."""
    producer = {tensor: i for i, slot in enumerate(slots) for tensor in slot.outputs}
    consumers: dict[str, list[int]] = {}
    for i, slot in enumerate(slots):
        for tensor in slot.inputs:
            consumers.setdefault(tensor, []).append(i)
    values = {str(v.name): v for v in graph.inputs if kernels.is_float(v)}
    values |= {str(out.name): out for node in graph for out in node.outputs if out.name}
    outputs = {value.name for value in graph.outputs}
    for tensor, value in values.items():
        if tensor in consumers or (tensor in outputs and tensor in producer):
            yield Edge(
                tensor=tensor,
                producer=producer.get(tensor, -1),
                consumers=tuple(consumers.get(tensor, ())),
                elements=kernels.elements(value),
                is_output=tensor in outputs,
            )
