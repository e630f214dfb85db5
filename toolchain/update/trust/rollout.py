"""Who is to have the newest release of a product, as the role `rollout` signs it."""

from dataclasses import dataclass
from typing import Self

from ...codec import canonical, parse
from ...errors import HwcError
from ..refusal import Code, Refusal

WHOLE = 10_000  # parts of a fleet
_LONGEST = 64  # characters of a salt


@dataclass(frozen=True, slots=True)
class Rollout:
    """How far a release has been rolled out.

    Attributes:
        release: Digest of the release that this is about; empty: there is none yet.
        share: Parts per 10,000 of the fleet that are to have it.
        salt: What the bucket of a device is hashed with.
        halted: Nobody is to begin any more.
    """

    release: str = ""
    share: int = WHOLE
    salt: str = ""
    halted: bool = False

    def __post_init__(self) -> None:
        """Refuse what means nothing.

        Raises:
            Refusal: The share is none, or the salt is too long.
        """
        if not 0 <= self.share <= WHOLE or len(self.salt) > _LONGEST:
            raise Refusal(
                Code.MALFORMED,
                f"a rollout to {self.share} of {WHOLE} devices",
                f"give a share from 0 to {WHOLE} and a salt of up to {_LONGEST} characters",
            )

    def text(self) -> bytes:
        """The file that is signed."""
        return canonical(self).encode()

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """Read the file, whose digest was checked.

        Raises:
            Refusal: It says something else.
        """
        try:
            return parse(cls, text)
        except Refusal:
            raise
        except HwcError as cause:
            raise Refusal(Code.MALFORMED, f"rollout: {cause.message}") from cause
