"""How a block is coded: the numbers on the wire."""

from enum import IntEnum


class Method(IntEnum):
    """The ways of coding a block; a number never changes its meaning and is never used again.

    `PCO` in a name says that integers are coded with pcodec, `PLANES` that they are coded byte by
    byte with zstd, which every build reads.
    """

    LITERAL = 0  # the bytes
    ZSTD = 1
    ZSTD_PREFIX = 2  # zstd that may refer to the old bytes
    PCO = 3  # the ranks of the new numbers
    ULP_PCO = 4  # how far each number moved, grouped by what the old ones say
    ULP_PLANES = 5
    GAPS_PCO = 6  # which numbers moved, and how far
    GAPS_PLANES = 7
    XOR_ZSTD = 8  # zstd of the new bytes XOR the old ones
    PLANES = 9

    @property
    def needs_old(self) -> bool:
        """Whether the new bytes are told from old ones."""
        return self not in {Method.LITERAL, Method.ZSTD, Method.PCO, Method.PLANES}

    @property
    def needs_pcodec(self) -> bool:
        """Whether only a device with pcodec can read it."""
        return self in {Method.PCO, Method.ULP_PCO, Method.GAPS_PCO}
