"""Writing named arrays to an npz file: any tensor name, no pickle, equal arrays, equal bytes."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from .engine import Array

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date a zip can hold


def write_npz(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write a new npz file; numpy's own writer pickles text and refuses an array named `file`."""
    with zipfile.ZipFile(path, "x") as archive:
        for name, array in arrays.items():
            plain = array.astype(np.str_) if array.dtype.hasobject else array
            info = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            info.file_size = plain.nbytes
            with archive.open(info, "w", force_zip64=plain.nbytes >= zipfile.ZIP64_LIMIT) as member:
                np.lib.format.write_array(member, plain, allow_pickle=False)
