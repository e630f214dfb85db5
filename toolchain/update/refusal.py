"""Why an update was refused: one stable code for each reason, which the README lists."""

from enum import Enum

from ..errors import IntegrityError


class Code(Enum):
    """The reasons; a value never changes its meaning and is never used again."""

    MALFORMED = "HWC-U001"  # a file that cannot be parsed, or says something impossible
    LIMIT = "HWC-U002"  # a size, count or length above what this device accepts
    PATH = "HWC-U003"  # a name that leaves its folder, a link, a special or a planted file
    DIGEST = "HWC-U004"  # bytes that do not have their digest or their size
    BASE = "HWC-U005"  # a delta made from another release than the one installed
    UNKNOWN = "HWC-U006"  # a format, codec or key type that this hwc does not know
    SIGNATURE = "HWC-U010"  # too few valid signatures of a role
    EXPIRED = "HWC-U011"  # metadata past its date: perhaps frozen by someone in between
    ROLLBACK = "HWC-U012"  # metadata or a release older than what was seen before
    NOT_SIGNED = "HWC-U013"  # an artefact or release that no signed metadata lists
    CLOCK = "HWC-U014"  # this device's clock is before the last time that it is known to have seen
    NETWORK = "HWC-U020"  # no answer, an error, a cut or too slow a link
    MEMORY = "HWC-U030"  # not enough free memory
    DISK = "HWC-U031"  # not enough free disk, or an error while writing
    COMPATIBILITY = "HWC-U032"  # made for another machine, accelerator or runtime
    HEALTH = "HWC-U033"  # the new release failed its trial
    BUSY = "HWC-U034"  # another agent is at work in this folder
    STATE = "HWC-U035"  # the agent's own files are damaged, or there is nothing to do this with
    KEY = "HWC-U040"  # a key file that is wrong, locked or of another role
    STRATEGY = "HWC-U041"  # the strategy asked for cannot make this delta


class Refusal(IntegrityError):  # noqa: N818 - an update is refused; nothing went wrong with hwc
    """An update, or a part of it, was refused; nothing that counts was changed.

    Args:
        code: The reason.
        message: What failed: file, tensor, offset, what was expected and what was found.
        hint: What to do.
        kept: What the agent did, such as "kept v1.4, slot A"; the agent fills it in.
    """

    def __init__(self, code: Code, message: str, hint: str = "", kept: str = "") -> None:
        super().__init__(message, hint)
        self.code = code
        self.kept = kept

    def __str__(self) -> str:
        parts = (self.message, self.kept, self.hint)
        return f"[{self.code.value}] {': '.join(part for part in parts if part)}"


def short(digest: str) -> str:
    """The beginning of a hexadecimal digest, for messages."""
    return digest[:12] or "none"
