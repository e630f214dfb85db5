"""Rows of latency tables as people read them: times with their spread, keys that fit a line."""

from rich.table import Table

from ...toolchain.latency.rows import BoundaryRow, KernelRow
from ...toolchain.latency.timing import Timing
from ..render import time_text

WIDEST = 76  # characters of a key that are shown: its op and its shapes
_HEAD = 24  # of them from its beginning, where the op is
_GAP = "..."


def short(text: str, widest: int = WIDEST) -> str:
    """A text that fits its column: what is left out is in the middle, among the attributes."""
    plain = text if text.isprintable() else text.encode("unicode_escape").decode()
    if len(plain) <= widest:
        return plain
    return plain[:_HEAD] + _GAP + plain[len(plain) - (widest - _HEAD - len(_GAP)) :]


def row_name(row: KernelRow | BoundaryRow) -> str:
    """What a row is about; its choice is told beside it."""
    if isinstance(row, KernelRow):
        return short(row.key)
    return f"conversion of {row.elements} elements"


def row_choice(row: KernelRow | BoundaryRow) -> str:
    """A kernel's choice, or between which formats a conversion is."""
    if isinstance(row, KernelRow):
        return short(row.choice)
    return f"{row.before} to {row.after}"


def spread_text(timing: Timing) -> str:
    """A time from its tenth to its ninetieth percentile."""
    return f"{time_text(timing.p10_us)} to {time_text(timing.p90_us)}"


def plain_table(*heads: str, right: frozenset[str] = frozenset()) -> Table:
    """A table without a frame; the columns named in `right` hold numbers."""
    table = Table(box=None, pad_edge=False)
    for head in heads:
        table.add_column(
            head, justify="right" if head in right else "left", no_wrap=True, overflow="ellipsis"
        )
    return table
