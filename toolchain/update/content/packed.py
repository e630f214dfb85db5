"""The raw codes of a model whose weights are stored in 2 to 8 bits (`storage.pack`).

Codes that were entropy coded, tables and scales stay opaque: a change of one number changes all
that follows it there.
"""

from collections.abc import Iterator, Mapping

from ...codec import parse
from ...errors import HwcError
from ...storage.bits import inflate
from ...storage.lossless import Section
from ...storage.pack import Header, Index
from ..refusal import Code, Refusal
from ..release import Dtype
from . import onnx
from .safetensors import Header as SafetensorsHeader
from .span import Layout, Span

_KEY, _INDEX, _GRAPH, _WEIGHTS = "hwc", "index", "graph", "weights"
_MOST = 64 << 20  # bytes of a graph or an index that are inflated
_BYTE = 8


def is_packed(header: SafetensorsHeader) -> bool:
    """Whether a safetensors file is a packed model."""
    names = {span.name for span in header.spans}
    return _KEY in header.metadata and names == {_INDEX, _GRAPH, _WEIGHTS}


def codes(data: memoryview, header: SafetensorsHeader) -> Iterator[Span]:
    """The codes of each tensor that are stored as they are, under the tensor's name.

    Raises:
        Refusal: It is damaged, or in another format.
    """
    spans = {span.name: span for span in header.spans}
    parts = {name: data[span.offset : span.end] for name, span in spans.items()}
    index, tensors = _described(header.metadata, parts)
    offset = spans[_WEIGHTS].offset
    for entry in index.entries:
        if not 0 <= entry.tensor < len(tensors) or min(entry.section.sizes, default=-1) < 0:
            raise _damaged("an index beyond its tensors")
        span = _raw(tensors[entry.tensor], entry.section, offset)
        if span is not None:
            yield span
        offset += sum(entry.section.sizes)
    if offset != spans[_WEIGHTS].end:
        raise _damaged("an index of other weights")


def _described(
    metadata: Mapping[str, str], parts: Mapping[str, memoryview]
) -> tuple[Index, tuple[onnx.Stored, ...]]:
    try:
        header = parse(Header, metadata[_KEY])
        if not (0 <= header.index <= _MOST and 0 <= header.graph <= _MOST):
            raise _damaged("a graph that is too large")
        index = parse(Index, inflate(parts[_INDEX], header.index))
        graph = inflate(parts[_GRAPH], header.graph)
    except HwcError as cause:
        raise _damaged(cause.message) from cause
    return index, tuple(onnx.stored(memoryview(graph)))


def _raw(tensor: onnx.Stored, section: Section, offset: int) -> Span | None:
    if not 0 < section.bits <= _BYTE:
        return None
    dtype = Dtype.U8 if section.bits == _BYTE else Dtype.PACKED
    return Layout(dtype, section.bits).span(tensor.name, tensor.shape, offset, section.sizes[0])


def _damaged(what: str) -> Refusal:
    return Refusal(Code.MALFORMED, f"a packed model with {what}")
