"""`hwc profile merge`: one latency table of several."""

from pathlib import Path

import click

from ...toolchain.latency.merge import merge_tables
from .. import options


@click.command("merge")
@click.argument("tables", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The table.")
@options.force
def command(tables: tuple[Path, ...], *, output: Path, force: bool) -> None:
    """Unite tables: all settings, all builds; of the same build in two tables the newer one.

    A table with a row that cannot be is refused, and then nothing is written.

    \b
    hwc profile merge host.sqlite orin.sqlite -o all.sqlite
    """  # noqa: D301 - click wants the escape
    merged = merge_tables(tables, output, force=force)
    older = f" ({merged.older} older ones left out)" if merged.older else ""
    click.echo(f"settings: {merged.settings}, builds: {merged.builds}{older}")
    click.echo(output)
