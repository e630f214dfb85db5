"""Samples from arrays whose first axis counts them: an npz file, or npy files named like inputs."""

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..engine import Array
from ..errors import InputError
from ..inputs import InputSpec
from .conform import check_names, conform_all, label_name
from .samples import Sample


@dataclass(frozen=True, slots=True)
class StackedSamples:
    """Sample i is the i-th slice of every array; an array of rank 0 is the same for all."""

    arrays: Mapping[str, Array]
    labels: Array | None
    inputs: Sequence[InputSpec]
    source: str

    def __len__(self) -> int:
        """How many there are."""
        return min((len(array) for array in self.arrays.values() if array.ndim), default=1)

    def __getitem__(self, index: int) -> Sample:
        """Take the slices of one sample."""
        slices = {
            name: np.asarray(array[index] if array.ndim else array)
            for name, array in self.arrays.items()
        }
        feeds = conform_all(slices, self.inputs, f"{self.source}, sample {index}")
        label = None if self.labels is None else np.asarray(self.labels[index])
        return Sample(feeds, label)


def stacked_samples(
    arrays: Mapping[str, Array], inputs: Sequence[InputSpec], source: str
) -> StackedSamples:
    """Samples of arrays named like the inputs; every one of them is checked now.

    Args:
        arrays: Arrays by name, first axis = samples; one called `label`, `labels` or `y` holds
            the labels.
        inputs: What the model wants.
        source: Where the arrays come from, for messages.

    Raises:
        InputError: Names, lengths, shapes, types or values are wrong.
    """
    key = label_name(arrays, inputs)
    feeds = {name: array for name, array in arrays.items() if name != key}
    check_names(feeds, inputs, source)
    if key and not arrays[key].ndim:
        raise InputError(f"{source}: '{key}' is one number", "give a label for each sample")
    lengths = {name: len(array) for name, array in arrays.items() if array.ndim}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise InputError(f"{source}: arrays differ in their number of samples: {counts}")
    samples = StackedSamples(feeds, arrays[key] if key else None, inputs, source)
    for index in range(len(samples)):
        samples[index]  # one pass, so that a bad sample is told before any work is done
    return samples


def read_npz(path: Path) -> dict[str, Array]:
    """The arrays of an npz file, mapped from disk where it stores them uncompressed.

    Raises:
        InputError: The file is not an npz, is damaged or holds pickled objects.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
            return {
                info.filename.removesuffix(".npy"): _member(path, archive, info) for info in members
            }
    except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as cause:
        raise _unreadable(path, cause) from cause


def read_npy(path: Path) -> Array:
    """The array of an npy file, mapped from disk.

    Raises:
        InputError: The file is not an npy, is damaged or holds pickled objects.
    """
    try:
        array: Array = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError, EOFError) as cause:
        raise _unreadable(path, cause) from cause
    return array


def _member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Array:
    """One array of an npz: mapped where stored as it is, else read once."""
    with archive.open(info) as stream:
        version = np.lib.format.read_magic(stream)
        readers = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        if info.compress_type == zipfile.ZIP_STORED and version in readers:
            shape, fortran, dtype = readers[version](stream)
            if not dtype.hasobject and 0 not in shape and shape:
                offset = _data_offset(path, info) + stream.tell()
                return np.memmap(path, dtype, "r", offset, shape, "F" if fortran else "C")
    with archive.open(info) as stream:
        array: Array = np.lib.format.read_array(stream, allow_pickle=False)
    return array


def _data_offset(path: Path, info: zipfile.ZipInfo) -> int:
    """Where the bytes of a stored zip member begin (APPNOTE.TXT 4.3.7: local file header)."""
    with path.open("rb") as stream:
        stream.seek(info.header_offset + 26)
        name, extra = (int.from_bytes(stream.read(2), "little") for _ in range(2))
    return info.header_offset + 30 + name + extra


def _unreadable(path: Path, cause: Exception) -> InputError:
    """The one error for files that cannot be read; says so where pickle is the reason."""
    if "allow_pickle" in str(cause) or "Object arrays" in str(cause):
        return InputError(
            f"{path} holds pickled objects, which can run code when they are read",
            "save plain numeric arrays",
        )
    reason = getattr(cause, "strerror", None) or cause
    return InputError(f"cannot read {path}: {reason}", "give an npz or npy file written by NumPy")
