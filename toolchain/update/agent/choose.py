"""Which release this device is to have now, and which update files lead there."""

from ..limits import LIMITS, Limits
from ..offer import Artefact, Offer, Step
from ..refusal import Code, Refusal, short
from .state import State, name

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


def candidates(step: Step, state: State, *, memory: int | None) -> tuple[Artefact, ...]:
    """The update files that this device can apply, smallest first.

    Args:
        step: Where they lead.
        state: What is installed.
        memory: Bytes that are free; None where that is not known.

    Raises:
        Refusal: There is none, or all need more memory.
    """
    installed = state.installed
    bases = {"", installed.release} if installed else {""}
    fitting = sorted((a for a in step.artefacts if a.base in bases), key=lambda a: a.size)
    if not fitting:
        source = name(installed) if installed else "nothing"
        message = f"no update file leads from {source} to v{step.version}"
        raise Refusal(Code.BASE, message, "publish a full one, or a delta from that release")
    small = tuple(a for a in fitting if memory is None or a.memory <= memory)
    if not small:
        needed = min(a.memory for a in fitting)
        message = f"applying the update takes {needed // _MIB} MiB of memory, {memory} B are free"
        raise Refusal(Code.MEMORY, message, "end other programs, then try again")
    return small


def check_artefact(artefact: Artefact, free: int, limits: Limits = LIMITS) -> None:
    """See whether an update file may be fetched.

    Raises:
        Refusal: It says something impossible, or there is no room for it.
    """
    if len(artefact.sha256) != 64 or set(artefact.sha256) - _HEX or artefact.size < 0:  # noqa: PLR2004 - digits of SHA-256
        raise Refusal(Code.MALFORMED, f"{artefact.path}: no SHA-256 or no size", "publish again")
    if artefact.size > limits.total:
        raise Refusal(Code.LIMIT, f"{artefact.path} has {artefact.size} B", "publish again")
    if artefact.size > free:
        message = f"{artefact.path} has {artefact.size} B, {free} B of disk are free"
        raise Refusal(Code.DISK, message, "free some space, then try again")


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
