"""`hwc profile export`: a latency table for a spreadsheet or another program."""

import csv
import io
import json
from pathlib import Path

import click

from ...toolchain.output import atomic_output, check_target
from .. import options
from .contents import Contents, read_contents, row_fields, setting_fields, table_fields

_ROW = "row"  # the column that tells kernels from boundaries
COLUMNS = (
    *("device", "power_mode", "runtime", "runtime_version", "threads", _ROW),
    *("key", "choice", "before", "after", "elements"),
    *("kind", "macs", "weight_elements", "read_elements", "written_elements"),
    *("median_us", "p10_us", "p90_us", "runs", "cpu_us", "date", "source"),
)


@click.command("export")
@click.argument("table", type=click.Path(path_type=Path))
@click.option(
    "--format", "form", type=click.Choice(["csv", "json"]), default="csv", show_default=True
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="A file. [stdout]")
@options.force
def command(table: Path, *, form: str, output: Path | None, force: bool) -> None:
    """Write the kernels and boundaries of a table, one row each over all builds.

    Times are in microseconds, work in multiply-accumulates and elements.

    \b
    hwc profile export host.sqlite -o host.csv
    hwc profile export host.sqlite --format json | jq '.settings[].kernels[].median_us'
    """  # noqa: D301 - click wants the escape
    if output is not None:
        check_target(output, force=force)
    contents = read_contents(table)
    text = to_csv(contents) if form == "csv" else to_json(contents)
    if output is None:
        click.echo(text, nl=False)
        return
    with atomic_output(output, force=force) as stage:
        stage.write_text(text, "utf-8")
    click.echo(output)


def to_json(contents: list[Contents]) -> str:
    """Settings with their rows."""
    body = {"settings": list(table_fields(contents))}
    return json.dumps(body, indent=2, ensure_ascii=False) + "\n"


def to_csv(contents: list[Contents]) -> str:
    """One line a row, kernels and boundaries alike; what a row does not have is empty."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for part in contents:
        setting = setting_fields(part.setting)
        for kind, rows in (("kernel", part.kernels), ("boundary", part.boundaries)):
            writer.writerows({**setting, _ROW: kind, **row_fields(row)} for row in rows)
    return text.getvalue()
