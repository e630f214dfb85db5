"""Named arrays in an npz file: any tensor name, no pickle, equal arrays give equal bytes."""

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from .engine import Array
from .errors import InputError

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date a zip can hold: equal arrays, equal files


def save_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write a new npz file; numpy's own writer cannot hold an array named `file`."""
    with zipfile.ZipFile(path, "x") as archive:
        for name, array in arrays.items():
            # Tensors of strings are object arrays, which only a pickle could hold.
            plain = array.astype(np.str_) if array.dtype.hasobject else array
            info = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            info.file_size = plain.nbytes  # tells zipfile whether it needs 64-bit sizes
            with archive.open(info, "w", force_zip64=plain.nbytes >= zipfile.ZIP64_LIMIT) as member:
                np.lib.format.write_array(member, plain, allow_pickle=False)


def load_arrays(path: Path) -> dict[str, Array]:
    """Read an npz file.

    Raises:
        InputError: It is missing, damaged, no npz, or needs a pickle.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return {name.removesuffix(".npy"): _read(archive, name) for name in archive.namelist()}
    except FileNotFoundError as cause:
        raise InputError(f"{path}: no such file", "give an npz file") from cause
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as cause:
        raise InputError(f"{path}: not an npz file of plain arrays ({cause})", _SAVE) from cause


def _read(archive: zipfile.ZipFile, name: str) -> Array:
    with archive.open(name) as member:
        array: Array = np.lib.format.read_array(member, allow_pickle=False)
        return array


_SAVE = "make one with numpy.savez, one array for each input"
