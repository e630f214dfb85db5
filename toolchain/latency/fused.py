"""What a device's compiler makes no kernel of its own of: views, and arithmetic after a product."""

from collections.abc import Iterator

from ..slots import Slot, SlotGraph, Work

VIEWS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"})
_PRODUCTS = frozenset({"conv", "depthwise", "gemm"})
_ELEMENTWISE = "elementwise"
_NOTHING = Work(0, 0, 0, 0)


def fused(graph: SlotGraph) -> dict[int, Work]:
    """The slots that run inside another's kernel, with what they still have to do there.

    TensorRT, ATC and MIGraphX run element-wise arithmetic at the end of the kernel whose result it
    reads (the residual Add and the SiLU after a convolution, a whole decomposed GELU), if nothing
    else needs that result: it is then never written, and only further operands are read. A view
    moves nothing.

    Returns:
        By index of the slot.
    """
    inner: dict[int, Work] = {}
    for i, slot in enumerate(graph.slots):
        if slot.op in VIEWS:
            inner[i] = _NOTHING
        elif slot.kind == _ELEMENTWISE:
            ended = max((size for size in _results(graph, i)), default=0)
            if ended:
                left = max(0, slot.work.reads - ended)
                inner[i] = Work(slot.work.macs, slot.work.weights, left, 0)
    return inner


def _results(graph: SlotGraph, reader: int) -> Iterator[int]:
    """Elements of each tensor that the slot reads right out of another's kernel."""
    for edge in graph.edges:
        if reader not in edge.consumers or edge.producer < 0 or edge.is_output:
            continue
        if _can_end(graph.slots[edge.producer]) and all(
            graph.slots[i].kind == _ELEMENTWISE for i in edge.consumers
        ):
            yield edge.elements


def _can_end(slot: Slot) -> bool:
    """Whether a kernel can go on with element-wise arithmetic."""
    return slot.kind in _PRODUCTS or slot.kind == _ELEMENTWISE
