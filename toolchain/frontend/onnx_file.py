"""Read an ONNX file, and say what it is when it is something else."""

import zipfile
from pathlib import Path

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # has no stubs

from ..errors import InputError
from .messages import one_line
from .protos import texts

_PROTOBUF_LIMIT = 2**31 - 1  # a protobuf message ends here; larger models keep weights beside it
_EXPORT_HINT = "export the model again, or fetch the file again"
_PICKLE_HINT = (
    "a PyTorch pickle can run code, so it is never opened: give `package.module:factory` with "
    "--input, or a .pt2 file from torch.export.save"
)
_SIGNATURES = (  # offset, bytes, what it is
    (0, b"PK\x03\x04", "a zip archive (a PyTorch, Keras or NumPy file)"),
    (0, b"\x80\x02", "a Python pickle"),
    (0, b"\x80\x04", "a Python pickle"),
    (0, b"\x80\x05", "a Python pickle"),
    (4, b"TFL3", "a TensorFlow Lite model"),
    (4, b"ORTM", "an ONNX Runtime .ort model"),
    (0, b"\x89HDF", "an HDF5 file (Keras)"),
    (0, b"GGUF", "a GGUF file"),
    (0, b"ftrt", "a TensorRT engine"),
    (8, b'{"', "a safetensors file (weights without a graph)"),
    (0, b"version https://git-lfs", "a Git LFS pointer: run `git lfs pull`"),
    (0, b"<", "a web page or XML"),
)
_PICKLES = frozenset({".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle"})


def read_proto(path: Path) -> onnx.ModelProto:
    """Parse an ONNX file; external data is neither read nor looked for.

    Raises:
        InputError: There is no such file, or it is not (or no longer) an ONNX model.
    """
    data = _read(path)
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except DecodeError as cause:
        raise _not_onnx(path, data[:64]) from cause
    if not proto.HasField("graph") or not proto.ir_version:
        raise _not_onnx(path, data[:64])
    if not all(isinstance(text, str) for text in texts(proto)):  # bytes where it is not UTF-8
        raise InputError(f"{path} is damaged: it has a name that is not text", _EXPORT_HINT)
    return proto


def to_graph(proto: onnx.ModelProto, source: str, folder: Path) -> ir.Model:
    """The graph of a checked model whose data files lie in `folder`.

    Raises:
        InputError: A value has a type that ONNX does not have.
    """
    try:
        model = ir.from_proto(proto)
    except ir.serde.SerdeError as cause:
        reason: BaseException = cause
        while reason.__cause__ is not None:
            reason = reason.__cause__
        raise InputError(f"{source} is damaged: {one_line(reason)}", _EXPORT_HINT) from cause
    ir.external_data.set_base_dir(model.graph, str(folder.absolute()))
    return model


def refuse_pickle(path: Path) -> None:
    """Refuse what PyTorch pickled, by its first bytes or its suffix; nothing is unpickled.

    Raises:
        InputError: The file is, or by its name must be, a pickle, or it cannot be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(4)
    except OSError as cause:
        raise InputError(f"{path} cannot be read: {cause.strerror}") from cause
    pickled = head.startswith(b"\x80") or (head.startswith(b"PK\x03\x04") and _holds_pickle(path))
    if pickled and path.suffix != ".pt2":
        raise InputError(f"{path} is a pickled file, not an ONNX model", _PICKLE_HINT)
    if path.suffix in _PICKLES and not _looks_like_onnx(head):
        raise InputError(f"{path} is not an ONNX model", _PICKLE_HINT)


def _read(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > _PROTOBUF_LIMIT:
            hint = "save the model with external data, which keeps the weights beside it"
            raise InputError(f"{path} is larger than 2 GiB, which no ONNX file can be", hint)
        data = path.read_bytes()
    except OSError as cause:
        raise InputError(f"{path} cannot be read: {cause.strerror}") from cause
    if not data:
        raise InputError(f"{path} is empty", _EXPORT_HINT)
    return data


def _holds_pickle(path: Path) -> bool:
    """Whether a zip is one of PyTorch's; a damaged one is taken for it."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(".pkl") for name in archive.namelist())
    except zipfile.BadZipFile:
        return True


def _looks_like_onnx(head: bytes) -> bool:
    """Whether it starts as exporters start a model: field 1, an IR version below 32."""
    return len(head) > 1 and head[0] == 0x08 and 0 < head[1] < 32  # noqa: PLR2004 - see above


def _not_onnx(path: Path, head: bytes) -> InputError:
    if _looks_like_onnx(head):
        return InputError(f"{path} is a damaged or truncated ONNX file", _EXPORT_HINT)
    for offset, signature, what in _SIGNATURES:
        if head[offset:].startswith(signature):
            return InputError(f"{path} is not an ONNX file but {what}", _EXPORT_HINT)
    return InputError(f"{path} is not an ONNX file", _EXPORT_HINT)
