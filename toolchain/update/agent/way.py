"""Ways to a release: one update file, or a chain of them by way of releases that never run."""

from dataclasses import dataclass
from itertools import pairwise

from ..offer import Artefact, Offer, Step
from .state import Installed

LEGS = 4  # of a chain at most: each of them writes a whole release to the disk
_MEGA, _KILO = 1e6, 1e3


@dataclass(frozen=True, slots=True)
class Leg:
    """A part of a way: an update file, and the signed release that it leads to."""

    step: Step
    artefact: Artefact


@dataclass(frozen=True, slots=True)
class Way:
    """Update files, each of which starts from what the one before leads to.

    Attributes:
        legs: In order; the last one leads to the release that is wanted.
    """

    legs: tuple[Leg, ...]

    @property
    def size(self) -> int:
        """Bytes to fetch."""
        return sum(leg.artefact.size for leg in self.legs)

    @property
    def memory(self) -> int:
        """Bytes that it takes: the files are applied one after the other."""
        return max(leg.artefact.memory for leg in self.legs)

    @property
    def cost(self) -> tuple[int, int]:
        """What ways are compared by: bytes, then files."""
        return self.size, len(self.legs)

    @property
    def artefacts(self) -> tuple[Artefact, ...]:
        """Its update files."""
        return tuple(leg.artefact for leg in self.legs)

    @property
    def is_chain(self) -> bool:
        """Whether it goes by way of another release."""
        return len(self.legs) > 1

    @property
    def room(self) -> int:
        """Bytes of disk that metadata tell of: its files, and the two releases that are there."""
        sizes = [leg.step.size for leg in self.legs]
        return self.size + peak(sizes)

    @property
    def kind(self) -> str:
        """What it is called: `full update`, `direct delta` or `chain of 2 deltas`."""
        if self.is_chain:
            return f"chain of {len(self.legs)} deltas"
        return "direct delta" if self.artefacts[0].base else "full update"

    @property
    def brief(self) -> str:
        """What it is called, and what it costs: `full update, 1.2 MB`."""
        return f"{self.kind}, {_amount(self.size)}"

    def __str__(self) -> str:
        """As users are told: `chain of 2 deltas, 1.2 MB, by way of v1.1`."""
        between = [f"v{leg.step.version.removeprefix('v')}" for leg in self.legs[:-1]]
        return self.brief + (f", by way of {' and '.join(between)}" if between else "")


def peak(sizes: list[int]) -> int:
    """Bytes of the releases that are on the disk at once, if each goes once the next is written."""
    return max((one + other for one, other in pairwise(sizes)), default=sizes[0])


def ways(offer: Offer, installed: Installed | None, memory: int | None) -> list[Way]:
    """All single update files that lead to the newest release, and the best chain, cheapest first.

    Args:
        offer: What signed metadata say now.
        installed: Where deltas start; None where only full ones serve.
        memory: Bytes that each update file may take; None: any.
    """
    newest = offer.newest
    bases = {"", installed.release} if installed else {""}
    found = [
        Way((Leg(newest, artefact),))
        for artefact in newest.artefacts
        if artefact.base in bases and _fits(artefact, memory)
    ]
    chain = _cheapest(offer, installed, memory) if installed else None
    if chain is not None and chain.is_chain:
        found.append(chain)
    return sorted(found, key=lambda way: way.cost)


def _cheapest(offer: Offer, installed: Installed, memory: int | None) -> Way | None:
    """The cheapest way of deltas from what is installed.

    It passes through no release of which the metadata do not say how much disk it takes.
    """
    newest = offer.newest
    steps = [
        step
        for step in offer.steps
        if step is newest or (installed.seq < step.seq < newest.seq and step.size > 0)
    ]
    best = {installed.release: Way(())}
    for _ in range(LEGS):
        longer = dict(best)
        for step in steps:
            for artefact in step.artefacts:
                if artefact.base in best and _fits(artefact, memory):
                    way = Way((*best[artefact.base].legs, Leg(step, artefact)))
                    known = longer.get(step.release)
                    if known is None or way.cost < known.cost:
                        longer[step.release] = way
        best = longer
    return best.get(newest.release)


def _fits(artefact: Artefact, memory: int | None) -> bool:
    return memory is None or artefact.memory <= memory


def _amount(size: int) -> str:
    return f"{size / _MEGA:.1f} MB" if size >= _MEGA / 10 else f"{size / _KILO:.1f} kB"
