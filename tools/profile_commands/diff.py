"""`hwc profile diff`: one latency table against another, row by row."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape

from ...toolchain.errors import InputError
from ...toolchain.latency.compare import Comparison, Pair, compare_rows
from .. import options
from ..render import console, time_text
from .contents import Contents, Fields, identity_fields, read_contents, setting_fields
from .draw import plain_table, row_choice, row_name, short

NOTABLE = 0.1  # by so much two tables differ where it says so
_NUMBERS = frozenset({"A", "B", "B / A", "from spreads"})


@click.command("diff")
@click.argument("first", metavar="A", type=click.Path(path_type=Path))
@click.argument("second", metavar="B", type=click.Path(path_type=Path))
@click.option("--rows", type=click.IntRange(min=0), default=20, show_default=True, help="0: all.")
@options.json_output
def command(first: Path, second: Path, *, rows: int, as_json: bool) -> None:
    """Compare the times of two tables: how much longer each row takes in B, the farthest first.

    Settings that both tables have are compared; where each has one, these two, whatever they are.

    \b
    hwc profile diff before.sqlite after.sqlite
    hwc profile diff orin.sqlite nano.sqlite --json | jq '.settings[].median_ratio'
    """  # noqa: D301 - click wants the escape
    found = [(a, b, compare_rows(a.rows, b.rows)) for a, b in _couples(first, second)]
    if as_json:
        body = {"a": str(first), "b": str(second), "settings": [_json(*part) for part in found]}
        click.echo(json.dumps(body, indent=2, ensure_ascii=False))
        return
    out = console()
    for a, b, comparison in found:
        same = a.setting == b.setting
        title = str(a.setting) if same else f"{a.setting} against {b.setting}"
        out.print(escape(short(title, 200)), style="bold", soft_wrap=True)
        _print_pairs(out, comparison.pairs[: rows or None])
        out.print(escape(verdict(comparison)), soft_wrap=True)


def verdict(comparison: Comparison) -> str:
    """The difference in one line."""
    ratio, pairs = comparison.median_ratio, len(comparison.pairs)
    alone = f"{len(comparison.only_a)} rows only in A, {len(comparison.only_b)} only in B"
    if ratio is None:
        return f"no row is in both; {alone}"
    far = f"{comparison.beyond(NOTABLE)} of {pairs} rows differ by more than {NOTABLE:.0%}"
    return f"B takes {_ratio(ratio)} the time of A (median); {far}; {alone}"


def _couples(first: Path, second: Path) -> list[tuple[Contents, Contents]]:
    """The settings of two tables that can be compared.

    Raises:
        InputError: They have none in common, and more than one.
    """
    a, b = read_contents(first), read_contents(second)
    if len(a) == len(b) == 1:
        return [(a[0], b[0])]
    others = {part.setting: part for part in b}
    couples = [(part, others[part.setting]) for part in a if part.setting in others]
    if not couples:
        raise InputError(
            f"{first} and {second} have no setting in common",
            "hwc profile show tells what they hold",
        )
    return couples


def _print_pairs(out: Console, pairs: tuple[Pair, ...]) -> None:
    table = plain_table("row", "choice", "A", "B", "B / A", "from spreads", right=_NUMBERS)
    for pair in pairs:
        cells = (
            row_name(pair.a),
            row_choice(pair.a),
            time_text(pair.a.timing.median_us),
            time_text(pair.b.timing.median_us),
            _ratio(pair.ratio),
            f"{_ratio(pair.low)} to {_ratio(pair.high)}",
        )
        table.add_row(*(escape(cell) for cell in cells))
    if pairs:
        out.print(table)


def _ratio(ratio: float) -> str:
    return f"{ratio:.3f}x" if math.isfinite(ratio) else "any"


def _json(a: Contents, b: Contents, comparison: Comparison) -> Fields:
    """One couple of settings; a ratio over no time is null."""
    return {
        "a": setting_fields(a.setting),
        "b": setting_fields(b.setting),
        "median_ratio": _finite(comparison.median_ratio),
        "beyond_10_percent": comparison.beyond(NOTABLE),
        "rows": list(_pair_fields(comparison.pairs)),
        "only_a": [identity_fields(row) for row in comparison.only_a],
        "only_b": [identity_fields(row) for row in comparison.only_b],
    }


def _pair_fields(pairs: tuple[Pair, ...]) -> Iterator[Fields]:
    for pair in pairs:
        yield {
            **identity_fields(pair.a),
            "a_us": pair.a.timing.median_us,
            "b_us": pair.b.timing.median_us,
            "ratio": _finite(pair.ratio),
            "ratio_low": _finite(pair.low),
            "ratio_high": _finite(pair.high),
        }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
