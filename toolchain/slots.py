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
    """

    macs: int
    weights: int
    reads: int
    writes: int


@dataclass(frozen=True, slots=True)
class Slot:
    """One decision: an anchor node with what is fused into it.

    Attributes:
        name: Name of the anchor node.
        op: Op type of the anchor, such as `Conv`.
        nodes: Names of all nodes of the kernel, the anchor first.
        inputs: Float activation tensors that it reads from outside of itself.
        outputs: Float tensors that it writes and others read.
        key: Canonical text of op, attributes, shapes and fused ops: equal kernels, equal keys.
        kind: Operator class for estimates: `conv`, `depthwise`, `gemm`, `elementwise`, `norm`,
            `pool`, `move` (layout only), `recurrent` or `other`.
        work: What it has to do.
        choices: What may be chosen; the first is always fp32.
        kept: Why it must stay in fp32; empty where there is a choice.
    """

    name: str
    op: str
    nodes: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    key: str
    kind: str
    work: Work
    choices: tuple[NodeChoice, ...]
    kept: str = ""


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
