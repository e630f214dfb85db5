"""`hwc status`: what a device has installed, and what is under way."""

from collections.abc import Iterator
from pathlib import Path

import click

from ...toolchain.codec import canonical
from ...toolchain.update.agent.status import Status, status
from .. import options
from . import device


@click.command("status")
@device.root_dir
@options.json_output
def command(root: Path, *, as_json: bool) -> None:
    """Show what is installed and by which way, the counters, and whether the audit log is whole.

    \b
    hwc status --root-dir /opt/model
    """  # noqa: D301 - click wants the escape
    with device.agent(root) as (agent, _):
        found = status(agent.disk)
    click.echo(canonical(found) if as_json else "\n".join(_lines(found)))


def _lines(found: Status) -> Iterator[str]:
    state = found.state
    for slot, installed in sorted(state.slots.items(), key=lambda pair: pair[0].value):
        runs = " (runs)" if slot is state.current else ""
        about = f"{installed.product} {installed.version}, seq {installed.seq}"
        yield f"slot {slot.name}{runs}: {about}, {installed.release[:12]}"
    if not state.slots:
        yield "nothing is installed"
    if found.way:
        yield f"updated by: {found.way}"
    yield f"counters: seq {state.seq}, sec_epoch {state.sec_epoch}"
    yield "current: " + ("leads to it" if found.linked else "does not lead to it: hwc recover")
    if found.under_way is not None:
        yield f"under way: {found.under_way.mark.value}, boots {found.boots}: hwc recover goes on"
    yield f"audit log: {found.audit} entries, {found.fault or 'whole'}"
