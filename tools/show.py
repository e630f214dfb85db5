"""`hwc show`: what was decided for each node of a bundle, and why."""

from collections.abc import Mapping
from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from ..toolchain.bundle import Bundle
from ..toolchain.report import Report, SlotRow
from . import options
from .render import console, print_report, time_text
from .structure_tables import structure_table


@click.command()
@options.bundle
@options.json_output
@click.option("-v", "--verbose", is_flag=True, help="Every alternative: its time and its loss.")
def command(bundle: Path, *, as_json: bool, verbose: bool) -> None:
    """Show what runs in which precision, why, and what was predicted and measured.

    \b
    hwc show effnet.hwc
    hwc show effnet.hwc --json | jq '.slots[] | select(.choice == "fp32") | .why'
    """  # noqa: D301 - click wants the escape
    with Bundle.open(bundle) as opened:
        report, commands = opened.report(), opened.manifest.build_commands
        built = opened.manifest.engine is not None
    if not as_json:
        if report.structure:
            console().print(structure_table(report))
        console().print(slot_table(report, verbose=verbose))
        if commands and not built:
            console().print(*commands, sep="\n", markup=False, soft_wrap=True)
    print_report(report, bundle, as_json=as_json)


def slot_table(report: Report, *, verbose: bool) -> Table:
    """One row a slot; with `verbose` also what the other precisions would have cost."""
    more = ("all predicted", "loss if alone") if verbose else ()
    table = Table("node", "op", "runs in", "predicted", "measured", "why", *more)
    for slot in report.slots:
        table.add_row(*(escape(cell) for cell in _cells(slot, verbose=verbose)))
    return table


def _cells(slot: SlotRow, *, verbose: bool) -> tuple[str, ...]:
    predicted = slot.predicted_us.get(slot.choice)
    cells = (
        slot.name,
        slot.op,
        slot.choice,
        "-" if predicted is None else time_text(predicted),
        "-" if slot.measured_us is None else time_text(slot.measured_us),
        slot.kept or slot.why,
    )
    if not verbose:
        return cells
    return (*cells, _each(slot.predicted_us, "{:.1f} µs"), _each(slot.sensitivity, "{:.2e}"))


def _each(values: Mapping[str, float], form: str) -> str:
    return ", ".join(f"{name} {form.format(value)}" for name, value in values.items()) or "-"
