"""Which release this device is to have now, and which update files lead there."""

from ..limits import LIMITS, Limits
from ..offer import Artefact, Offer, Step
from ..refusal import Code, Refusal, short
from .state import State, name
from .way import Way, ways

_HEX = frozenset("0123456789abcdef")
_MIB = 1 << 20


def wanted(offer: Offer, state: State, *, device: str, again: bool) -> Step | None:
    """The release to install; None where the newest is installed, or it is not this device's turn.

    Args:
        offer: What signed metadata say now.
        state: What is installed.
        device: Name of this device.
        again: Whether a release that was rejected here may come back.

    Raises:
        Refusal: The offer goes back, is for another product, or was rejected here.
    """
    if not offer.steps:
        raise Refusal(Code.NOT_SIGNED, "the repository offers no release", "publish one first")
    newest, installed = offer.newest, state.installed
    if installed is not None and newest.release == installed.release:
        return None
    _check_counters(newest, state)
    if installed is not None and newest.product != installed.product:
        message = f"the repository offers {newest.product!r}, installed is {installed.product!r}"
        raise Refusal(Code.COMPATIBILITY, message, "name this product's repository")
    if newest.release == state.rejected and not again:
        message = f"v{newest.version} failed on this device before, or was gone back from"
        raise Refusal(Code.HEALTH, message, "publish a newer release, or try it with --again")
    return newest if offer.admits(device) else None


def candidates(offer: Offer, state: State, *, memory: int | None, room: int) -> tuple[Way, ...]:
    """The ways to the newest release that this device can go, cheapest first.

    Args:
        offer: What signed metadata say now.
        state: What is installed.
        memory: Bytes that are free; None where that is not known.
        room: Bytes of disk that are free or can be freed: what a chain needs more of than others.

    Raises:
        Refusal: There is none, or all need more memory or disk.
    """
    installed = state.installed
    fitting = ways(offer, installed, None)
    if not fitting:
        source = name(installed) if installed else "nothing"
        message = f"no update file leads from {source} to v{offer.newest.version}"
        raise Refusal(Code.BASE, message, "publish a full one, or a delta from that release")
    small = ways(offer, installed, memory)
    if not small:
        needed = min(way.memory for way in fitting)
        message = f"applying the update takes {needed // _MIB} MiB of memory, {memory} B are free"
        raise Refusal(Code.MEMORY, message, "end other programs, then try again")
    found = tuple(way for way in small if not way.is_chain or way.room <= room)
    if not found:
        message = f"{small[0]}, needs {small[0].room} B of disk, {room} B are or can be freed"
        raise Refusal(Code.DISK, message, "free some space, or publish a full update")
    return found


def reason(choice: tuple[Way, ...], offer: Offer, state: State, *, memory: int | None) -> str:
    """Why the first of `candidates` is taken, in words."""
    way, best = choice[0], ways(offer, state.installed, None)[0]
    if best.cost < way.cost:
        scarce = "memory" if memory is not None and best.memory > memory else "disk"
        return f"{best.brief}: needs more {scarce} than is free"
    if len(choice) == 1:
        return "nothing else leads there"
    return f"next best: {choice[1].brief}"


def check_way(way: Way, free: int, limits: Limits = LIMITS) -> None:
    """See whether the update files of a way may be fetched.

    Raises:
        Refusal: One says something impossible, or there is no room for them.
    """
    for artefact in way.artefacts:
        _check_artefact(artefact, limits)
    if way.size > free:
        names = " and ".join(artefact.path for artefact in way.artefacts)
        message = f"{names}: {way.size} B, {free} B of disk are free"
        raise Refusal(Code.DISK, message, "free some space, then try again")


def _check_artefact(artefact: Artefact, limits: Limits) -> None:
    if len(artefact.sha256) != 64 or set(artefact.sha256) - _HEX or artefact.size < 0:  # noqa: PLR2004 - digits of SHA-256
        raise Refusal(Code.MALFORMED, f"{artefact.path}: no SHA-256 or no size", "publish again")
    if artefact.size > limits.total:
        raise Refusal(Code.LIMIT, f"{artefact.path} has {artefact.size} B", "publish again")


def _check_counters(newest: Step, state: State) -> None:
    installed = state.installed
    if newest.seq < state.seq or newest.sec_epoch < state.sec_epoch:
        message = (
            f"the newest release offered has seq {newest.seq}, sec_epoch {newest.sec_epoch}; "
            f"this device has seen {state.seq}, {state.sec_epoch}"
        )
        raise Refusal(Code.ROLLBACK, message, "name the right repository, or publish a newer one")
    if installed is not None and newest.seq <= installed.seq:
        message = (
            f"release {short(newest.release)} has seq {newest.seq}, as has "
            f"{short(installed.release)}, which is installed"
        )
        raise Refusal(Code.ROLLBACK, message, "publish it with a higher seq")
