"""How much an update may ask of a device before it is refused: one number for each."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what comes from outside; all sizes in bytes.

    Attributes:
        metadata: One signed metadata file.
        release: `bundle.json`.
        header: The header of an update file, as it is stored.
        header_decoded: Its tables, decompressed; blocks of 64 GiB of bytes, and 131,000 segments.
        files: Files of a release.
        tensors: Tensors of a release.
        segments: Segments of an update file.
        path: Of a path, in UTF-8.
        file: One file of a release.
        total: All files of a release.
        payload: One block of an update file, as it is stored.
        block: One block, decoded.
        window: What a zstd frame may refer back to.
        rate: The least bytes a second of a download, over `patience`.
        patience: Seconds over which `rate` is measured, and that a server may be silent.
    """

    metadata: int = 4 << 20
    release: int = 16 << 20
    header: int = 8 << 20
    header_decoded: int = 8 << 20
    files: int = 4096
    tensors: int = 1 << 17
    segments: int = 1 << 18
    path: int = 240
    file: int = 64 << 30
    total: int = 64 << 30
    payload: int = 2 << 20
    block: int = 1 << 20
    window: int = 8 << 20
    rate: int = 256
    patience: float = 30.0


LIMITS = Limits()
