"""What others make of the change of a file: the bytes of a patch, or of what is sent again."""

import hashlib
import importlib
import importlib.util
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import bsdiff4
import numpy as np
import zstandard

_BLOCK = 4096  # bytes of what updaters by changed blocks compare
_LEVEL = 19
_AVERAGE = 13  # bits: chunks by content have 8 KiB on average
_SHORTEST, _LONGEST = 2048, 65536  # bytes of such a chunk
_WINDOW = 32  # bytes that decide where it ends: the bits of the hash
_GEAR = np.random.default_rng(0).integers(0, 1 << 32, 256, dtype=np.uint32)

_SORTED = 64_000_000  # bytes beyond which sorting all suffixes takes minutes and 17 times the file

Peer = Callable[[bytes, bytes], int | None]  # old and new file to bytes; None: it was not asked


def peers() -> Mapping[str, Peer]:
    """Those that are installed; hdiffpatch and xdelta3 are not asked for by this project."""
    found: dict[str, Peer] = {
        "zstd-19": lambda _, new: len(_zstd(new)),
        "zstd --patch-from": lambda old, new: len(_zstd(new, old)),
        "bsdiff4": _bsdiff4,
        "4 KiB blocks": lambda old, new: _missing(_fixed(old), _fixed(new)),
        "CDC": lambda old, new: _missing(_by_content(old), _by_content(new)),
    }
    if importlib.util.find_spec("hdiffpatch") is not None:
        found["hdiffpatch"] = _hdiffpatch
    if shutil.which("xdelta3") is not None:
        found["xdelta3"] = _xdelta3
    return found


@dataclass(frozen=True, slots=True)
class Remembered:
    """Peers that are asked once for the same two files: some take minutes.

    Attributes:
        peers: Who is asked.
        path: A JSON file of what they said.
    """

    peers: Mapping[str, Peer]
    path: Path

    def sizes(self, old: bytes, new: bytes) -> dict[str, int | None]:
        """What each makes of the files, in bytes."""
        return {name: self._size(name, old, new) for name in self.peers}

    def _size(self, name: str, old: bytes, new: bytes) -> int | None:
        known = json.loads(self.path.read_text("utf-8")) if self.path.is_file() else {}
        key = " ".join([name, *(hashlib.sha256(file).hexdigest() for file in (old, new))])
        if key not in known:
            known[key] = self.peers[name](old, new)
            part = self.path.with_name(f".{self.path.name}.part")
            part.write_text(json.dumps(known, indent=1), "utf-8")
            part.replace(self.path)
        size: int | None = known[key]
        return size


def _zstd(data: bytes, prefix: bytes = b"") -> bytes:
    size = len(data) + len(prefix)
    parameters = zstandard.ZstdCompressionParameters.from_level(
        _LEVEL, source_size=size, window_log=max(10, size.bit_length()), enable_ldm=bool(prefix)
    )
    dictionary = None
    if prefix:
        kind = zstandard.DICT_TYPE_RAWCONTENT
        dictionary = zstandard.ZstdCompressionDict(prefix, dict_type=kind)
    compressor = zstandard.ZstdCompressor(compression_params=parameters, dict_data=dictionary)
    return compressor.compress(data)


def _missing(old: Iterator[bytes], new: Iterator[bytes]) -> int:
    """What is in none of the old pieces, compressed, and a digest of 16 bytes for each piece."""
    known = {hashlib.sha256(piece).digest() for piece in old}
    pieces = list(new)
    fresh = [piece for piece in pieces if hashlib.sha256(piece).digest() not in known]
    return len(_zstd(b"".join(fresh))) + 16 * len(pieces)


def _fixed(data: bytes) -> Iterator[bytes]:
    return (data[at : at + _BLOCK] for at in range(0, len(data), _BLOCK))


def _by_content(data: bytes) -> Iterator[bytes]:
    """Pieces that end where a hash of the last bytes has enough zeros, as FastCDC's do."""
    gears = _GEAR[np.frombuffer(data, np.uint8)]
    rolled = np.zeros(len(data), np.uint32)
    for back in range(min(_WINDOW, len(data))):
        rolled[back:] += gears[: len(data) - back] << np.uint32(back)
    ends = np.flatnonzero(rolled >> np.uint32(_WINDOW - _AVERAGE) == 0) + 1
    begin = 0
    for end in [*ends.tolist(), len(data)]:
        while end - begin > _LONGEST:
            yield data[begin : begin + _LONGEST]
            begin += _LONGEST
        if end - begin >= _SHORTEST or begin < end == len(data):
            yield data[begin:end]
            begin = end


def _bsdiff4(old: bytes, new: bytes) -> int | None:
    if len(old) + len(new) > 2 * _SORTED:
        return None
    return len(bsdiff4.diff(old, new))


def _hdiffpatch(old: bytes, new: bytes) -> int:
    module = importlib.import_module("hdiffpatch")
    return len(module.diff(old, new, module.COMPRESSION_ZSTD))


def _xdelta3(old: bytes, new: bytes) -> int:
    with tempfile.TemporaryDirectory() as name:
        files = [Path(name) / part for part in ("old", "new", "patch")]
        for file, data in zip(files, (old, new), strict=False):
            file.write_bytes(data)
        window = str(max(len(old), len(new), 1 << 20))
        subprocess.run(
            ["xdelta3", "-9", "-S", "lzma", "-B", window, "-e", "-s", *map(str, files)],  # noqa: S607 - as users start it
            check=True,
        )
        return files[2].stat().st_size
