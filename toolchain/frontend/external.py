"""External data: where a model may keep its weights, checked before any of it is opened."""

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx

from ..errors import InputError
from .onnx_file import read_proto, refuse_pickle
from .protos import all_tensors, is_external, node_tensors
from .tensors import payload_bytes

SMALL = 1024  # bytes; shape arithmetic lives in tensors of this size, and inference must see it


def check_external(proto: onnx.ModelProto, folder: Path) -> None:
    """Check that every external tensor lies whole in a plain file inside the model's folder.

    Only names and sizes are looked at: each file is touched once, whatever its size.

    Raises:
        InputError: A path that leaves the folder, or a file that is missing or too short.
    """
    sizes: dict[str, int] = {}
    for tensor in _external(proto):
        location = _entry(tensor, "location")
        if location not in sizes:
            sizes[location] = _checked_size(folder, location, tensor.name)
        _check_range(tensor, location, sizes[location])


def is_missing(tensor: onnx.TensorProto, folder: Path) -> bool:
    """Whether nothing is where an external tensor should be.

    Raises:
        InputError: Its path leaves the folder.
    """
    return not _checked_path(folder, _entry(tensor, "location"), tensor.name).exists()


def inline_small(proto: onnx.ModelProto, folder: Path) -> None:
    """Read into the proto what must not stay outside; `check_external` must have passed.

    Weights of the main graph stay on disk. Small tensors carry shapes that inference and
    conversion look into, and tensors of bodies and attributes travel inside their node.
    """
    for tensor in proto.graph.initializer:
        if is_external(tensor) and payload_bytes(tensor) <= SMALL:
            _inline(tensor, folder)
    for tensor in node_tensors(proto.graph.node):
        if is_external(tensor):
            _inline(tensor, folder)


def digest(path: Path) -> str:
    """SHA-256 of a model file, in hexadecimal; external data is part of it.

    Without external data it is what `sha256sum` prints; with it, the digest of the digests of the
    model and of each data file, in the order of their names.

    Raises:
        InputError: The file is not a model, or its external data is missing or out of bounds.
    """
    files = data_files(path)
    if not files:
        return _sha256(path)
    names = ((file, file.relative_to(path.parent).as_posix()) for file in files)
    lines = [_sha256(path), *(f"{_sha256(file)} {name}" for file, name in names)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def data_files(path: Path) -> tuple[Path, ...]:
    """The files of external data that a model refers to, by name; none where it is no ONNX file.

    Raises:
        InputError: See `digest`.
    """
    refuse_pickle(path)
    if path.suffix == ".pt2":
        return ()
    proto = read_proto(path)
    check_external(proto, path.parent.absolute())
    locations = sorted({_entry(tensor, "location") for tensor in _external(proto)})
    return tuple(path.parent / location for location in locations)


def _external(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    return (tensor for tensor in all_tensors(proto) if is_external(tensor))


def _inline(tensor: onnx.TensorProto, folder: Path) -> None:
    with (folder / _entry(tensor, "location")).open("rb") as file:
        file.seek(_integer(tensor, "offset") or 0)
        tensor.raw_data = file.read(payload_bytes(tensor))
    tensor.data_location = onnx.TensorProto.DEFAULT
    del tensor.external_data[:]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _entry(tensor: onnx.TensorProto, key: str) -> str:
    return next((entry.value for entry in tensor.external_data if entry.key == key), "")


def _integer(tensor: onnx.TensorProto, key: str) -> int | None:
    text = _entry(tensor, key)
    if not text:
        return None
    if not (text.isascii() and text.isdigit()):
        raise InputError(f"external data of {tensor.name!r} has {key} {text!r}", "export it again")
    return int(text)


def _checked_path(folder: Path, location: str, name: str) -> Path:
    """The path of an external file, after the path rules."""
    where = f"external data of {name!r} is at {location!r}"
    windows = PureWindowsPath(location)
    leaves = PurePosixPath(location).is_absolute() or windows.anchor or ".." in windows.parts
    if not location or "\0" in location or leaves:
        hint = "save the model with its data files in its own folder, under plain names"
        raise InputError(f"{where}, outside the model's folder", hint)
    path = folder / location
    if os.path.commonpath([_real(path), _real(folder)]) != _real(folder):
        hint = "replace the link by a copy of the file (cp -L)"
        raise InputError(f"{where}, a link that leaves the model's folder", hint)
    return path


def _checked_size(folder: Path, location: str, name: str) -> int:
    """The size of an external file that may be read."""
    where = f"external data of {name!r} is at {location!r}"
    path = _checked_path(folder, location, name)
    try:
        facts = path.stat()
    except OSError as cause:
        hint = f"put {location} beside the model"
        raise InputError(f"{where}, which cannot be read: {cause.strerror}", hint) from cause
    if not stat.S_ISREG(facts.st_mode):
        raise InputError(f"{where}, which is not a plain file", "save the model again")
    if facts.st_nlink > 1:  # onnx_ir refuses these too, but only when the weight is first read
        raise InputError(f"{where}, which has several hard links", "replace it by a copy")
    return facts.st_size


def _real(path: Path) -> str:
    return os.path.realpath(path)


def _check_range(tensor: onnx.TensorProto, location: str, size: int) -> None:
    """Check offset and length against the file and against the tensor's own shape."""
    offset, length = _integer(tensor, "offset") or 0, _integer(tensor, "length")
    needed = payload_bytes(tensor)
    if length is not None and length != needed:
        raise InputError(
            f"external data of {tensor.name!r} has {length} bytes, its shape needs {needed}",
            "export the model again",
        )
    if offset + needed > size:
        raise InputError(
            f"{location} ends at byte {size}, but {tensor.name!r} lies at {offset} to "
            f"{offset + needed}",
            "the data file is truncated or of another version: fetch it again",
        )
