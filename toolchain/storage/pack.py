"""A model file with its weights coded without loss: rebuilt byte by byte where an engine is built.

Storage formats change a model's numbers when a plan is written, so that they are judged like every
other choice; what is written then is packed here without loss, whatever it is.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import safetensors
import safetensors.numpy
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # no stubs

from ..codec import canonical, parse
from ..errors import InputError, IntegrityError, UsageError
from ..frontend.protos import all_tensors, is_external
from .bits import deflate, inflate
from .formats import Format
from .lossless import Items, Kind, Section, code, restore

FORMAT = 2  # 2: bitmaps
MOST_BYTES = (1 << 31) - 1  # of a model: no protobuf message is larger
_LEAST_BYTES = 64  # of a tensor that is taken out of the graph
_KEY = "hwc"  # of the header in the metadata
_INDEX, _GRAPH, _WEIGHTS = "index", "graph", "weights"
_TYPES = onnx.TensorProto
_KINDS: dict[int, Kind] = {
    **dict.fromkeys((_TYPES.INT8, _TYPES.UINT8, _TYPES.BOOL), np.dtype(np.uint8)),
    **dict.fromkeys((_TYPES.FLOAT8E4M3FN, _TYPES.FLOAT8E5M2), np.dtype(np.uint8)),
    **dict.fromkeys((_TYPES.FLOAT16, _TYPES.BFLOAT16), np.dtype(np.uint16)),
    **dict.fromkeys((_TYPES.INT16, _TYPES.UINT16), np.dtype(np.uint16)),
    **dict.fromkeys((_TYPES.FLOAT, _TYPES.INT32, _TYPES.UINT32), np.dtype(np.uint32)),
    **dict.fromkeys((_TYPES.DOUBLE, _TYPES.INT64, _TYPES.UINT64), np.dtype(np.uint64)),
}
_NIBBLES = frozenset({_TYPES.INT4, _TYPES.UINT4, _TYPES.FLOAT4E2M1})
_DAMAGED = "do not use this bundle; fetch or compile it again"


@dataclass(frozen=True, slots=True)
class Header:
    """What a packed model says of itself.

    Attributes:
        sha256: Of the model file that it is of.
        size: Bytes of that file.
        index: Bytes of the index, and
        graph: bytes of the graph without weights, each before it was deflated.
        format: Of the file; this code reads `FORMAT` and what came before.
    """

    sha256: str
    size: int
    index: int
    graph: int
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor: the how manieth of the model, and how it is coded."""

    tensor: int
    section: Section


@dataclass(frozen=True, slots=True)
class Index:
    """The tensors that are coded, in the order of their bytes."""

    entries: tuple[Entry, ...]


def pack_model(model: bytes, formats: Sequence[Format] = ()) -> bytes:
    """Pack a model file.

    Args:
        model: A serialised ModelProto with its weights in it.
        formats: Storage formats that its float weights may have been written in.

    Returns:
        A safetensors file; `unpack_model` gives `model` back byte by byte.

    Raises:
        InputError: It has external weights, or protobuf would not write it as it is.
    """
    proto = onnx.ModelProto.FromString(model)
    entries, coded = [], []
    for i, tensor in enumerate(all_tensors(proto)):
        if is_external(tensor):
            raise InputError(
                f"{tensor.name}: lies in another file", "pack a model with its weights"
            )
        items = _items(tensor)
        if items is None:
            continue
        section, data = code(items, formats)
        entries.append(Entry(i, section))
        coded.append(data)
        tensor.ClearField("raw_data")
    index, graph = canonical(Index(tuple(entries))).encode(), proto.SerializeToString()
    header = Header(hashlib.sha256(model).hexdigest(), len(model), len(index), len(graph))
    parts = {_INDEX: deflate(index), _GRAPH: deflate(graph), _WEIGHTS: b"".join(coded)}
    arrays = {name: np.frombuffer(part, np.uint8) for name, part in parts.items()}
    packed = safetensors.numpy.save(arrays, {_KEY: canonical(header)})
    if unpack_model(packed) != model:
        raise InputError("the model file is not as protobuf writes it", "save it again with onnx")
    return packed


