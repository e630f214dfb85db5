"""`hwc profile show`: what a latency table holds."""

import json
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape

from ...toolchain.device import ALIASES, HOST
from ...toolchain.errors import InputError, UsageError
from ...toolchain.latency.table import default_paths
from ...toolchain.plan import Plan
from .. import options
from ..render import console, counts_text, time_text
from .contents import Contents, builds_fields, read_contents, table_fields
from .draw import plain_table, row_choice, row_name, short, spread_text

_NUMBERS = frozenset({"median", "p10 to p90", "runs", "whole run"})


@click.command("show")
@click.argument("table", required=False, type=click.Path(path_type=Path))
@click.option("--device", help=f"Every table of this device in the user's cache. [{HOST}]")
@click.option("--model-builds", is_flag=True, help="The builds that were measured, not the rows.")
@click.option("--sort", type=click.Choice(["us", "key"]), default="us", show_default=True)
@click.option("--match", default="", help="Only rows whose key or choice contains this text.")
@options.json_output
def command(  # noqa: PLR0913 - an option each
    table: Path | None,
    *,
    device: str | None,
    model_builds: bool,
    sort: str,
    match: str,
    as_json: bool,
) -> None:
    """Show for what a table holds, and the time of every kernel and boundary over all builds.

    \b
    hwc profile show
    hwc profile show orin.sqlite --match Conv --sort key
    hwc profile show --device host --model-builds
    """  # noqa: D301 - click wants the escape
    if table is not None and device is not None:
        raise UsageError("a table and --device", "give one of them")
    paths = [table] if table is not None else _cached(device or HOST)
    tables = {path: _sorted(read_contents(path), sort, match) for path in paths}
    if as_json:
        body = [_json(path, parts, model_builds=model_builds) for path, parts in tables.items()]
        click.echo(json.dumps({"tables": body}, indent=2, ensure_ascii=False))
        return
    out = console()
    for path, parts in tables.items():
        out.print(escape(str(path)), style="bold", soft_wrap=True)
        for part in parts:
            out.print(escape(_summary(part)), soft_wrap=True)
            (_print_builds if model_builds else _print_rows)(out, part)


def _cached(device: str) -> list[Path]:
    """The tables of a device in the user's cache."""
    name = ALIASES.get(device, device)
    paths = default_paths(name)
    if not paths:
        raise InputError(
            f"no latency table of {name} in the cache",
            f"hwc profile MODEL --device {device} makes one, or name a table",
        )
    return paths


def _sorted(contents: list[Contents], order: str, match: str) -> list[Contents]:
    """The matching rows: by key as the table has them, or the longest first."""
    parts = [part.matching(match) for part in contents]
    return [part.longest_first() for part in parts] if order == "us" else parts


def _summary(part: Contents) -> str:
    """One line about a setting."""
    days = sorted(build.date[:10] for build in part.builds)
    when = (
        "" if not days else f", {days[0]}" if days[0] == days[-1] else f", {days[0]} to {days[-1]}"
    )
    counts = (
        f"{len(part.kernels)} kernel rows",
        f"{len(part.boundaries)} boundary rows",
        f"{len(part.builds)} builds",
    )
    return f"{short(str(part.setting))}: {', '.join(counts)}{when}"


def _print_rows(out: Console, part: Contents) -> None:
    """Kernels, then boundaries."""
    heads = ("choice", "median", "p10 to p90", "runs", "source")
    for what, rows in (("kernel", part.kernels), ("boundary", part.boundaries)):
        table = plain_table(what, *heads, right=_NUMBERS)
        for row in rows:
            cells = (
                row_name(row),
                row_choice(row),
                time_text(row.timing.median_us),
                spread_text(row.timing),
                str(row.timing.runs),
                row.timing.source.value,
            )
            table.add_row(*(escape(cell) for cell in cells))
        if rows:
            out.print(table)


def _print_builds(out: Console, part: Contents) -> None:
    """One row a build."""
    table = plain_table("build", "model", "precisions", "whole run", "runs", "date", right=_NUMBERS)
    for build in part.builds:
        cells = (
            short(build.id),
            short(build.path or build.model),
            counts_text(Plan.from_json(build.plan).counts()),
            time_text(build.total_us),
            str(build.runs),
            build.date,
        )
        table.add_row(*(escape(cell) for cell in cells))
    out.print(table)


def _json(path: Path, parts: list[Contents], *, model_builds: bool) -> dict[str, object]:
    """One table, with its builds or its rows."""
    settings = builds_fields(parts) if model_builds else table_fields(parts)
    return {"table": str(path), "settings": list(settings)}
