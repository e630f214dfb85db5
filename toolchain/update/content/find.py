"""The tensors of all files of a release; a file that nobody can read is opaque, never an error."""

import posixpath
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from ..refusal import Refusal
from . import onnx, packed, safetensors
from .span import Span

MOST = 1 << 15  # tensors of a file that are listed, the largest ones: bundle.json holds them all
_ONNX = ".onnx"
_FIRST = b"\x08"  # the tag of ModelProto.ir_version, with which every known writer begins


def find(files: Mapping[str, memoryview]) -> dict[str, tuple[Span, ...]]:
    """The tensors of each file, in the order of their offsets, apart from each other.

    Args:
        files: The bytes of each file of the release by its path. External data of an ONNX file are
            tensors of the file that they lie in.
    """
    found: defaultdict[str, list[Span]] = defaultdict(list)
    for path in sorted(files):
        for place, span in _readable(path, files):
            found[place].append(span)
    return {path: _apart(found[path]) for path in files}


def _readable(path: str, files: Mapping[str, memoryview]) -> list[tuple[str, Span]]:
    try:
        return list(_spans(path, files))
    except Refusal:
        return []  # damaged, or in a form of its own


def _spans(path: str, files: Mapping[str, memoryview]) -> Iterator[tuple[str, Span]]:
    data = files[path]
    if safetensors.is_safetensors(data):
        header = safetensors.read_header(data)
        spans = packed.codes(data, header) if packed.is_packed(header) else header.spans
        yield from ((path, span) for span in spans)
    elif path.endswith(_ONNX) or bytes(data[:1]) == _FIRST:
        for tensor in onnx.stored(data):
            place, span = _placed(tensor, path, files)
            if span is not None:
                yield place, span


def _placed(
    tensor: onnx.Stored, path: str, files: Mapping[str, memoryview]
) -> tuple[str, Span | None]:
    """The file that the bytes of an ONNX tensor lie in, and where."""
    if tensor.inline is not None:
        begin, end = tensor.inline
        return path, tensor.span(begin, end - begin)
    external = tensor.external
    if external is None:
        return path, None
    place = posixpath.normpath(posixpath.join(posixpath.dirname(path), external.location))
    there = len(files.get(place, b"")) - external.offset
    size = there if external.size is None else external.size
    return place, tensor.span(external.offset, size) if 0 <= size <= there else None


def _apart(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Leave out what overlaps: of tensors that share bytes, the first and largest stays."""
    kept, end = [], 0
    for span in sorted(spans, key=lambda span: (span.offset, span.size > 0, -span.size)):
        if span.offset >= end:
            kept.append(span)
            end = span.end
    largest = sorted(kept, key=lambda span: span.size, reverse=True)[:MOST]
    return tuple(sorted(largest, key=lambda span: (span.offset, span.end)))
