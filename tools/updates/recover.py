"""`hwc recover`: finish or undo what a power cut left."""

from pathlib import Path

import click

from ...toolchain.update.agent.recover import recover
from . import device


@click.command("recover")
@device.root_dir
def command(root: Path) -> None:
    """Finish or undo what a power cut left; run it at every start of the device.

    It is harmless where nothing was under way, and may itself be cut off.

    \b
    hwc recover --root-dir /opt/model
    """  # noqa: D301 - click wants the escape
    with device.agent(root) as (agent, _):
        found = recover(agent)
    what = "nothing was under way" if found.found is None else f"found at {found.found.value}"
    click.echo(f"{what}; {found.state.kept}")
