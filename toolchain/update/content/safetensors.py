"""The tensors of a safetensors file, by its header."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ..refusal import Code, Refusal
from ..release import Dtype
from .span import Layout, Span

_LENGTH = 8  # bytes that hold the header's size
_HEADER = 16 << 20  # bytes of a header that are read
_METADATA = "__metadata__"
_KEYS = {"dtype", "shape", "data_offsets"}

_LAYOUTS = {
    **{dtype.value: Layout.of(dtype) for dtype in Dtype if dtype is not Dtype.PACKED},
    "F8_E8M0": Layout.of(Dtype.U8),  # an exponent
    "F4": Layout(Dtype.PACKED, 4),
    "F6_E2M3": Layout(Dtype.PACKED, 6),
    "F6_E3M2": Layout(Dtype.PACKED, 6),
}


@dataclass(frozen=True, slots=True)
class Header:
    """What a safetensors file says of itself.

    Attributes:
        spans: Its tensors in the order of their bytes; those of unknown types are left out.
        metadata: What its writer noted.
    """

    spans: tuple[Span, ...]
    metadata: Mapping[str, str]


def is_safetensors(data: memoryview) -> bool:
    """Whether a file begins as a safetensors file does."""
    size = int.from_bytes(data[:_LENGTH], "little")
    return size <= len(data) - _LENGTH and bytes(data[_LENGTH : _LENGTH + 1]) == b"{"


def read_header(data: memoryview) -> Header:
    """Read and check the header.

    Raises:
        Refusal: It is none, is too large, or its tensors leave gaps, overlap or end elsewhere.
    """
    size = int.from_bytes(data[:_LENGTH], "little")
    if not is_safetensors(data) or size > _HEADER:
        raise Refusal(Code.MALFORMED, "not a safetensors file, or with too large a header")
    try:
        header = json.loads(bytes(data[_LENGTH : _LENGTH + size]), object_pairs_hook=_once)
    except (ValueError, RecursionError) as cause:
        raise Refusal(Code.MALFORMED, "the header of a safetensors file is no JSON") from cause
    metadata = header.pop(_METADATA, {})
    if not _is_text(metadata):
        raise Refusal(Code.MALFORMED, f"{_METADATA} holds other things than text")
    places = sorted(_place(name, entry) for name, entry in header.items())
    ends = [(0, 0), *((begin, end) for begin, end, _ in places)]
    start = _LENGTH + size
    gaps = any(one[1] != two[0] for one, two in pairwise(ends))
    if gaps or ends[-1][1] != len(data) - start:
        raise Refusal(Code.MALFORMED, "the tensors of a safetensors file leave gaps or overlap")
    spans = (_span(name, header[name], start + begin, end - begin) for begin, end, name in places)
    return Header(tuple(span for span in spans if span is not None), metadata)


def _place(name: str, entry: object) -> tuple[int, int, str]:
    if isinstance(entry, dict) and entry.keys() == _KEYS:
        match entry["dtype"], entry["shape"], entry["data_offsets"]:
            case str(), list(shape), [begin, end] if _are_sizes([begin, end, *shape]):
                if begin <= end:
                    return begin, end, name
    raise Refusal(Code.MALFORMED, f"the tensor {name[:80]!r} of a safetensors file has no place")


def _span(name: str, entry: Mapping[str, Any], offset: int, size: int) -> Span | None:
    layout = _LAYOUTS.get(entry["dtype"])
    if layout is None:
        return None
    span = layout.span(name, tuple(entry["shape"]), offset, size)
    if span is None:
        raise Refusal(Code.MALFORMED, f"the tensor {name[:80]!r} does not have its shape's size")
    return span


def _are_sizes(values: list[object]) -> bool:
    return all(type(value) is int and value >= 0 for value in values)


def _is_text(metadata: object) -> bool:
    return isinstance(metadata, dict) and all(isinstance(v, str) for v in metadata.values())


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key twice")
    return dict(pairs)
