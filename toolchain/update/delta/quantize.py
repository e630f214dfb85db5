"""Another release, near the new one, that fewer bytes lead to: its weights move by coarse steps.

The step of a tensor is a power of two, at most a share of the root mean square of its change. It is
taken in representable numbers: a weight whose neighbours lie `u` apart moves by a multiple of
step / u of them, found by integer arithmetic alone, so that every machine makes the same release.
What leads to it is a delta like any other, exact, and devices need not know. How far the outputs
of that release are from those of the new one is for the caller to measure. Of a bundle it is a
bundle, sealed anew. Engines that were built of the exact weights do not go with it: leave them out,
and let the device build its own.
"""

import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...bundle import MANIFEST, file_digest
from ..content.describe import describe, write_release
from ..content.from_bundle import OF_MANIFEST
from ..content.reseal import movable_manifest, reseal
from ..release import Dtype, Release
from .change import values
from .files import Folder
from .header import Op
from .match import Place, match, places

PROVENANCE = "approximates"  # key of the digest of the release that was asked for

_MANTISSA = {Dtype.F32: 23, Dtype.F16: 10, Dtype.BF16: 7}  # bits
_PART = 1 << 18  # elements that are moved at once


def approximate(new: Folder, old: Folder, target: Path, share: float) -> Release:
    """Write the release near `new` to the empty folder `target`.

    Args:
        new: The release to come near to.
        old: The release that devices have.
        target: The folder.
        share: Of the root mean square of a tensor's change, that its steps have at most.

    Raises:
        Refusal: The new release has an engine that was built of its exact weights.
    """
    manifest = movable_manifest(new.root)
    for file in new.release.files:
        (target / file.path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(new.root / file.path, target / file.path)
    _move_all(new, old, target, share)
    said = new.release
    provenance = {**said.provenance, PROVENANCE: said.digest}
    if manifest is not None:
        reseal(target, manifest)
        provenance[OF_MANIFEST] = file_digest(target / MANIFEST)
    release = describe(
        target,
        product=said.product,
        version=said.version,
        seq=said.seq,
        sec_epoch=said.sec_epoch,
        compatibility=said.compatibility,
        golden=said.golden,
        provenance=provenance,
    )
    write_release(target, release)
    return release


def _move_all(new: Folder, old: Folder, target: Path, share: float) -> None:
    """Move every tensor of floats that is told from one of the base."""
    olds = {place.key: place for place in places(old.release)}
    matched = match(new, old)
    for place in places(new.release):
        steps = matched.get(place.key, ())
        if place.tensor.dtype in _MANTISSA and [step.op for step in steps] == [Op.CODED]:
            was = olds[steps[0].path, steps[0].offset]
            _move(_Weights(new, place), _Weights(old, was), target / place.path, share)


@dataclass(frozen=True, slots=True)
class _Weights:
    """The weights of a tensor, some at a time."""

    folder: Folder
    place: Place

    def parts(self) -> Iterator[NDArray[np.uint8]]:
        """Their bytes."""
        tensor = self.place.tensor
        view = self.folder.views[self.place.path][tensor.offset : tensor.offset + tensor.size]
        size = _PART * tensor.dtype.size
        for begin in range(0, len(view), size):
            yield np.frombuffer(view[begin : begin + size], np.uint8)


def _move(new: _Weights, old: _Weights, target: Path, share: float) -> None:
    tensor = new.place.tensor
    step = _step(new, old, share)
    if step is None:
        return
    with target.open("r+b") as file:
        file.seek(tensor.offset)
        for one, two in zip(new.parts(), old.parts(), strict=True):
            file.write(_moved(one, two, tensor.dtype, step))


def _step(new: _Weights, old: _Weights, share: float) -> int | None:
    """The binary logarithm of the step; None where nothing moves."""
    total, count, dtype = 0.0, 0, new.place.tensor.dtype
    for one, two in zip(new.parts(), old.parts(), strict=True):
        after, before = values(one, dtype), values(two, dtype)
        finite = np.isfinite(after) & np.isfinite(before)
        total += float(np.square(after[finite] - before[finite]).sum())
        count += int(finite.sum())
    size = share * math.sqrt(total / max(1, count))
    return math.floor(math.log2(size)) if size > 0 else None


def _moved(new: NDArray[np.uint8], old: NDArray[np.uint8], dtype: Dtype, step: int) -> bytes:
    """The old weights, moved by whole steps to where they are nearest to the new ones."""
    mantissa, width = _MANTISSA[dtype], 8 * dtype.size
    before, after = _ranks(old, dtype), _ranks(new, dtype)
    # Neighbours of the old weight are counted, unless the new one's lie over twice as far apart.
    larger = np.maximum(np.abs(before) >> mantissa, (np.abs(after) >> mantissa) - 1)
    exponent = np.maximum(larger, 1)
    bias = (1 << (width - mantissa - 2)) - 1
    # Beyond 1/8 of its own size no weight is rounded: near 0, steps of ranks are no steps of size.
    coarse = np.clip(step - (exponent - bias - mantissa), 0, mantissa - 3)
    half = np.where(coarse > 0, np.int64(1) << np.maximum(coarse - 1, 0), 0)
    moved = before + (((after - before + half) >> coarse) << coarse)
    infinite = ((1 << (width - mantissa - 1)) - 1) << mantissa
    kept = (np.maximum(np.abs(before), np.abs(after)) >= infinite) | (np.abs(moved) >= infinite)
    ranks = np.where(kept, after, moved)
    codes = np.where(ranks < 0, (1 << (width - 1)) - ranks, ranks).astype(f"<u{dtype.size}")
    return np.where(ranks == after, new.view(codes.dtype), codes).tobytes()  # -0 stays what it is


def _ranks(data: NDArray[np.uint8], dtype: Dtype) -> NDArray[np.int64]:
    """Numbers that differ by one between neighbours: the bits, negative for negative weights."""
    codes = data.view(f"<u{dtype.size}").astype(np.int64)
    sign = 1 << (8 * dtype.size - 1)
    return np.where(codes >= sign, sign - codes, codes)
