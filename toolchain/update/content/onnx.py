"""The tensors of an ONNX file, found in its protobuf messages without any library for them.

Field numbers are those of `onnx.proto` (IR version 13); what this code does not know is skipped.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from ..refusal import Code, Refusal
from ..release import Dtype
from .span import Layout, Span
from .wire import Wire

_DEPTH = 32  # graphs within graphs
_RANK = 64

# TensorProto.DataType; complex numbers and text stay opaque.
_LAYOUTS = {
    1: Layout.of(Dtype.F32),
    2: Layout.of(Dtype.U8),
    3: Layout.of(Dtype.I8),
    4: Layout.of(Dtype.U16),
    5: Layout.of(Dtype.I16),
    6: Layout.of(Dtype.I32),
    7: Layout.of(Dtype.I64),
    9: Layout.of(Dtype.BOOL),
    10: Layout.of(Dtype.F16),
    11: Layout.of(Dtype.F64),
    12: Layout.of(Dtype.U32),
    13: Layout.of(Dtype.U64),
    16: Layout.of(Dtype.BF16),
    17: Layout.of(Dtype.F8E4M3),
    18: Layout.of(Dtype.F8E4M3),  # FNUZ: the same bits, counted from another exponent
    19: Layout.of(Dtype.F8E5M2),
    20: Layout.of(Dtype.F8E5M2),
    21: Layout(Dtype.PACKED, 4),  # UINT4
    22: Layout(Dtype.PACKED, 4),  # INT4
    23: Layout(Dtype.PACKED, 4),  # FLOAT4E2M1
    24: Layout.of(Dtype.U8),  # FLOAT8E8M0: an exponent
    25: Layout(Dtype.PACKED, 2),  # UINT2
    26: Layout(Dtype.PACKED, 2),  # INT2
}


@dataclass(frozen=True, slots=True)
class External:
    """Bytes in another file.

    Attributes:
        location: The file, relative to the model's folder; unchecked.
        offset: Where they begin.
        size: How many; None: to the end of the file.
    """

    location: str
    offset: int
    size: int | None


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor of a model.

    Attributes:
        name: Its own, or that of the value that its node writes.
        kind: `TensorProto.DataType`.
        shape: As the model says; unchecked.
        inline: Begin and end of its bytes in this file, where they lie there in one piece.
        external: Where they lie instead.
    """

    name: str
    kind: int
    shape: tuple[int, ...]
    inline: tuple[int, int] | None
    external: External | None

    def span(self, offset: int, size: int) -> Span | None:
        """The tensor at some bytes; None where they are not such a tensor's."""
        layout = _LAYOUTS.get(self.kind)
        return None if layout is None else layout.span(self.name, self.shape, offset, size)


def stored(data: memoryview) -> Iterator[Stored]:
    """All tensors of a model: initialisers, then those of nodes and their bodies, then functions.

    Raises:
        Refusal: It is no ONNX file, or is damaged, or nested too deeply.
    """
    walk = _Walk(Wire(data))
    yield from walk.model(0, len(data))
    if not walk.graphs:
        raise Refusal(Code.MALFORMED, "not a model: it has no graph")


def locations(data: memoryview) -> tuple[str, ...]:
    """The files of external data that a model names, unchecked; none of what is no ONNX file."""
    try:
        places = [tensor.external for tensor in stored(data)]
    except Refusal:
        return ()
    return tuple(sorted({place.location for place in places if place is not None}))


class _Walk:
    def __init__(self, wire: Wire) -> None:
        self.graphs = 0
        self._wire = wire

    def model(self, begin: int, end: int) -> Iterator[Stored]:
        for part in self._wire.parts(begin, end, 7):  # ModelProto.graph
            yield from self._graph(*part, 0)
        for function in self._wire.parts(begin, end, 25):  # ModelProto.functions
            for part in self._wire.parts(*function, 7):  # FunctionProto.node
                yield from self._node(*part, 0)

    def _graph(self, begin: int, end: int, depth: int) -> Iterator[Stored]:
        if depth > _DEPTH:
            raise Refusal(Code.LIMIT, f"more than {_DEPTH} graphs within each other")
        self.graphs += 1
        for part in self._wire.parts(begin, end, 5):  # GraphProto.initializer
            yield self._tensor(*part, "")
        for part in self._wire.parts(begin, end, 1):  # GraphProto.node
            yield from self._node(*part, depth)

    def _node(self, begin: int, end: int, depth: int) -> Iterator[Stored]:
        wire = self._wire
        name = self._output(begin, end)
        for attribute in wire.parts(begin, end, 5):  # NodeProto.attribute
            for number in (5, 10):  # AttributeProto.t, .tensors
                for part in wire.parts(*attribute, number):
                    yield self._tensor(*part, name)
        for attribute in wire.parts(begin, end, 5):
            for number in (6, 11):  # AttributeProto.g, .graphs
                for part in wire.parts(*attribute, number):
                    yield from self._graph(*part, depth + 1)

    def _output(self, begin: int, end: int) -> str:
        """The first value that a node writes."""
        for part in self._wire.parts(begin, end, 2):  # NodeProto.output
            return self._wire.text(*part)
        return ""

    def _tensor(self, begin: int, end: int, name: str) -> Stored:
        wire, kind, external = self._wire, 0, False
        shape: list[int] = []
        runs: list[tuple[int, int]] = []
        for field in wire.fields(begin, end):
            match field.number:
                case 1:  # TensorProto.dims
                    shape += islice(wire.numbers(field), _RANK + 1)
                    if len(shape) > _RANK:
                        raise Refusal(Code.LIMIT, f"a tensor of over {_RANK} dimensions")
                case 2:  # .data_type
                    kind = field.value or 0
                case 8:  # .name
                    name = wire.text(field.begin, field.end) or name
                case 9:  # .raw_data
                    runs.append((field.begin, field.end))
                case 4 | 10 if field.packed:  # .float_data, .double_data: raw, too, where packed
                    runs.append((field.begin, field.end))
                case 14:  # .data_location
                    external = field.value == 1
        inline = runs[0] if len(runs) == 1 and not external else None
        place = self._external(begin, end) if external else None
        return Stored(name, kind, tuple(shape), inline, place)

    def _external(self, begin: int, end: int) -> External | None:
        entries = dict(
            self._entry(*part)
            for part in self._wire.parts(begin, end, 13)  # TensorProto.external_data
        )
        offset, size = entries.get("offset", "0"), entries.get("length")
        if not _is_number(offset) or not (size is None or _is_number(size)):
            return None
        return External(
            entries.get("location", ""), int(offset), None if size is None else int(size)
        )

    def _entry(self, begin: int, end: int) -> tuple[str, str]:
        """A StringStringEntryProto."""
        parts = {1: "", 2: ""}
        for field in self._wire.fields(begin, end):
            if field.number in parts:
                parts[field.number] = self._wire.text(field.begin, field.end)
        return parts[1], parts[2]


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20  # noqa: PLR2004 - below 2**64
