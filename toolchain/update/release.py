"""A release: what a device is to have, file by file and tensor by tensor, with digests."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Self

from ..archive import check_member
from ..codec import canonical, parse
from ..errors import HwcError
from .limits import LIMITS, Limits
from .refusal import Code, Refusal

FORMAT = 1
RELEASE = "bundle.json"

_MAKE_AGAIN = "publish the release again; do not use this one"


class Dtype(Enum):
    """How a tensor's bytes are to be read (little endian, C order); the names of safetensors."""

    F64 = "F64"
    F32 = "F32"
    F16 = "F16"
    BF16 = "BF16"
    F8E4M3 = "F8_E4M3"
    F8E5M2 = "F8_E5M2"
    I64 = "I64"
    I32 = "I32"
    I16 = "I16"
    I8 = "I8"
    U64 = "U64"
    U32 = "U32"
    U16 = "U16"
    U8 = "U8"
    BOOL = "BOOL"
    PACKED = "PACKED"  # numbers narrower than a byte (int4, fp4, 2 to 7 bit codes), packed

    @property
    def size(self) -> int:
        """Bytes of one element; 1 for packed numbers."""
        return _SIZES.get(self, 1)


_SIZES = {
    **dict.fromkeys((Dtype.F64, Dtype.I64, Dtype.U64), 8),
    **dict.fromkeys((Dtype.F32, Dtype.I32, Dtype.U32), 4),
    **dict.fromkeys((Dtype.F16, Dtype.BF16, Dtype.I16, Dtype.U16), 2),
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """Where one tensor lies in its file.

    Attributes:
        name: Its name in the model.
        dtype: How to read its bytes.
        shape: As the model says; packed numbers are counted one by one.
        offset: First byte in the file.
        size: Bytes.
        sha256: Of those bytes, in hexadecimal.
    """

    name: str
    dtype: Dtype
    shape: tuple[int, ...]
    offset: int
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ReleaseFile:
    """One file: path with forward slashes, bytes, SHA-256, and the tensors that were found in it.

    Tensors are in the order of their offsets and do not overlap.
    """

    path: str
    size: int
    sha256: str
    tensors: tuple[Tensor, ...] = ()


@dataclass(frozen=True, slots=True)
class Compatibility:
    """Where a release runs; an empty text or 0 asks for nothing.

    Attributes:
        arch: Of the processor, as `platform.machine()` says: `aarch64`.
        accelerator: Its name as the device's agent is told: `orin`.
        sm: CUDA compute capability an engine was built for: `8.7`.
        runtime: `onnxruntime`, `tensorrt`.
        runtime_min: The lowest version of it, inclusive.
        runtime_max: The highest, exclusive.
        memory: Bytes of memory that must be free to run it.
    """

    arch: str = ""
    accelerator: str = ""
    sm: str = ""
    runtime: str = ""
    runtime_min: str = ""
    runtime_max: str = ""
    memory: int = 0


@dataclass(frozen=True, slots=True)
class Golden:
    """Inputs with outputs that a device has to reproduce.

    Attributes:
        path: The npz file of the release (`bundle.write_golden`).
        agreement: The least cosine of each output with the stored one, a decimal number as text.
    """

    path: str
    agreement: str = "0.99"


@dataclass(frozen=True, slots=True)
class Release:
    """What `bundle.json` says; it has no fraction, so that its canonical form is RFC 8785's.

    Attributes:
        product: What the fleet runs: `doorbell`.
        version: What people call it: `1.4`.
        seq: Counts the product's releases; an agent never goes back on its own.
        sec_epoch: Raised when older releases must not run any more.
        compatibility: Where it runs.
        golden: How a device tells that it works; None where there is nothing to compare.
        provenance: Who made it of what: sources, tools, digests.
        files: Every file but `bundle.json`, sorted by path.
        format: Version of this format.
    """

    product: str
    version: str
    seq: int
    sec_epoch: int
    compatibility: Compatibility
    golden: Golden | None
    provenance: Mapping[str, str]
    files: tuple[ReleaseFile, ...]
    format: int = FORMAT

    def text(self) -> bytes:
        """`bundle.json`."""
        return canonical(self).encode()

    @property
    def digest(self) -> str:
        """SHA-256 of `bundle.json`: what is signed, and what a delta names its ends by."""
        return hashlib.sha256(self.text()).hexdigest()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @classmethod
    def parse(cls, text: bytes, limits: Limits = LIMITS) -> Self:
        """Read `bundle.json`, whose digest the caller has checked.

        Raises:
            Refusal: It is not canonical, breaks a limit, or says something impossible.
        """
        if len(text) > limits.release:
            raise Refusal(Code.LIMIT, f"{RELEASE} has {len(text)} B, over {limits.release}")
        try:
            release = parse(cls, text)
        except HwcError as cause:
            raise Refusal(Code.MALFORMED, f"{RELEASE}: {cause.message}", _MAKE_AGAIN) from cause
        _check(release, limits)
        if release.text() != text:
            raise Refusal(Code.MALFORMED, f"{RELEASE} is not in canonical form", _MAKE_AGAIN)
        return release


def _check(release: Release, limits: Limits) -> None:
    if release.format != FORMAT:
        raise Refusal(Code.UNKNOWN, f"{RELEASE} has format {release.format}", "update hwc")
    if release.seq < 0 or release.sec_epoch < 0 or release.compatibility.memory < 0:
        raise Refusal(Code.MALFORMED, f"{RELEASE} counts below 0", _MAKE_AGAIN)
    if len(release.files) > limits.files:
        raise Refusal(Code.LIMIT, f"{RELEASE} lists {len(release.files)} files", _MAKE_AGAIN)
    paths = [file.path for file in release.files]
    if paths != sorted(set(paths)):
        raise Refusal(Code.MALFORMED, f"{RELEASE} lists its files twice or unsorted", _MAKE_AGAIN)
    if sum(len(file.tensors) for file in release.files) > limits.tensors:
        raise Refusal(Code.LIMIT, f"{RELEASE} lists over {limits.tensors} tensors", _MAKE_AGAIN)
    for file in release.files:
        _check_file(file, limits)
    if release.size > limits.total:
        raise Refusal(Code.LIMIT, f"{RELEASE} asks for {release.size} B of disk", _MAKE_AGAIN)
    if release.golden is not None and release.golden.path not in paths:
        raise Refusal(Code.MALFORMED, f"{RELEASE} lacks {release.golden.path}", _MAKE_AGAIN)


def _check_file(file: ReleaseFile, limits: Limits) -> None:
    try:
        check_member(file.path)
    except HwcError as cause:
        raise Refusal(Code.PATH, f"{RELEASE}: {cause.message}", _MAKE_AGAIN) from cause
    if len(file.path.encode()) > limits.path or file.path == RELEASE:
        raise Refusal(Code.PATH, f"{RELEASE} lists {file.path[:80]!r}", _MAKE_AGAIN)
    _check_digest(file.sha256, file.path)
    if not 0 <= file.size <= limits.file:
        raise Refusal(Code.LIMIT, f"{file.path} is to have {file.size} B", _MAKE_AGAIN)
    end = 0
    for tensor in file.tensors:
        _check_digest(tensor.sha256, tensor.name)
        if tensor.offset < end or tensor.size < 0 or min(tensor.shape, default=0) < 0:
            raise Refusal(Code.MALFORMED, f"{file.path}: {tensor.name} overlaps", _MAKE_AGAIN)
        end = tensor.offset + tensor.size
    if end > file.size:
        raise Refusal(Code.MALFORMED, f"{file.path}: a tensor ends at {end}", _MAKE_AGAIN)


def _check_digest(digest: str, of: str) -> None:
    if len(digest) != len(hashlib.sha256().hexdigest()) or set(digest) - set("0123456789abcdef"):
        raise Refusal(Code.MALFORMED, f"{RELEASE}: {of[:80]} has no SHA-256", _MAKE_AGAIN)
