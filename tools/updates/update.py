"""`hwc update`: bring this device to the newest release, or leave it as it is."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...toolchain.codec import canonical
from ...toolchain.progress import Silent
from ...toolchain.update.agent.machine import Machine
from ...toolchain.update.agent.state import State, name
from ...toolchain.update.agent.update import Result, update
from ...toolchain.update.applier import UpdateFiles
from ...toolchain.update.trust.client import TufSource
from ...toolchain.update.trust.link import link_to
from .. import options
from . import device

if TYPE_CHECKING:
    from ...toolchain.update.agent.update import Outcome


@click.command("update")
@device.root_dir
@click.option("--repo", default="", help="Address or folder of the repository; remembered.")
@click.option("--product", default="", help="At the first time: what this device runs.")
@click.option(
    "--trust",
    type=click.Path(path_type=Path),
    help="At the first time: the repository's root.json, brought here by a way that you trust.",
)
@click.option("--device", "identity", default="", help="At the first time: its name in the fleet.")
@click.option(
    "--health",
    default=device.AUTO,
    show_default=True,
    help="At the first time: a command that tries a release (its folder is added), or none.",
)
@click.option("--accelerator", default="", help="At the first time: its name, such as orin.")
@click.option(
    "--runtime",
    default="",
    help="At the first time: such as tensorrt=10.3; default: what is installed here.",
)
@click.option("--again", is_flag=True, help="Also a release that failed here before.")
@options.json_output
@options.quiet
def command(  # noqa: PLR0913 - an option each
    root: Path,
    *,
    repo: str,
    product: str,
    trust: Path | None,
    identity: str,
    health: str,
    accelerator: str,
    runtime: str,
    again: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Check, fetch, verify, stage and try the newest release; commit it, or go back.

    The release that runs is DIR/current. Whenever the power is cut, the next update or
    `hwc recover` ends with exactly the old or the new one. Exit code 8: refused, nothing changed.

    \b
    hwc update --root-dir /opt/model --repo https://host/fleet --product doorbell --trust root.json
    hwc update --root-dir /opt/model
    """  # noqa: D301 - click wants the escape
    if trust is not None:
        brand, version = device.installed_runtime()
        if runtime:
            brand, _, version = runtime.partition("=")
        machine = Machine(accelerator=accelerator, runtime=brand, runtime_version=version)
        told = device.Settings(product, repo, identity, health, machine=machine)
        device.set_up(root, told, trust)
    shown = Silent() if quiet or as_json else device.Lines()
    with device.agent(root, shown) as (agent, settings):
        source = TufSource(
            link_to(repo or settings.repo),
            settings.product,
            root / device.METADATA,
            (root / device.ROOT).read_bytes(),
        )
        outcome = update(agent, source, UpdateFiles(), again=again)
    click.echo(canonical(outcome) if as_json else _text(outcome))


def _text(outcome: "Outcome") -> str:
    state = outcome.state
    if outcome.result is Result.UPDATED:
        checks = outcome.verdict.checks if outcome.verdict else ()
        said = (f"{check.kind.value}: {check.note}" for check in checks)
        return f"updated: {'; '.join((_running(state), outcome.way, *said))}"
    why = {
        Result.CURRENT: "nothing newer",
        Result.WAITING: "there is a newer one, and it is not this device's turn",
    }
    return f"{_running(state)}: {why[outcome.result]}"


def _running(state: State) -> str:
    installed, slot = state.installed, state.current
    if installed is None or slot is None:
        return "nothing is installed"
    return f"{installed.product} {name(installed)} (seq {installed.seq}) runs from slot {slot.name}"
