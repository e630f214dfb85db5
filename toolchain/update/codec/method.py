"""The ways in which a block of bytes may be written; one byte on the wire."""

from enum import IntEnum


class Method(IntEnum):
    """The ways; a number never changes its meaning and is never used again."""

    LITERAL = 0  # the bytes themselves
    ZSTD = 1
    ZSTD_PREFIX = 2  # zstd that may refer to the old bytes
    PCO = 3  # numbers by pcodec, with no old ones
    ULP_PCO = 4  # steps from each old number to the new one, by pcodec
    ULP_PLANES = 5  # the same steps, byte by byte, under zstd: for a device without pcodec
    GAPS_PCO = 6  # the steps that are not 0 and where they are, by pcodec
    GAPS_PLANES = 7  # the same under zstd
    XOR_ZSTD = 8  # exclusive or with the old bytes, under zstd
    PLANES = 9  # numbers byte by byte under zstd, with no old ones
    STEPS_PCO = 10  # steps by pcodec, all in one group

    @property
    def needs_old(self) -> bool:
        """Whether it is told from old bytes."""
        return self in _FROM_OLD

    @property
    def needs_pcodec(self) -> bool:
        """Whether only a device with pcodec can read it."""
        return self in {Method.PCO, Method.ULP_PCO, Method.GAPS_PCO, Method.STEPS_PCO}


_FROM_OLD = frozenset(
    {
        Method.ZSTD_PREFIX,
        Method.ULP_PCO,
        Method.ULP_PLANES,
        Method.GAPS_PCO,
        Method.GAPS_PLANES,
        Method.XOR_ZSTD,
        Method.STEPS_PCO,
    }
)
