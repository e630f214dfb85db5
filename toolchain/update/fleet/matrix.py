"""Which update files exist, or could be made, between the releases of a product, and their cost."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from ...origin import Origin
from ..offer import Artefact, Offer, Step
from ..release import Release

_MB = 1e6
_BITS = 8


@dataclass(frozen=True, slots=True)
class Rates:
    """What making and applying takes where no measurement says better.

    Attributes:
        make: CPU seconds of the maker for a megabyte (10^6 bytes) of the new release.
        apply: Bytes of the new release a second that a device writes.
        memory: Bytes of memory that applying takes above the agent itself.
    """

    make: float = 0.05
    apply: float = 50e6
    memory: int = 12_000_000


@dataclass(frozen=True, slots=True)
class Hop:
    """An update file, there or to be made, from one release to another.

    Attributes:
        base: `seq` of the release that it starts from; None where it needs none.
        target: `seq` of the release that it leads to.
        size: Bytes to send.
        cpu: Seconds of a processor to make it; 0 where it is there.
        memory: Bytes of memory that a device needs to apply it.
        seconds: That a device takes to apply it.
        path: Its name in the repository; empty where it is not there.
    """

    base: int | None
    target: int
    size: int
    cpu: float
    memory: int
    seconds: float
    path: str = ""

    @property
    def origin(self) -> Origin:
        """Where its size comes from."""
        return Origin.MEASURED if self.path else Origin.ESTIMATED


@dataclass(frozen=True, slots=True)
class Matrix:
    """The update files of one product.

    Attributes:
        product: Its name.
        versions: The version of each release by its `seq`, rising.
        hops: All files that are there or could be made.
    """

    product: str
    versions: Mapping[int, str]
    hops: tuple[Hop, ...]

    @property
    def newest(self) -> int:
        """`seq` of the release that all devices are to have."""
        return max(self.versions)

    def straight(self) -> "Matrix":
        """The same for agents that take one file to the newest release, and no way round."""
        hops = tuple(hop for hop in self.hops if hop.target == self.newest)
        return replace(self, hops=hops)

    def seq_of(self, installed: int | str) -> int | None:
        """The `seq` of what an inventory says is installed; None where no release is that.

        Of releases with one version the oldest counts: what leads on from it is sure to exist.
        """
        if isinstance(installed, int):
            return installed if installed in self.versions or installed > self.newest else None
        found = [seq for seq, version in self.versions.items() if version == installed]
        return min(found, default=None)


def delta_matrix(offer: Offer, releases: Mapping[str, Release], rates: Rates) -> Matrix:
    """All pairs of a product's releases.

    Args:
        offer: The releases and the update files that are there.
        releases: `bundle.json` by digest, for all of them; sizes of files that are not there are
            estimated by what changed.
        rates: What making and applying takes.
    """
    known = {step.release: releases[step.release] for step in offer.steps}
    hops = [
        _there(artefact, step, known, rates) for step in offer.steps for artefact in step.artefacts
    ]
    there = {(hop.base, hop.target) for hop in hops}
    estimate = _Estimate.of(hops, tuple(known.values()))
    newest = known[offer.newest.release]
    if (None, newest.seq) not in there:
        hops.append(_possible(None, newest, newest.size, rates))
    for old, new in combinations(sorted(known.values(), key=lambda release: release.seq), 2):
        if (old.seq, new.seq) not in there:
            hops.append(_possible(old.seq, new, estimate.size(old, new), rates))
    versions = {step.seq: step.version for step in offer.steps}
    return Matrix(offer.newest.product, versions, tuple(hops))


def _there(artefact: Artefact, step: Step, known: Mapping[str, Release], rates: Rates) -> Hop:
    base = known[artefact.base].seq if artefact.base else None
    seconds = known[step.release].size / rates.apply
    return Hop(base, step.seq, artefact.size, 0.0, artefact.memory, seconds, artefact.path)


def _possible(base: int | None, new: Release, size: int, rates: Rates) -> Hop:
    cpu, seconds = rates.make * new.size / _MB, new.size / rates.apply
    return Hop(base, new.seq, size, cpu, rates.memory, seconds)


@dataclass(frozen=True, slots=True)
class _Change:
    """What a delta has to tell: bytes without an equal in the old release, and their numbers."""

    size: int
    elements: int

    @classmethod
    def between(cls, old: Release, new: Release) -> "_Change":
        """By digest of files and tensors; bytes outside tensors count where their file changed."""
        files = {file.sha256 for file in old.files}
        tensors = {tensor.sha256 for file in old.files for tensor in file.tensors}
        size = elements = 0
        for file in new.files:
            if file.sha256 in files:
                continue
            changed = [tensor for tensor in file.tensors if tensor.sha256 not in tensors]
            size += file.size - sum(tensor.size for tensor in file.tensors)
            size += sum(tensor.size for tensor in changed)
            elements += sum(tensor.size // tensor.dtype.size for tensor in changed)
        return cls(size, elements)


@dataclass(frozen=True, slots=True)
class _Estimate:
    """Sizes of deltas that are not there, from those that are.

    Attributes:
        ratios: Of the deltas that are there: releases apart, bytes sent for a byte changed.
        full: Bytes of a file that needs no base, by `seq` of its release, where there is one.
    """

    ratios: tuple[tuple[int, float], ...]
    full: Mapping[int, int]

    @classmethod
    def of(cls, hops: Sequence[Hop], releases: Sequence[Release]) -> "_Estimate":
        by_seq = {release.seq: release for release in releases}
        ratios = []
        for hop in hops:
            if hop.base is not None:
                change = _Change.between(by_seq[hop.base], by_seq[hop.target])
                ratios.append((hop.target - hop.base, hop.size / max(1, change.size)))
        full = {hop.target: hop.size for hop in hops if hop.base is None}
        return cls(tuple(ratios), full)

    def size(self, old: Release, new: Release) -> int:
        """The ratio of the delta over the most similar distance, never above a full file.

        Weights that keep moving at random are off by sqrt(d) after d releases, so that each
        difference takes log2(d) / 2 bits more than after one. Where no delta is there yet, nothing
        is promised: the size of a full file.
        """
        full = self.full.get(new.seq, new.size)
        if not self.ratios:
            return full
        change, distance = _Change.between(old, new), new.seq - old.seq
        apart, ratio = min(self.ratios, key=lambda known: abs(math.log(distance / known[0])))
        more = change.elements * math.log2(distance / apart) / 2 / _BITS
        least = len(new.text()) // 10  # the new bundle.json, told from the old
        return min(full, max(least, round(ratio * change.size + more)))
