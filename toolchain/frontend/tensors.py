"""What an inline tensor must hold, by its type and shape."""

import math

import onnx
import onnx_ir as ir

from ..errors import InputError

_HINT = "the file is damaged: export the model again"
_FIELD_OF_TYPE = {  # onnx.proto, TensorProto: which typed field holds what is not in raw_data
    "FLOAT": "float_data",
    "COMPLEX64": "float_data",
    "DOUBLE": "double_data",
    "COMPLEX128": "double_data",
    "INT64": "int64_data",
    "UINT32": "uint64_data",
    "UINT64": "uint64_data",
}

_FIELDS = frozenset({*_FIELD_OF_TYPE.values(), "int32_data"})


def payload_bytes(tensor: onnx.TensorProto) -> int:
    """Bytes that the tensor's type and shape call for, packed as ONNX packs them.

    Raises:
        InputError: No such type, a type without a fixed size, or a negative dimension.
    """
    dtype = _dtype(tensor)
    if dtype in (ir.DataType.STRING, ir.DataType.UNDEFINED):
        raise InputError(f"tensor {tensor.name!r} of type {dtype.name} has no size in bytes", _HINT)
    return math.ceil(_elements(tensor) * dtype.bitwidth / 8)


def holds_nothing(tensor: onnx.TensorProto) -> bool:
    """Whether an inline tensor says its type and shape, but has none of the values."""
    if _dtype(tensor) is ir.DataType.STRING or not payload_bytes(tensor):
        return False
    return not (len(tensor.raw_data) or any(len(getattr(tensor, name)) for name in _FIELDS))


def check_payload(tensor: onnx.TensorProto) -> None:
    """Check that an inline tensor holds exactly what its type and shape say.

    Raises:
        InputError: It holds more or less.
    """
    dtype, count = _dtype(tensor), _elements(tensor)
    if dtype is ir.DataType.STRING:
        held, needed = len(tensor.string_data), count
    elif tensor.HasField("raw_data"):
        held, needed = len(tensor.raw_data), payload_bytes(tensor)
    elif dtype.name.startswith("COMPLEX"):
        held, needed = len(getattr(tensor, _FIELD_OF_TYPE[dtype.name])), 2 * count
    else:
        held = len(getattr(tensor, _FIELD_OF_TYPE.get(dtype.name, "int32_data")))
        needed = payload_bytes(tensor) if dtype.bitwidth < 8 else count  # noqa: PLR2004 - packed
    if held != needed:
        raise InputError(
            f"tensor {tensor.name!r} holds {held} values, its shape {list(tensor.dims)} needs "
            f"{needed}",
            _HINT,
        )


def _dtype(tensor: onnx.TensorProto) -> ir.DataType:
    try:
        dtype = ir.DataType(tensor.data_type)
    except ValueError as cause:
        raise InputError(f"tensor {tensor.name!r} has no known type", _HINT) from cause
    if dtype is ir.DataType.UNDEFINED:
        raise InputError(f"tensor {tensor.name!r} has no type", _HINT)
    return dtype


def _elements(tensor: onnx.TensorProto) -> int:
    if any(size < 0 for size in tensor.dims):
        raise InputError(f"tensor {tensor.name!r} has a negative dimension", _HINT)
    return math.prod(tensor.dims)
