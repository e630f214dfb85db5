"""Where a time comes from: measured, borrowed from another setting, or estimated."""

from enum import StrEnum


class Origin(StrEnum):
    """An estimate never poses as a measurement."""

    MEASURED = "measured"
    BORROWED = "borrowed"
    ESTIMATED = "estimated"
