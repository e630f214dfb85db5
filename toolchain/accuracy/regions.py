"""Sections of plans, for which only the part of the graph that is new is written."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, Self

import onnx_ir as ir

from ..plan import NodeChoice, Plan
from ..slots import SlotGraph
from .cuts import Cuts, reads
from .lru import Lru
from .sections import Place, Section, ancestors, section_of

_KNOWN = 1 << 14  # outlines that are remembered, of less than 1 kB each
_RECENT = 4  # sections that are kept with their graphs, to be opened

Blocks = tuple[int, int]  # the first and the last of some
Key = tuple[Place, tuple[NodeChoice, ...]]


class Writer(Protocol):
    """Writes plans of one model, as `PlanWriter` does.

    What becomes of a node depends on the choices of its slot and of those that share a tensor with
    it, and on no others.
    """

    model: ir.Model
    slots: SlotGraph

    def write(self, plan: Plan) -> ir.Model:
        """The deploy graph of a plan."""
        ...

    def within(self, model: ir.Model, slots: SlotGraph) -> Self:
        """A writer of a part of the model; the part has all that its slots read and write."""
        ...


@dataclass(frozen=True, slots=True)
class Outline:
    """What is known of a section without its graph.

    Attributes:
        key: As of `Section`.
        reads_feeds: Whether it reads inputs of the model.
        size: Bytes of its weights.
        passes: How many elements pass on to the next section; 0 for the last.
        blocked: Whether these come from convolutions, in the layout of these.
        place: The blocks, and the choices that matter to them.
    """

    key: str
    reads_feeds: bool
    size: int
    passes: int
    blocked: bool
    place: Key


class Regions:
    """Cuts plans into sections; what two plans have in common is written once.

    Args:
        writer: Writes plans of the model.
        cuts: Where to cut.
    """

    def __init__(self, writer: Writer, cuts: Cuts) -> None:
        self._cuts = cuts
        self._slots = writer.slots  # all of them
        self._parts = Parts(writer, cuts)
        self._known: Lru[Key, Outline | None] = Lru(_KNOWN)
        self._recent: Lru[Key, Section] = Lru(_RECENT)

    def outlines(self, plan: Plan) -> list[Outline]:
        """The sections of a plan, in order.

        Where a plan leaves no tensor to cut at, the blocks on both sides stay one section.
        """
        choices = plan.as_dict()
        made: list[Outline] = []
        first, blocked = 0, False
        for block in range(len(self._cuts)):
            # whether a cut is possible shows beside it: no need to write all that comes before
            if first < block and self._outline(Place(block, block, blocked=False), choices) is None:
                continue
            outline = self._outline(Place(first, block, blocked), choices)
            if outline is not None:
                made.append(outline)
                first, blocked = block + 1, outline.blocked
        return made

    def model(self, outline: Outline) -> ir.Model:
        """A section as a model of its own."""
        section = self._recent.get(outline.place) or self._section(outline.place)
        if section is None:
            raise ValueError(f"not an outline of these regions: {outline}")
        return section.model()

    def _outline(self, place: Place, choices: Mapping[str, NodeChoice]) -> Outline | None:
        """What comes out of some blocks; None where nothing can pass on to the next."""
        slots = self._parts[place.first, place.last].slots.slots
        key = place, tuple(choices[slot.name] for slot in slots)
        if key not in self._known:
            found = self._section(key)
            self._known.put(key, None if found is None else _outline_of(found, key), 1)
        return self._known.get(key)

    def _section(self, key: Key) -> Section | None:
        """Write some blocks with their neighbours, and cut them out."""
        place, choices = key
        writer = self._parts[place.first, place.last]
        plan = Plan.of(zip((s.name for s in writer.slots.slots), choices, strict=True))
        section = section_of(writer.write(plan), self._cuts, self._slots, plan, place)
        if section is not None:
            self._recent.put(key, section, 1)
        return section


def _outline_of(section: Section, place: Key) -> Outline:
    return Outline(
        section.key, section.reads_feeds, section.size, section.passes, section.blocked, place
    )


class Parts:
    """Writers of some blocks each, made when they are wanted.

    Args:
        writer: Writes the whole.
        cuts: Where it is cut.
    """

    def __init__(self, writer: Writer, cuts: Cuts) -> None:
        self._writer = writer
        self._cuts = cuts
        self._made: dict[Blocks, Writer] = {}
        graph = writer.model.graph
        self._order = {node: i for i, node in enumerate(graph)}
        self._nodes = {str(node.name): node for node in graph}
        self._values = {str(value.name): value for node in graph for value in node.outputs}
        self._slot_of = {name: slot for slot in writer.slots.slots for name in slot.nodes}
        self._readers: dict[ir.Node, list[ir.Node]] = {node: [] for node in graph}
        for node in graph:
            for value in reads(node):
                source = value.producer()
                if source in self._readers:
                    self._readers[source].append(node)

    def __getitem__(self, blocks: Blocks) -> Writer:
        """A writer of blocks, first and last, and of all slots that share a tensor with them."""
        if blocks not in self._made:
            nodes = self._with_readers(self._whole_slots(self._inside(blocks)))
            names = {str(node.name) for node in nodes}
            own = tuple(s for s in self._writer.slots.slots if not names.isdisjoint(s.nodes))
            self._made[blocks] = self._writer.within(self._model(nodes), SlotGraph(own, ()))
        return self._made[blocks]

    def _inside(self, blocks: Blocks) -> set[ir.Node]:
        """The nodes of the blocks, what they need of the inputs, and who writes to the first."""
        cuts, (first, last) = self._cuts, blocks
        slots = zip(self._writer.slots.slots, cuts.block_of, strict=True)
        own = [name for slot, block in slots if first <= block <= last for name in slot.nodes]
        ends = [name for block in range(first, last + 1) for name in cuts.outputs[block]]
        ends += cuts.tensors[last : last + 1]
        before = self._values[cuts.tensors[first - 1]] if first else None
        roots = [value for name in own for value in self._nodes[name].outputs]
        roots += [self._values[name] for name in ends if name in self._values]
        inside = ancestors(roots, before)
        writer = before.producer() if before is not None else None
        return inside | {writer} if writer is not None else inside

    def _whole_slots(self, nodes: set[ir.Node]) -> set[ir.Node]:
        """With the other nodes of their slots."""
        slots = (self._slot_of.get(str(node.name)) for node in nodes)
        return nodes | {self._nodes[name] for slot in slots if slot for name in slot.nodes}

    def _with_readers(self, nodes: set[ir.Node]) -> set[ir.Node]:
        """With all that read what they write."""
        readers = {reader for node in nodes for reader in self._readers[node]}
        return nodes | self._whole_slots(readers)

    def _model(self, nodes: set[ir.Node]) -> ir.Model:
        """Some nodes as a model: what is missing is an input, what nobody reads an output."""
        whole = self._writer.model
        ordered = sorted(nodes, key=self._order.__getitem__)
        sources = {value: None for node in ordered for value in reads(node)}
        written = [value for node in ordered for value in node.outputs if value.name]
        ends = set(whole.graph.outputs)
        view = ir.GraphView(
            [v for v in sources if v.producer() not in nodes and not v.is_initializer()],
            [value for value in written if value in ends or value not in sources],
            nodes=ordered,
            initializers=[v for v in sources if v.is_initializer()],
            opset_imports=whole.graph.opset_imports,
            name=whole.graph.name,
        )
        return ir.Model(
            view.clone(), ir_version=whole.ir_version, functions=tuple(whole.functions.values())
        )