def unpack_model(packed: bytes) -> bytes:
    """The model file that was packed.

    Raises:
        IntegrityError: A byte is not as it should be, or it asks for too much memory.
    """
    try:
        header, parts = _parts(packed)
        proto = onnx.ModelProto.FromString(inflate(parts[_GRAPH], header.graph))
        index = parse(Index, inflate(parts[_INDEX], header.index))
        _fill(proto, index, parts[_WEIGHTS])
        model: bytes = proto.SerializeToString()
    except (InputError, UsageError) as cause:
        raise IntegrityError(f"damaged weights: {cause.message}", _DAMAGED) from cause
    except (DecodeError, UnicodeDecodeError) as cause:
        raise IntegrityError("damaged weights: no graph", _DAMAGED) from cause
    if len(model) != header.size or hashlib.sha256(model).hexdigest() != header.sha256:
        raise IntegrityError(
            "damaged weights: they do not give the model that was packed", _DAMAGED
        )
    return model


def _parts(packed: bytes) -> tuple[Header, dict[str, memoryview]]:
    try:
        # It checks offsets and sizes.
        arrays = dict(safetensors.deserialize(packed))  # type: ignore[no-untyped-call]  # no stubs
    except safetensors.SafetensorError as cause:
        raise InputError(f"no safetensors file ({cause})") from cause
    kinds = {(name, each["dtype"]) for name, each in arrays.items()}
    if kinds != {(name, "U8") for name in (_INDEX, _GRAPH, _WEIGHTS)}:
        raise InputError("other arrays than a packed model has")
    header = _header(packed)
    if not 1 <= header.format <= FORMAT:
        raise InputError(f"format {header.format}; this hwc reads up to {FORMAT}")
    if not all(0 <= n <= MOST_BYTES for n in (header.size, header.index, header.graph)):
        raise InputError(f"a model of {header.size} B")
    return header, {name: memoryview(bytes(each["data"])) for name, each in arrays.items()}


def _header(packed: bytes) -> Header:
    """The header of a file whose form was checked."""
    length = int.from_bytes(packed[:8], "little")
    metadata = json.loads(packed[8 : 8 + length]).get("__metadata__") or {}
    return parse(Header, metadata.get(_KEY, ""))


def _items(tensor: onnx.TensorProto) -> Items | None:
    """The bits of a tensor's numbers; None where they are not in its `raw_data`, or too few."""
    if len(tensor.raw_data) < _LEAST_BYTES:
        return None
    shape, kind = _layout(tensor)
    if math.prod(shape) * kind.itemsize != len(tensor.raw_data):
        return None
    little = np.frombuffer(tensor.raw_data, kind.newbyteorder("<"))
    return little.astype(kind, copy=False).reshape(shape)


def _layout(tensor: onnx.TensorProto) -> tuple[tuple[int, ...], Kind]:
    """The shape of a tensor, and integers as wide as its numbers; packed numbers are bytes."""
    shape = tuple(tensor.dims)
    if (kind := _KINDS.get(tensor.data_type)) is not None:
        return shape, kind
    bits = 4 if tensor.data_type in _NIBBLES else 0
    return (-(-math.prod(shape) * bits // 8),), np.dtype(np.uint8)


def _fill(proto: onnx.ModelProto, index: Index, weights: memoryview) -> None:
    """Put the tensors' bytes back."""
    tensors, begin, room = list(all_tensors(proto)), 0, MOST_BYTES
    for entry in index.entries:
        size = sum(entry.section.sizes)
        if not 0 <= entry.tensor < len(tensors) or not 0 <= size <= len(weights) - begin:
            raise InputError("an index beyond the weights")
        tensor = tensors[entry.tensor]
        shape, kind = _layout(tensor)
        room -= math.prod(shape) * kind.itemsize
        if room < 0 or min(shape, default=0) < 0:
            raise InputError(f"{tensor.name} has the shape {shape}")
        items = restore(entry.section, weights[begin : begin + size], shape, kind)
        tensor.raw_data = items.astype(kind.newbyteorder("<")).tobytes()
        begin += size
    if begin != len(weights):
        raise InputError("weights that no tensor has")
