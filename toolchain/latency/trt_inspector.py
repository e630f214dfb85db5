"""What TensorRT's EngineInspector says of an engine: its layers, in the order in which they run."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ..errors import InputError
from ..plan import Precision

MAX_LAYERS = 100_000
MAX_NAME = 1 << 16  # characters; the name of a fused layer lists all that went into it
MAX_TENSORS = 4096  # of one layer
HINT = "export it anew with trtexec --exportLayerInfo=layers.json --profilingVerbosity=detailed"

# The entries of `Metadata` are parted by one of these (8.6, 10 and 11); quoted by some tools, by
# nothing at all.
_ENTRIES = re.compile(r"[\x1e\x1f]|(?<=\])(?=\[ONNX Layer: )")
_ENTRY = re.compile(r"\[ONNX Layer: (.*)\]", re.DOTALL)
_CALLERS = " | "  # between a node in a function of the model and the nodes that call it
_PRECISIONS = {
    "Float": Precision.FP32,
    "FP32": Precision.FP32,
    "Half": Precision.FP16,
    "FP16": Precision.FP16,
    "BFloat16": Precision.BF16,
    "BF16": Precision.BF16,
    "Int8": Precision.INT8,
    "INT8": Precision.INT8,
    "Int4": Precision.INT4,
    "INT4": Precision.INT4,
}
_UNKNOWN_TYPES = ("FP8", "FP4")
# One of them stands in a long description ("Row major linear FP16 format") or alone ("Half").
_TYPE = re.compile(rf"\b({'|'.join((*_PRECISIONS, *_UNKNOWN_TYPES))})\b")
# TensorRT 11 has type and format apart.
_TYPE_KEYS = ("Format/Datatype", "Datatype", "DataType", "Format")
_REFORMAT_NAME = "Reformatting CopyNode for "


class Kind(StrEnum):
    """What a layer is there for."""

    KERNEL = "kernel"
    REFORMAT = "reformat"  # changes the type or the layout of a tensor, as TensorRT sees fit


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor that a layer reads or writes.

    Attributes:
        name: Its name; TensorRT makes up names for what it reformats.
        precision: Its type; None where that is neither a float nor int8 or int4, or is not said.
    """

    name: str
    precision: Precision | None


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of an engine; from an engine that names its layers only, just the name.

    Attributes:
        name: Its name, which says what was fused.
        kind: What it is there for.
        nodes: The ONNX nodes that its metadata names.
        inputs: What it reads.
        outputs: What it writes.
    """

    name: str
    kind: Kind
    nodes: frozenset[str] = frozenset()
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()


def parse_json(text: str, file: str) -> object:
    """JSON as TensorRT writes it: with bare control characters in its texts, without NaN.

    Args:
        text: The text, of bounded size.
        file: What errors call it.

    Raises:
        InputError: It is not JSON.
    """
    try:
        return json.loads(text, strict=False, parse_constant=_no_constant)
    except (ValueError, RecursionError) as cause:
        reason = "it nests too deep" if isinstance(cause, RecursionError) else str(cause)[:200]
        raise InputError(f"{file} is not JSON: {reason}", HINT) from cause


def parse_layers(text: str, file: str) -> tuple[Layer, ...]:
    """The layers in an EngineInspector's JSON, of TensorRT 8.2 to 11, detailed or names only.

    Args:
        text: The JSON of the whole engine.
        file: What errors call it.

    Raises:
        InputError: It is not such JSON, or a layer computes in a type that hwc does not know.
    """
    body = parse_json(text, file)
    layers = body.get("Layers") if isinstance(body, dict) else None
    if not isinstance(layers, list) or not layers:
        raise InputError(f"{file} has no list of 'Layers'", HINT)
    if len(layers) > MAX_LAYERS:
        raise InputError(f"{file} has more than {MAX_LAYERS} layers", HINT)
    return tuple(_layer(layer, f"{file}: layer {i}") for i, layer in enumerate(layers))


def check_name(value: object, where: str) -> str:
    """A name of bounded length.

    Raises:
        InputError: It is not one.
    """
    if not isinstance(value, str) or not value or len(value) > MAX_NAME:
        raise InputError(f"{where} has no name of 1 to {MAX_NAME} characters", HINT)
    return value


def _layer(value: object, where: str) -> Layer:
    if isinstance(value, str):
        return Layer(check_name(value, where), _kind(value, ""))
    if not isinstance(value, dict):
        raise InputError(f"{where} is neither a name nor an object", HINT)
    name = check_name(value.get("Name"), where)
    metadata, kind = value.get("Metadata", ""), value.get("LayerType", "")
    if not isinstance(metadata, str) or not isinstance(kind, str):
        raise InputError(f"{where}: 'Metadata' and 'LayerType' must be texts", HINT)
    inputs, outputs = (tuple(_tensors(value, key, where)) for key in ("Inputs", "Outputs"))
    return Layer(name, _kind(name, kind), frozenset(_nodes(metadata)), inputs, outputs)


def _kind(name: str, layer_type: str) -> Kind:
    reformat = layer_type.lower() == "reformat" or name.startswith(_REFORMAT_NAME)
    return Kind.REFORMAT if reformat else Kind.KERNEL


def _nodes(metadata: str) -> Iterator[str]:
    for entry in _ENTRIES.split(metadata):
        match = _ENTRY.fullmatch(entry)
        if match:
            yield match[1].partition(_CALLERS)[0]


def _tensors(layer: Mapping[str, Any], key: str, where: str) -> Iterator[Tensor]:
    tensors = layer.get(key) or []
    if not isinstance(tensors, list) or len(tensors) > MAX_TENSORS:
        raise InputError(f"{where}: '{key}' is not a list of at most {MAX_TENSORS} tensors", HINT)
    for tensor in tensors:
        if not isinstance(tensor, dict):
            raise InputError(f"{where}: '{key}' holds what is no object", HINT)
        yield Tensor(check_name(tensor.get("Name"), f"{where}: '{key}'"), _precision(tensor, where))


def _precision(tensor: Mapping[str, Any], where: str) -> Precision | None:
    described = next((text for key in _TYPE_KEYS if isinstance(text := tensor.get(key), str)), "")
    match = _TYPE.search(described)
    if match is None:
        return None
    if match[1] not in _PRECISIONS:
        raise InputError(
            f"{where} has a tensor of {match[1]}, which hwc has no choice for",
            "build the engine without that type",
        )
    return _PRECISIONS[match[1]]


def _no_constant(text: str) -> object:
    raise ValueError(f"{text} is not a number")
