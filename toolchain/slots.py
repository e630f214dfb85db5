"""The decisions of a compilation: one slot for each kernel that the backend will run."""

from collections.abc import Mapping
from dataclasses import dataclass

from .plan import NodeChoice

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Work:
    """What a kernel has to do, whatever the precision.

    Attributes:
        macs: Multiply-accumulates (0 for element-wise kernels).
        weights: Weight elements it reads.
        reads: Activation elements it reads.
        writes: Activation elements it writes.
        channels: Output channels of its weights, each with a scale where they are stored; 0: none.
    """

    macs: int
    weights: int
    reads: int
    writes: int
    channels: int = 0


@dataclass(frozen=True, slots=True)
class Slot:
    """One decision: an anchor node with what is fused into it.

    Attributes:
        name: Name of the anchor node.
        op: Op type of the anchor, such as `Conv`.
        parts: Names of the nodes, an anchor with its activation together; most slots have one part,
            and more where the runtime makes one kernel of several.
        inner: Float tensors that pass from one part to the next.
        inputs: Float activation tensors that it reads from outside of itself.
        outputs: Float tensors that it writes and others read.
        key: Canonical text of op, attributes, shapes and fused ops: equal kernels, equal keys.
        kind: Operator class for estimates: `conv`, `depthwise`, `gemm`, `elementwise`, `norm`,
            `pool`, `move` (layout only), `recurrent` or `other`.
        work: What it has to do.
        choices: What may be chosen; the first is always fp32.
        kept: Why it must stay in fp32; empty where there is a choice.
        hidden: Tensors between an anchor and its activation: no kernel writes them by themselves,
            but a runtime may name one after them.
        rides: Name of the slot whose fp32 kernel the runtime fuses it into; empty where it has a
            kernel of its own. Beside an int8 kernel it runs alone, and that costs extra.
    """

    name: str
    op: str
    parts: tuple[tuple[str, ...], ...]
    inner: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    key: str
    kind: str
    work: Work
    choices: tuple[NodeChoice, ...]
    kept: str = ""
    hidden: tuple[str, ...] = ()
    rides: str = ""

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of all nodes of the kernel."""
        return tuple(name for part in self.parts for name in part)

    @property
    def tensors(self) -> tuple[str, ...]:
        """Every float tensor that the slot reads, writes or passes on within itself."""
        return (*self.inputs, *self.inner, *self.outputs)


@dataclass(frozen=True, slots=True)
class Edge:
    """One float tensor between slots: where a change of precision costs time.

    Attributes:
        tensor: Its name.
        producer: Index of the slot that writes it, or -1 for an input of the graph.
        consumers: Indices of the slots that read it; empty for an output of the graph only.
        elements: How many elements it has.
        is_output: Whether it is an output of the graph, which stays fp32.
    """

    tensor: str
    producer: int
    consumers: tuple[int, ...]
    elements: int
    is_output: bool = False


@dataclass(frozen=True, slots=True)
class SlotGraph:
    """The slots of a model in topological order, and the tensors between them."""

    slots: tuple[Slot, ...]
    edges: tuple[Edge, ...]
