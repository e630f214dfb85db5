"""Cuts a deploy graph into models of their own, each with a key that says what it computes."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import onnx_ir as ir

from ..naming import derived
from ..plan import Plan
from ..slots import SlotGraph
from .anchor import anchor, from_convolutions, needs_anchor
from .cuts import Cuts, reads

_INTEGER_BITS = 8  # activations of so many bits at most leave their kernel as integers
_TEXT = frozenset(
    {
        *(ir.AttributeType.INT, ir.AttributeType.INTS, ir.AttributeType.STRING),
        *(ir.AttributeType.FLOAT, ir.AttributeType.FLOATS, ir.AttributeType.STRINGS),
    }
)


class Place(NamedTuple):
    """Blocks in a row.

    Attributes:
        first: The first.
        last: The last.
        blocked: Whether what passes to the first comes from convolutions, in their layout.
    """

    first: int
    last: int
    blocked: bool


@dataclass(frozen=True, slots=True)
class Section:
    """One part of a deploy graph.

    Attributes:
        key: Equal keys of one writer's graphs: equal numbers from equal inputs.
        inputs: What it reads: the tensor of the cut before it, or inputs of the model.
        outputs: What it writes: the tensor of the cut behind it, and outputs of the model.
        nodes: Its nodes, in order.
        weights: The initialisers that they read.
        whole: The graph that it belongs to.
        anchored: The input that must keep the layout that it has in the whole graph.
        passes: How many elements pass on to the next section; 0 for the last.
        blocked: Whether these come from convolutions, in the layout of these.
    """

    key: str
    inputs: tuple[ir.Value, ...]
    outputs: tuple[ir.Value, ...]
    nodes: tuple[ir.Node, ...]
    weights: tuple[ir.Value, ...]
    whole: ir.Model
    anchored: str | None
    passes: int
    blocked: bool

    @property
    def reads_feeds(self) -> bool:
        """Whether it reads inputs of the model."""
        return any(value.is_graph_input() for value in self.inputs)

    @property
    def size(self) -> int:
        """Bytes of its weights."""
        return sum(value.const_value.nbytes for value in self.weights if value.const_value)

    def model(self) -> ir.Model:
        """The section as a model to be read; nodes and weights are shared with the whole."""
        graph = self.whole.graph
        part: ir.Graph | ir.GraphView = ir.GraphView(
            self.inputs,
            self.outputs,
            nodes=self.nodes,
            initializers=self.weights,
            opset_imports=graph.opset_imports,
            name=graph.name,
        )
        if self.anchored is not None:
            part = part.clone()
            anchor(part, next(value for value in part.inputs if value.name == self.anchored))
        return ir.Model(
            part,  # type: ignore[arg-type]  # a view will do for reading, and a copy costs 5 ms
            ir_version=self.whole.ir_version,
            functions=tuple(self.whole.functions.values()),
        )


def section_of(
    model: ir.Model, cuts: Cuts, slots: SlotGraph, plan: Plan, place: Place
) -> Section | None:
    """Cut some blocks out of a deploy graph.

    A tensor that its kernel writes as integers crosses as integers: quantised on one side and
    dequantised on the other, as the runtime's integer kernels have it in the whole graph.

    Args:
        model: The graph with the plan written into it, or the part of it around the blocks.
        cuts: Where to cut.
        slots: The slots of the whole graph.
        plan: The plan, at least of the slots in the model.
        place: The blocks.

    Returns:
        None where the plan leaves no tensor behind the last block to cut at.

    """
    first, last = place.first, place.last
    cutter = _Cutter(model, cuts, slots, plan)
    before = cutter.crossing(first - 1) if first else None
    behind = cutter.crossing(last) if last + 1 < len(cuts) else None
    if behind is None and last + 1 < len(cuts):
        return None
    return cutter.section(place, before, behind)


class _Cutter:
    """One deploy graph that is being cut."""

    def __init__(self, model: ir.Model, cuts: Cuts, slots: SlotGraph, plan: Plan) -> None:
        self.model = model
        self.cuts = cuts
        self.slots = slots
        self.choices = plan.as_dict()
        self.order = {node: i for i, node in enumerate(model.graph)}
        self.values = {str(out.name): out for node in self.order for out in node.outputs}
        self.ends = {str(value.name): value for value in model.graph.outputs}
        self.home = {name: i for i, slot in enumerate(slots.slots) for name in slot.nodes}

    def crossing(self, block: int) -> ir.Value | None:
        """The value that passes from a block to the next; None where the graph has no such."""
        tensor = self.cuts.tensors[block]
        writer = self.choices[self.slots.slots[self.cuts.writers[block]].name]
        plain, integers = self.values.get(tensor), self.values.get(derived(tensor, "q"))
        if integers is not None and writer.precision.activation_bits <= _INTEGER_BITS:
            quantise = integers.producer()
            if plain is None or all(use.node is quantise for use in plain.uses()):
                return integers
        # ONNX Runtime leaves out roundings between float16 kernels, which a cut would bring back.
        half = plain is not None and plain.dtype is ir.DataType.FLOAT16
        return None if half else plain

    def section(self, place: Place, before: ir.Value | None, behind: ir.Value | None) -> Section:
        """What computes the value behind some blocks, and the model's outputs in them."""
        blocks = range(place.first, place.last + 1)
        outputs = [self.ends[name] for block in blocks for name in self.cuts.outputs[block]]
        outputs += [behind] if behind is not None else []
        inside = ancestors(outputs, before)
        nodes = tuple(sorted(inside, key=self.order.__getitem__))
        sources = {value: None for node in nodes for value in reads(node)}
        weights = [value for value in sources if value.is_initializer()]
        inputs = [v for v in sources if v is before or (v.is_graph_input() and v not in weights)]
        chosen = {self.home[name] for node in nodes if (name := str(node.name)) in self.home}
        chosen |= {i for i, block in enumerate(self.cuts.block_of) if block in blocks}
        decided = (self._decided(slot) for slot in sorted(chosen))
        anchored = before is not None and place.blocked and needs_anchor(before)
        edges = map(_value, (*inputs, *outputs, *weights))
        return Section(
            key=_key((*edges, *map(_node, nodes), *decided, f"anchored: {anchored}")),
            inputs=tuple(inputs),
            outputs=tuple(outputs),
            nodes=nodes,
            weights=tuple(weights),
            whole=self.model,
            anchored=before.name if before is not None and anchored else None,
            passes=self.cuts.elements[blocks[-1]] if behind is not None else 0,
            blocked=behind is not None and from_convolutions(behind, before, known=place.blocked),
        )

    def _decided(self, index: int) -> str:
        name = self.slots.slots[index].name
        return f"{name} {self.choices[name].to_json()}"


def ancestors(outputs: Sequence[ir.Value], before: ir.Value | None) -> set[ir.Node]:
    """The nodes that compute the outputs from one value, from the model's inputs and constants."""
    inside: set[ir.Node] = set()
    waiting = list(outputs)
    while waiting:
        value = waiting.pop()
        node = value.producer()
        if value is not before and node is not None and node not in inside:
            inside.add(node)
            waiting.extend(reads(node))
    return inside


def _key(lines: Iterable[str]) -> str:
    return hashlib.blake2b("\n".join(lines).encode(), digest_size=16).hexdigest()


def _node(node: ir.Node) -> str:
    """A node without its tensors and bodies: a plan does not change those of a node it keeps."""
    attributes = (
        f"{name}={attribute.value}"
        for name, attribute in sorted(node.attributes.items())
        if attribute.type in _TEXT
    )
    inputs = ",".join("" if value is None else str(value.name) for value in node.inputs)
    outputs = ",".join(str(value.name) for value in node.outputs)
    return f"{node.name} {node.domain}:{node.op_type}({inputs})->{outputs} {' '.join(attributes)}"


def _value(value: ir.Value) -> str:
    return f"{value.name} {value.dtype} {value.shape}"
