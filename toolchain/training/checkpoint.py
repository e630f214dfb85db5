"""Training that can go on where it stopped: all of its state in one file, written whole or not."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from ..codec import canonical, parse
from ..engine import Array
from ..errors import InputError
from ..output import atomic_output
from .curve import Point

FORMAT = 1
_KEY = "hwc"  # of the header in the metadata


@dataclass(frozen=True, slots=True)
class Header:
    """What a checkpoint says of itself.

    Attributes:
        format: Of the file; this code reads `FORMAT`.
        run: Digest of the model, the recipe and the data: another run does not go on from here.
        step: Updates that were made.
        seconds: What they took, in all sittings.
        best: Lowest loss on the held-out samples; None where there are none.
        kept: The step of the state that would be returned.
        curve: What was measured on the way.
    """

    format: int
    run: str
    step: int
    seconds: float
    best: float | None
    kept: int
    curve: tuple[Point, ...]


def write_checkpoint(path: Path, header: Header, arrays: Mapping[str, Array]) -> None:
    """Write a checkpoint in the place of the one before.

    Raises:
        OutputError: It cannot be written.
    """
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    data = safetensors.numpy.save(whole, {_KEY: canonical(header)})
    with atomic_output(path, force=True) as stage:
        stage.write_bytes(data)


def read_checkpoint(path: Path, run: str) -> tuple[Header, dict[str, Array]] | None:
    """Read a checkpoint; None where there is none, or it is of another run.

    Raises:
        InputError: It is damaged, or of another version of hwc.
    """
    hint = f"remove {path}: training then begins anew"
    if not path.exists():
        return None
    try:
        data = path.read_bytes()
        arrays = safetensors.numpy.load(data)  # checks offsets and sizes before it makes arrays
    except (OSError, safetensors.SafetensorError, KeyError) as cause:
        raise InputError(f"checkpoint {path} cannot be read ({cause})", hint) from cause
    length = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + length]).get("__metadata__") or {}
    try:
        header = parse(Header, metadata.get(_KEY, ""))
    except InputError as cause:
        raise InputError(f"checkpoint {path} has a header that is not valid", hint) from cause
    if header.format != FORMAT:
        raise InputError(f"checkpoint {path} has format {header.format}", hint)
    return (header, arrays) if header.run == run else None


def digest(*parts: object) -> str:
    """One name for all that makes a run: texts, and arrays by their bytes."""
    sha = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            sha.update(f"{part.dtype}{part.shape}".encode())
            sha.update(np.ascontiguousarray(part).tobytes())
        else:
            sha.update(str(part).encode())
        sha.update(b"\0")
    return sha.hexdigest()
