"""`hwc rollback`: run the release in the other slot again."""

from pathlib import Path

import click

from ...toolchain.update.agent.rollback import rollback
from ...toolchain.update.agent.state import name
from . import device


@click.command("rollback")
@device.root_dir
def command(root: Path) -> None:
    """Go back to the release before; the present one does not come back by itself.

    \b
    hwc rollback --root-dir /opt/model
    """  # noqa: D301 - click wants the escape
    with device.agent(root) as (agent, _):
        state, _ = rollback(agent)
    if state.installed is not None and state.current is not None:
        click.echo(f"{name(state.installed)} runs from slot {state.current.name}")
