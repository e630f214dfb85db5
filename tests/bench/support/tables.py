"""Text of the figures that benchmarks print."""

import sys
from collections.abc import Sequence

from hwc.toolchain.timing import Interval


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, its columns aligned so that it also reads well in a terminal."""
    cells = [list(head), *map(list, rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def times(interval: Interval | None) -> str:
    """A speed-up with its 95 % interval."""
    if interval is None:
        return "-"
    return f"{interval.value:.3f}x ({interval.low:.3f} to {interval.high:.3f})"


def points(value: float | None) -> str:
    """A fraction in points of a hundred."""
    return "-" if value is None else f"{value * 100:.2f}"


def say(text: str) -> None:
    """Print a line to stdout now, so that a log shows how far a long benchmark is."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
